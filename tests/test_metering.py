"""Budgets in millijoules, from a counter's file to the verdict, on a machine whose power is known.

The counter is a tree of files as the kernel lays RAPL out, which the workload itself advances: every inference adds
what its layers take, integer ones half of what float ones do. No test here reads a real counter.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import hawqsearch
from hawqsearch import pipeline
from hawqsearch.api import Options
from hawqsearch.cache import Cache
from hawqsearch.cli.app import main
from hawqsearch.cli.search_report import print_outcome
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.hardware import ChangeKey, HardwareProfile, KernelKey, Measurement, Rig
from hawqsearch.core.outcome import Latency, Outcome
from hawqsearch.core.profile_file import read_profile, write_profile
from hawqsearch.core.target import Target
from hawqsearch.errors import BudgetError, DeviceError, InfeasibleError, InputError
from hawqsearch.hardware.energy import available
from hawqsearch.hardware.energy.meter import Meter
from hawqsearch.hardware.energy.parts import LocalEnergy
from hawqsearch.hardware.energy.survey import Survey, survey
from hawqsearch.hardware.targets import check_machine, find_target
from hawqsearch.pipeline import Context
from hawqsearch.runtime.onnxruntime_cpu import OnnxRuntime
from hawqsearch.testing import tiny
from tests.hardware.energy.world import World

IDLE_W, LOAD_W = 5.0, 15.0
FLOAT_MS, INT8_MS, SMALL_MS = 2.0, 1.0, 0.02
WEIGHTED = ("Conv", "Gemm", "MatMul")


def layers_ms(model: onnx.ModelProto) -> float:
    """What the layers of a model take, were this the machine that it is tested on."""
    made_by = {output: node.op_type for node in model.graph.node for output in node.output}
    layers = [made_by.get(n.input[0]) for n in model.graph.node if n.op_type in WEIGHTED]
    return sum(INT8_MS if source == "DequantizeLinear" else FLOAT_MS for source in layers) or SMALL_MS


@dataclass
class Worked:
    """A session whose every run takes time and energy in the test's world."""

    session: Any
    world: World
    seconds: float

    def run(self, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        self.world.run(self.seconds)
        outputs: list[np.ndarray] = self.session.run(feed)
        return outputs

    def kernels(self, **settings: Any) -> Any:
        return self.session.kernels(**settings)


@dataclass(frozen=True)
class Times:
    """Instead of the runtime's profiler: what each kernel takes in the test's world."""

    n_rounds: int = 1

    def measure(
        self,
        target: Target,
        rig: Rig,
        kernels: Iterable[KernelKey],
        changes: Iterable[ChangeKey],
        *,
        on_round: Callable[[int], object] = lambda done: None,
    ) -> HardwareProfile:
        def row(ms: float) -> Measurement:
            return Measurement(median_ms=ms, low_ms=ms, high_ms=ms, n=1, date="2026-11-21")

        def kernel(key: KernelKey) -> Measurement:
            if not key.signature.is_weighted:
                return row(SMALL_MS)
            return row(FLOAT_MS if key.precision == "fp32" else INT8_MS)

        on_round(1)
        return HardwareProfile(
            target=target.name,
            rig=rig,
            date="2026-11-21",
            kernels=FrozenDict({key: kernel(key) for key in kernels}),
            changes=FrozenDict({key: row(SMALL_MS) for key in changes}),
        )


@pytest.fixture(scope="module")
def target() -> Target:
    for name in ("x86-vnni", "x86-avx2"):
        try:
            check_machine(find_target(name))
        except DeviceError:
            continue
        return find_target(name)
    pytest.skip("this processor has neither VNNI nor AVX2, so no target here has int8 kernels")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A package whose counter wraps every two joules, so that it wraps in the middle of most that is metered."""
    return World(tmp_path_factory.mktemp("root"), (IDLE_W,), (LOAD_W,), wrap_uj=2_000_000)


@pytest.fixture(scope="module", autouse=True)
def working(world: World) -> Iterator[None]:
    """Whatever runs takes its energy from the counter, and whole networks are timed in milliseconds."""
    opened, timed = OnnxRuntime.open, pipeline.time_interleaved

    @contextmanager
    def open_(self: OnnxRuntime, model: bytes, **settings: Any) -> Iterator[Worked]:
        seconds = layers_ms(onnx.load_from_string(model)) / 1e3
        with opened(self, model, **settings) as session:
            yield Worked(session, world, seconds)

    def short(*positional: Any, **named: Any) -> Any:
        return timed(*positional, **named, round_ms=1.0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OnnxRuntime, "open", open_)
        patch.setattr(pipeline, "time_interleaved", short)
        yield


def reader(world: World) -> Meter:
    return Meter(
        counters=survey(world.root).counters, blocks=3, steps=10, clock=world.clock, sleep=world.sleep
    )


@pytest.fixture(scope="module")
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def cache(cache_folder: Path) -> Cache:
    return Cache(cache_folder)


def search(world: World, target: Target, cache: Cache, budget: str, **more: Any) -> Outcome:
    return hawqsearch.search(
        tiny.model(),
        tiny.data(),
        target=target,
        budget=budget,
        options=Options(backend=Times(), **({"reader": reader(world)} | more)),
        context=Context(cache=cache),
    )


@pytest.fixture(scope="module")
def outcome(world: World, target: Target, cache: Cache) -> Outcome:
    return search(world, target, cache, "65mJ")


# ---------------------------------------------------------------- a machine with a counter


def test_the_metered_energy_of_the_whole_network_is_within_the_budget(outcome: Outcome) -> None:
    """Above idle: four float layers take 80 mJ, four integer ones 40, and some of both is the answer."""
    measured = outcome.measured
    assert outcome.fp32.energy_mj == pytest.approx(80, rel=0.01)
    assert outcome.int8.energy_mj == pytest.approx(40, rel=0.01)
    assert measured.energy_mj is not None
    assert measured.energy_low_mj is not None
    assert measured.energy_high_mj is not None
    assert 40 < measured.energy_mj <= measured.energy_high_mj <= 65 * (1 + 1e-9)
    assert measured.energy_low_mj <= measured.energy_mj
    n_float = sum(p == "fp32" for p in outcome.layers.values())
    assert measured.energy_mj == pytest.approx(40 + 10 * n_float, rel=0.01)
    assert n_float == 2  # as many as fit
    assert outcome.limits["energy_mj"] == 65


def test_predicted_before_and_metered_after_stand_side_by_side(outcome: Outcome) -> None:
    assert outcome.predicted.energy_mj == pytest.approx(outcome.measured.energy_mj, rel=0.05)
    assert outcome.predicted.energy_mj != outcome.measured.energy_mj
    for seen in (outcome.measured, outcome.fp32, outcome.int8):
        assert seen.origin is not None
        assert seen.origin.endswith("energy by RAPL package-0")
    document = json.loads(json.dumps(outcome.as_json()))
    for name in ("predicted", "measured", "fp32", "int8"):
        assert document[name]["energy_mj"] > 0
    met = [c for c in document["baselines"].values() if c["meets"]]
    assert met
    assert all(c["measured_mj"] <= 65 for c in met)


def test_the_report_has_rows_of_energy(outcome: Outcome, capsys: pytest.CaptureFixture[str]) -> None:
    print_outcome(outcome)
    told = capsys.readouterr().out
    assert "metered, mJ" in told
    assert "predicted, mJ" in told
    (met,) = [line for line in told.splitlines() if line.startswith("budget 65mJ: met when measured")]
    assert "mJ, 95 % interval" in met


def test_parts_in_the_cache_are_not_metered_again(
    world: World, target: Target, cache: Cache, outcome: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("this is in the cache")

    monkeypatch.setattr(LocalEnergy, "meter", refuse)
    again = search(world, target, cache, "65mJ")
    assert again.layers == outcome.layers


def test_a_budget_that_nothing_meets_names_the_least(world: World, target: Target, cache: Cache) -> None:
    with pytest.raises(InfeasibleError, match=r"no configuration meets 20mJ .*energy_mj 4") as error:
        search(world, target, cache, "20mJ")
    nearest = error.value.outcome
    assert isinstance(nearest, Outcome)
    assert nearest.nearest is not None
    assert nearest.nearest["energy_mj"] == pytest.approx(40, rel=0.02)


def test_energy_that_was_asked_for_is_metered_beside_another_budget(
    world: World, target: Target, cache: Cache
) -> None:
    found = search(world, target, cache, "80% size", energy=True)
    assert found.measured.energy_mj is not None
    assert "energy_mj" not in found.limits


def test_a_counter_that_stands_still_is_no_energy(
    world: World, target: Target, cache: Cache, tmp_path: Path
) -> None:
    still = World(tmp_path, (0.0,), (0.0,))
    dead = dataclasses.replace(reader(world), counters=survey(still.root).counters)
    with pytest.raises(DeviceError, match="shows nothing above idle"):
        search(world, target, Cache(None), "65mJ", reader=dead)


# ---------------------------------------------------------------- profile files


@pytest.fixture
def here(
    world: World, target: Target, tmp_path: Path, cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    """Runs a verb on the tiny space, on a machine whose counters are the world's; its exit code."""
    monkeypatch.chdir(tmp_path)
    tiny.write_space(tmp_path)
    monkeypatch.setattr("hawqsearch.cli.profile_source.survey_for", lambda target: survey(world.root))
    monkeypatch.setattr("hawqsearch.cli.profile_source.open_meter", lambda found: reader(world))
    monkeypatch.setattr("hawqsearch.hardware.local.LocalBackend", Times)

    def run(verb: str, *more: str, on: str = target.name) -> int:
        shared = ("--space", "tiny.toml", "--cache-dir", str(cache_folder))
        return main([verb, "--target", on, *shared, *more])

    return run


SHARED = ("--space", "tiny.toml", "--cache-dir", "cache")


def test_profile_meters_every_row_when_asked(
    here: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert here("profile", "--json", "--out", "timed.csv") == 0
    rows = json.loads(capsys.readouterr().out)["kernels"]
    assert all(row["energy_mj"] is None for row in rows)
    assert read_profile("timed.csv").counters == ()
    assert here("profile", "--json", "--out", "metered.csv", "--energy") == 0
    rows = json.loads(capsys.readouterr().out)["kernels"]
    assert all(row["energy_counter"] == "RAPL package-0" and row["energy_n"] == 3 for row in rows)
    metered = read_profile("metered.csv")
    for row in (*metered.kernels.values(), *metered.changes.values()):
        assert row.energy is not None
        assert row.energy.median_mj == pytest.approx((LOAD_W - IDLE_W) * row.median_ms, rel=0.01)
        assert row.energy.low_mj <= row.energy.median_mj <= row.energy.high_mj
    assert main(["profile-diff", "timed.csv", "metered.csv"]) == 0
    assert "B, mJ" in capsys.readouterr().out
    assert here("profile", "--energy") == 0
    assert "median, mJ" in capsys.readouterr().out


def of_a_board(profile: HardwareProfile) -> HardwareProfile:
    rig = dataclasses.replace(profile.rig, device="Raspberry Pi 5 (Cortex-A76 at 2400 MHz)")
    return dataclasses.replace(profile, target="arm-neon", rig=rig)


def test_a_boards_profile_with_energy_is_enough(
    here: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert here("profile", "--energy", "--out", "metered.csv") == 0
    write_profile("board.csv", of_a_board(read_profile("metered.csv")))
    command = ("search", "--budget", "65mJ", "--profile", "board.csv")
    capsys.readouterr()
    assert here(*command, "--json", on="arm-neon") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["predicted"]["energy_mj"] <= 65
    assert found["fp32"]["energy_mj"] > 65
    assert found["measured"] == dict.fromkeys(found["measured"])  # nothing was measured whole
    assert here(*command, on="arm-neon") == 0
    told = capsys.readouterr().out
    assert "the whole network was neither timed nor metered" in told
    assert "metered, mJ" not in told


def test_a_boards_profile_without_energy_is_not(
    here: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert here("profile", "--out", "timed.csv") == 0
    write_profile("board.csv", of_a_board(read_profile("timed.csv")))
    assert here("search", "--budget", "65mJ", "--profile", "board.csv", on="arm-neon") == 2
    assert "none were metered; make it again with profile --energy" in capsys.readouterr().err


def test_rows_that_were_not_metered_are_absent_and_not_zero(here: Callable[..., int]) -> None:
    """Half of the rows: the sum over a network is then unknown."""
    assert here("profile", "--energy", "--out", "metered.csv") == 0
    whole = read_profile("metered.csv")
    changes = FrozenDict({k: dataclasses.replace(m, energy=None) for k, m in whole.changes.items()})
    half = of_a_board(dataclasses.replace(whole, changes=changes))
    with pytest.raises(BudgetError, match=f"{len(changes)} not were metered"):
        hawqsearch.search(
            tiny.model(), tiny.data(), target="arm-neon", budget="65mJ", options=Options(board=half)
        )


# ---------------------------------------------------------------- no counter


@pytest.fixture
def without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without any counter, as virtual ones are; the tiny space in a folder."""
    monkeypatch.chdir(tmp_path)
    tiny.write_space(tmp_path)
    monkeypatch.setattr(available, "survey", lambda: survey(tmp_path))
    return tmp_path


def test_without_a_counter_a_budget_in_millijoules_is_refused_before_any_work(
    without: Path, target: Target, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["search", "--target", target.name, "--budget", "3mJ", *SHARED]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: budget 3mJ bounds energy_mj, but no energy is metered: no RAPL package")
    assert "or bound one of latency_ms" in line
    assert not (without / "runs").exists()
    assert not (without / "cache").exists()


def test_without_a_counter_asking_for_energy_is_refused_too(
    without: Path, target: Target, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["search", "--target", target.name, "--budget", "60%", "--energy", *SHARED]) == 2
    assert "energy was asked for, but no energy is metered" in capsys.readouterr().err
    assert main(["profile", "--target", target.name, "--energy", *SHARED]) == 2
    assert "no RAPL package" in capsys.readouterr().err


def test_files_for_root_only_are_told_with_the_remedy(
    without: Path, target: Target, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root reads everything, so that the refusal is acted."""
    World(without)
    read = Path.read_text

    def refuse(self: Path, *arguments: Any, **named: Any) -> str:
        if self.name == "energy_uj":
            raise PermissionError(13, "Permission denied")
        return read(self, *arguments, **named)

    monkeypatch.setattr(Path, "read_text", refuse)
    assert main(["search", "--target", target.name, "--budget", "3mJ", *SHARED]) == 2
    assert "sudo chmod a+r" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "says"), [("arm-neon", "profile --host user@board --energy"), ("generic", "no energy counter")]
)
def test_a_target_that_is_not_here_has_no_counter_of_this_machine(
    name: str, says: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(available, "survey", lambda: survey(world.root))
    with pytest.raises(BudgetError, match=says):
        hawqsearch.search(tiny.model(), tiny.data(), target=name, budget="3mJ")


def test_a_gpu_without_a_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(available, "gpu_survey", lambda: Survey((), ("no NVIDIA GPU number 0 here",)))
    assert available.missing_energy(find_target("cuda-int8")) == (
        "no energy is metered: no NVIDIA GPU number 0 here"
    )


def test_what_was_not_metered_is_null() -> None:
    document = Latency(latency_ms=1.0).as_json()
    assert document["energy_mj"] is None
    assert document["energy_low_mj"] is None


def test_energy_needs_a_counter_in_python_too(without: Path, target: Target) -> None:
    assert without
    with pytest.raises(InputError, match="energy was asked for, but no energy is metered"):
        hawqsearch.search(
            tiny.model(), tiny.data(), target=target, budget="60%", options=Options(energy=True)
        )
