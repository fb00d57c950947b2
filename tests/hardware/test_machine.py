"""What is found on machines that are made up: files as Linux has them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hawqsearch.hardware import machine, targets
from hawqsearch.hardware.machine import Finding, examine

FILES = {
    "performance": {"sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance\n"},
    "powersave": {"sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n"},
    "amd boost": {"sys/devices/system/cpu/cpufreq/boost": "1\n"},
    "intel turbo": {"sys/devices/system/cpu/intel_pstate/no_turbo": "0\n"},
    "no turbo": {"sys/devices/system/cpu/intel_pstate/no_turbo": "1\n"},
    "counter": {
        "sys/class/powercap/intel-rapl:0/name": "package-0\n",
        "sys/class/powercap/intel-rapl:0/max_energy_range_uj": "65532610987\n",
        "sys/class/powercap/intel-rapl:0/energy_uj": "17\n",
    },
    "cool": {"sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "0\n"},
    "hot": {"sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "12\n"},
    "alone": {"proc/stat": "cpu  5000 0 1000 4000 0 0 0 20 0 0\n"},
    "crowded": {"proc/stat": "cpu  5000 0 1000 3500 0 0 0 500 0 0\n"},
    "nothing": {},
}


def found(tmp_path: Path, name: str) -> dict[str, Finding]:
    for path, content in FILES[name].items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)
    return {f.what: f for f in examine(tmp_path, {})}


@pytest.mark.parametrize(
    ("name", "what", "state", "says"),
    [
        ("performance", "governor", "good", "performance"),
        ("powersave", "governor", "problem", "powersave"),
        ("nothing", "governor", "note", "virtual machine"),
        ("amd boost", "boost", "note", "cpufreq/boost"),
        ("intel turbo", "boost", "note", "no_turbo"),
        ("counter", "energy", "good", "RAPL package-0 can be read"),
        ("nothing", "energy", "note", "no RAPL package"),
        ("cool", "throttling", "good", "never"),
        ("hot", "throttling", "note", "12 times"),
        ("alone", "steal", "good", "0.2 %"),
        ("crowded", "steal", "problem", "5.0 % of the time"),
    ],
)
def test_what_the_system_shows(name: str, what: str, state: str, says: str, tmp_path: Path) -> None:
    finding = found(tmp_path, name)[what]
    assert finding.state == state
    assert says in f"{finding.found} {finding.remedy}"
    assert (finding.remedy is None) == (state == "good")


def test_what_is_not_counted_needs_no_word(tmp_path: Path) -> None:
    assert not {"throttling", "steal"} & set(found(tmp_path, "nothing"))


def test_a_fixed_clock_needs_no_word(tmp_path: Path) -> None:
    assert "boost" not in found(tmp_path, "no turbo")


def test_a_counter_that_cannot_be_read(tmp_path: Path) -> None:
    found(tmp_path, "counter")
    counter = tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj"
    counter.unlink()
    counter.mkdir()  # root may read any file
    finding = found(tmp_path, "nothing")["energy"]
    assert finding.state == "problem"
    assert "chmod" in str(finding.remedy)


@pytest.mark.parametrize(
    ("load", "state"), [(0.1, "good"), (0.7, "note"), (1.5, "problem")], ids=["idle", "busy", "full"]
)
def test_load(load: float, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(os, "getloadavg", lambda: (4 * load, 0.0, 0.0))
    assert found(tmp_path, "nothing")["load"].state == state


@pytest.mark.parametrize(
    ("flags", "state", "says"),
    [
        ({"avx2", "avx_vnni"}, "good", "x86-vnni can be measured here"),
        ({"avx2"}, "good", "x86-avx2 can be measured here"),
        (set(), "problem", "is this machine"),
    ],
)
def test_targets(
    flags: set[str], state: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (machine, targets):
        monkeypatch.setattr(module, "cpu_flags", lambda: frozenset(flags))
    finding = found(tmp_path, "nothing")["targets"]
    assert finding.state == state
    assert says in finding.found
