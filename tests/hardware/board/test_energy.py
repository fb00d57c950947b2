"""Energy of a board: its counters as the travelling script reads them, and over a real ssh connection.

The board's Python is given a clock, a sleep and a runtime that advance a counter's file, so that its power is known;
no real counter is read.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from hawqsearch.core.hardware import Change, ChangeKey, Energy, KernelKey, Signature
from hawqsearch.core.target import Target
from hawqsearch.errors import DeviceError, InputError
from hawqsearch.hardware.board import read_energy
from hawqsearch.hardware.board.energy import BoardEnergy, open_board_energy
from hawqsearch.hardware.energy.hwmon import find_hwmon
from hawqsearch.hardware.energy.meter import Meter, Span, reading_of
from hawqsearch.hardware.energy.rapl import find_rapl
from hawqsearch.hardware.energy.survey import survey
from hawqsearch.hardware.targets import find_target
from tests.hardware.board.server import Sshd
from tests.hardware.energy.world import World, sensor

LINEAR = Signature(op="linear", input_shape=(1, 64), output_shape=(1, 32), weight_shape=(32, 64))
ROWS: dict[KernelKey | ChangeKey, float] = {
    KernelKey(LINEAR, "fp32"): 2.0,
    KernelKey(LINEAR, "w8a8"): 1.0,
    ChangeKey((1, 16, 16, 16), Change.TO_INT8): 0.5,
}
NET_W = 10.0

FAKE_BOARD = """
import os, time
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime

PATH, IDLE_W, LOAD_W, RUN_S = {path!r}, 5.0, {load_w}, 0.25
state = [100.0, 1e6]

def pass_time(seconds, watts):
    state[0] += seconds
    state[1] += watts * 1e6 * seconds
    with open(PATH + ".part", "w") as file:
        file.write(str(int(state[1])))
    os.replace(PATH + ".part", PATH)

def run(self, *arguments, **named):
    pass_time(RUN_S, LOAD_W)

time.perf_counter = lambda: state[0]
time.sleep = lambda seconds: pass_time(seconds, IDLE_W)
onnxruntime.InferenceSession.run = run
"""


@pytest.fixture
def target() -> Target:
    """Kernels that this machine runs, whatever it is."""
    return dataclasses.replace(find_target("x86-vnni"), requires=())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A board's `sys` with an energy sensor."""
    folder = tmp_path / "board"
    sensor(folder, "hwmon0", "scmi_sensors", energy1_input="1000000", energy1_label="cpu")
    return folder


def fake_python(sshd: Sshd, root: Path, load_w: float = 5.0 + NET_W) -> str:
    """The board's Python, where time passes and energy flows as the test says."""
    path = str(root / "sys/class/hwmon/hwmon0/energy1_input")
    (sshd.bin / "sitecustomize.py").write_text(FAKE_BOARD.format(path=path, load_w=load_w))
    python = sshd.bin / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={sshd.bin} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return str(python)


def metered(energy: BoardEnergy, target: Target) -> dict[KernelKey | ChangeKey, Energy]:
    found: dict[KernelKey | ChangeKey, Energy] = {}
    rig = energy.board.rig(threads=1, batch=1)
    energy.meter(target, rig, ROWS, on_row=found.__setitem__)
    return found


# ---------------------------------------------------------------- over ssh


def test_a_boards_sensor_is_read_and_the_board_left_as_it_was(sshd: Sshd, target: Target, root: Path) -> None:
    energy = open_board_energy(sshd.backend(python=fake_python(sshd, root)), str(root))
    assert energy.counter == "hwmon scmi_sensors cpu"
    found = metered(energy, target)
    assert set(found) == set(ROWS)
    for key, row in found.items():
        assert row.median_mj == pytest.approx(NET_W * ROWS[key], rel=1e-3)
        assert row.low_mj <= row.median_mj <= row.high_mj
        assert (row.n, row.counter) == (7, "hwmon scmi_sensors cpu")
    until = time.monotonic() + 10
    while time.monotonic() < until and any(sshd.temporary.iterdir()):
        time.sleep(0.05)
    assert not any(sshd.temporary.iterdir())


def test_a_board_without_a_counter_says_so_before_anything_is_measured(sshd: Sshd, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no energy is metered on .*127\.0\.0\.1: it has no RAPL package"):
        open_board_energy(sshd.backend(), str(tmp_path))


def test_a_dropped_line_is_taken_up_where_it_was(sshd: Sshd, target: Target, root: Path) -> None:
    energy = open_board_energy(sshd.backend(python=fake_python(sshd, root)), str(root))
    rows: list[KernelKey | ChangeKey] = []

    def drop(key: KernelKey | ChangeKey, _: Energy) -> None:
        rows.append(key)
        if len(rows) == 1:
            assert sshd.kill_sessions() > 0

    rig = energy.board.rig(threads=1, batch=1)
    energy.meter(target, rig, ROWS, on_row=drop)
    assert sorted(rows, key=repr) == sorted(ROWS, key=repr)  # none twice


def test_a_sensor_that_stands_still(sshd: Sshd, target: Target, root: Path) -> None:
    energy = open_board_energy(sshd.backend(python=fake_python(sshd, root, load_w=5.0)), str(root))
    with pytest.raises(DeviceError, match="shows nothing above idle"):
        metered(dataclasses.replace(energy, blocks=1), target)


# ---------------------------------------------------------------- the script against our own readers


def names(found: list[Any] | tuple[Any, ...]) -> list[str]:
    return [counter.name for counter in found]


def test_the_script_finds_what_the_survey_finds(tmp_path: Path) -> None:
    World(tmp_path / "rapl", (1.0, 1.0), (2.0, 2.0))
    assert names(read_energy.find(str(tmp_path / "rapl"))) == names(survey(tmp_path / "rapl").counters)
    both = tmp_path / "both"
    sensor(both, "hwmon0", "ina226", power1_input="5", energy1_input="7", update_interval="20")
    sensor(both, "hwmon1", "nvme", power1_input="5")
    found, ours = read_energy.find(str(both)), find_hwmon(both)
    assert names(found) == names(ours) == ["hwmon ina226 energy1"]
    assert found[0].update_s == ours[0].update_s == 0.02
    cores = tmp_path / "cores"
    files = {"energy1_input": "1", "energy1_label": "Ecore000"}
    sensor(cores, "hwmon0", "amd_energy", **files, energy2_input="2", energy2_label="Esocket0")
    assert names(read_energy.find(str(cores))) == names(find_hwmon(cores)) == ["hwmon amd_energy Esocket0"]


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"power1_input": "1", "power2_input": "1"}, "which of hwmon ina226 power1, hwmon ina226 power2"),
        ({"power1_input": "much"}, "cannot be read"),
        ({}, "no sensor of its power"),
    ],
)
def test_what_is_in_the_way_is_said(tmp_path: Path, files: dict[str, str], says: str) -> None:
    sensor(tmp_path, "hwmon0", "ina226", **files)
    with pytest.raises(LookupError, match=says):
        read_energy.find(str(tmp_path))


def test_a_file_for_root_only_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sensor(tmp_path, "hwmon0", "ina226", power1_input="1")

    def refuse(path: str) -> int:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(read_energy, "number", refuse)
    with pytest.raises(LookupError, match="for root only; on it run: sudo chmod a\\+r"):
        read_energy.find(str(tmp_path))


def test_its_spans_make_the_reading_that_the_meter_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two packages whose counters wrap, in the same world."""
    world = World(tmp_path, (5.0, 3.0), (15.0, 4.0), wrap_uj=1_000_000)
    monkeypatch.setattr(read_energy.time, "perf_counter", world.clock)
    monkeypatch.setattr(read_energy.time, "sleep", world.sleep)
    alive: list[int] = []
    counters = read_energy.find(str(tmp_path))
    said = read_energy.meter(world.run, counters, 7, 50, lambda: alive.append(1))
    load, idle = ([Span(*pair) for pair in said[name]] for name in ("load", "idle"))
    resolution = sum(c.step_uj for c in counters)
    there = reading_of(said["runs"], load, idle, counter="both", resolution_uj=resolution)
    meter = Meter(counters=find_rapl(tmp_path), clock=world.clock, sleep=world.sleep)
    here = meter.measure(world.run)
    assert there.median_mj == pytest.approx(here.median_mj, rel=1e-3)
    assert there.median_mj == pytest.approx((10 + 1) * 2.0, rel=1e-3)
    assert there.latency_ms == pytest.approx(2.0)
    assert there.steps >= 50 * 0.99
    assert len(alive) >= 7


def test_a_sensor_of_power_is_integrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path / "clock", (3.0,), (9.0,))
    chip = sensor(tmp_path, "hwmon0", "ina226", power1_input="3000000", update_interval="10000")
    monkeypatch.setattr(read_energy.time, "perf_counter", world.clock)
    (power,) = read_energy.find(str(tmp_path))

    def draw(microwatts: int) -> None:
        (chip / "power1_input").write_text(str(microwatts))
        power.read_uj()  # as the thread that samples in the background does, which knows no other clock

    def run() -> None:
        draw(9_000_000)
        world.run(25.0)

    def sleep(seconds: float) -> None:
        draw(3_000_000)
        world.sleep(seconds)

    monkeypatch.setattr(read_energy.time, "sleep", sleep)
    said = read_energy.meter(run, [power], 3, 50, lambda: None)
    load, idle = ([Span(*pair) for pair in said[name]] for name in ("load", "idle"))
    reading = reading_of(said["runs"], load, idle, counter="board", resolution_uj=1.0)
    assert reading.median_mj == pytest.approx((9 - 3) * 25.0 * 1e3)


def test_the_script_needs_nothing_of_this_project() -> None:
    """It travels alone: only the standard library is imported, and names that Python 3.8 has."""
    text = Path(str(read_energy.__file__)).read_text()
    modules = [line.split()[1] for line in text.splitlines() if line.startswith(("import ", "from "))]
    assert all(name in sys.stdlib_module_names for name in (m.partition(".")[0] for m in modules)), modules
    importlib.reload(read_energy)
    assert os.path.basename(str(read_energy.__file__)) == "read_energy.py"
