"""What is seen of machines that are made up: files as Linux has them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from hawqsearch.core.conditions import Conditions
from hawqsearch.hardware.conditions import Watch, boost, governor, steal_ticks, throttle_counts
from hawqsearch.runtime.pinned import pinned

CPU = "sys/devices/system/cpu"


def write(root: Path, **files: str) -> None:
    """`a__b` is the file b in the folder a."""
    for name, content in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")


def stat(user: int, steal: int, core: int = 0) -> str:
    line = f"{user} 0 10 1000 5 0 2 {steal} 77 0"
    return f"cpu  {line}\ncpu{core} {line}\ncpu9 1 1 1 1 1 1 1 1 1 1\nintr 5\n"


def watch(root: Path, cores: tuple[int, ...] = (0,)) -> Watch:
    times = iter([10.0, 14.5])
    loads = iter([0.3, 1.2])
    return Watch(cores=cores, threads=1, root=root, clock=lambda: next(times), load=lambda: next(loads))


def test_what_happened_between_the_start_and_the_end(tmp_path: Path) -> None:
    core = max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    freq = f"sys__devices__system__cpu__cpu{core}__cpufreq__scaling_cur_freq"
    hot = f"sys__devices__system__cpu__cpu{core}__thermal_throttle__core_throttle_count"
    rule = f"sys__devices__system__cpu__cpu{core}__cpufreq__scaling_governor"
    write(tmp_path, **{freq: "2400000", hot: "7", rule: "ondemand", "proc__stat": stat(100, 50, core)})
    with pinned(1) as cores:
        seen = watch(tmp_path, cores)
        write(tmp_path, **{freq: "1500000"})
        seen.look()
        write(tmp_path, **{freq: "2000000", hot: "9", "proc__stat": stat(190, 60, core)})
        found = seen.conditions(rounds=12, thrown=1, drift=0.02)
    assert (found.mhz_low, found.mhz_high) == (1500.0, 2400.0)
    assert found.throttled == 2
    assert found.steal == pytest.approx(10 / 100)
    assert (found.load_before, found.load_after, found.seconds) == (0.3, 1.2, 4.5)
    assert (found.rounds, found.thrown, found.drift) == (12, 1, 0.02)
    assert found.governor == "ondemand"
    assert found.cores == cores


def test_a_machine_that_shows_nothing(tmp_path: Path) -> None:
    found = watch(tmp_path).conditions(rounds=9, thrown=0, drift=None)
    unknown = (
        found.governor,
        found.boost,
        found.mhz_low,
        found.mhz_high,
        found.throttled,
        found.steal,
        found.drift,
    )
    assert unknown == (None,) * 7
    assert "governor not shown" in str(found)


def test_cores_that_were_not_held_are_not_told(tmp_path: Path) -> None:
    with pinned(1) as cores:
        seen = watch(tmp_path, cores)
    if os.sched_getaffinity(0) == set(cores):
        pytest.skip("this machine has one core: everything is held to it")
    found = seen.conditions(rounds=9, thrown=0, drift=None)
    assert found.cores == ()
    assert "not pinned" in found.troubles[0]


@pytest.mark.parametrize("content", ["", "cpu", "cpu a b c", "cpu 1 2 3", "cpu0 1 2 3 4 5 6 7 8"])
def test_ticks_that_are_not_there(content: str, tmp_path: Path) -> None:
    write(tmp_path, proc__stat=content)
    assert steal_ticks(tmp_path) is None


def test_throttling_is_counted_once_per_core(tmp_path: Path) -> None:
    """A package's counter stands in every core's folder; the larger of the two is a core's."""
    assert throttle_counts(tmp_path) is None
    for core, (own, package) in enumerate([(3, 1), (0, 1)]):
        folder = f"sys__devices__system__cpu__cpu{core}__thermal_throttle__"
        write(
            tmp_path,
            **{f"{folder}core_throttle_count": f"{own}", f"{folder}package_throttle_count": f"{package}"},
        )
    assert throttle_counts(tmp_path) == 4
    write(tmp_path, **{f"{folder}core_throttle_count": "?", f"{folder}package_throttle_count": ""})
    assert throttle_counts(tmp_path) == 3


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, None),
        ({"cpufreq__boost": "1"}, True),
        ({"cpufreq__boost": "0"}, False),
        ({"intel_pstate__no_turbo": "0"}, True),
        ({"intel_pstate__no_turbo": "1"}, False),
    ],
)
def test_boost(files: dict[str, str], says: bool | None, tmp_path: Path) -> None:
    write(tmp_path, **{f"sys__devices__system__cpu__{name}": text for name, text in files.items()})
    assert boost(tmp_path) is says
    assert governor(tmp_path) is None


CALM = Conditions(
    utc="2026-11-21T12:00:00Z", seconds=2.0, cores=(1,), n_cores=2, threads=1, governor="performance", boost=False,
    load_before=0.1, load_after=0.6, mhz_low=2390.0, mhz_high=2400.0, throttled=0, steal=0.0, rounds=20, drift=0.01,
)  # fmt: skip


def test_a_calm_machine_needs_no_word() -> None:
    assert CALM.troubles == ()
    assert str(CALM) == (
        "pinned to core 1, governor performance, boost off, load 0.1 to 0.6 on 2 cores, 2390 to 2400 MHz, "
        "throttled 0 times, 0.0 % stolen, drift +1.0 %, 20 rounds in 2.0 s"
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"cores": ()}, "not pinned"),
        ({"load_before": 1.5}, "stop what else is running"),
        ({"throttled": 2}, "throttled 2 times: cool it"),
        ({"steal": 0.05}, "5.0 % of the time went to other guests"),
        ({"mhz_low": 1500.0}, "1500 to 2400 MHz: sudo cpupower"),
        ({"drift": 0.08}, "8 % slower"),
        ({"drift": -0.08}, "8 % faster"),
        ({"thrown": 2}, "jumped in 2 rounds"),
    ],
)
def test_each_trouble_has_its_word(change: dict[str, object], says: str) -> None:
    (line,) = replace(CALM, **change).troubles  # type: ignore[arg-type]
    assert says in line
