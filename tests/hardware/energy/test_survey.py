"""Counters are found in a tree of files as the kernel lays it out, and what hides them is told with the remedy."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from hawqsearch.errors import DeviceError, MissingDependencyError
from hawqsearch.hardware.energy import nvml
from hawqsearch.hardware.energy.hwmon import HwmonEnergy, HwmonPower, find_hwmon
from hawqsearch.hardware.energy.integral import PowerIntegral
from hawqsearch.hardware.energy.meter import Meter
from hawqsearch.hardware.energy.nvml import open_nvml
from hawqsearch.hardware.energy.rapl import find_rapl
from hawqsearch.hardware.energy.survey import gpu_survey, missing_reason, survey
from tests.hardware.energy.world import World, sensor


def test_packages_are_counted_once_and_the_platform_is_not_one(tmp_path: Path) -> None:
    World(tmp_path, (1.0, 1.0), (2.0, 2.0))
    for name, zone in [
        ("core", "intel-rapl:0:0"),
        ("psys", "intel-rapl:2"),
        ("package-0", "intel-rapl-mmio:0"),
    ]:
        folder = tmp_path / "sys/class/powercap" / zone
        folder.mkdir()
        (folder / "name").write_text(name)
        (folder / "max_energy_range_uj").write_text("1000")
        (folder / "energy_uj").write_text("1")
    assert [c.name for c in find_rapl(tmp_path)] == ["RAPL package-0", "RAPL package-1"]
    assert missing_reason(tmp_path) is None


def test_a_zone_whose_folder_a_container_masks_is_none(tmp_path: Path) -> None:
    World(tmp_path, (1.0, 1.0))
    before = find_rapl(tmp_path)
    (tmp_path / "sys/class/powercap/intel-rapl:7").symlink_to(tmp_path / "masked")
    assert find_rapl(tmp_path) == before


@pytest.fixture
def root_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """RAPL as kernels since 5.10 show it to users; root reads everything, so that the refusal is acted."""
    world = World(tmp_path)
    read = Path.read_text

    def refuse(self: Path, *args: str) -> str:
        if self.name == "energy_uj":
            raise PermissionError(13, "Permission denied")
        return read(self, *args)

    monkeypatch.setattr(Path, "read_text", refuse)
    return world


def test_files_for_root_only_are_explained(root_only: World) -> None:
    reason = missing_reason(root_only.root)
    assert reason is not None
    assert "is for root only" in reason
    assert "sudo chmod a+r" in reason
    assert "\n" not in reason
    with pytest.raises(DeviceError, match="sudo chmod"):
        Meter(counters=find_rapl(root_only.root), clock=root_only.clock, sleep=root_only.sleep).measure(
            root_only.run
        )


def test_a_board_sensor_stands_in(root_only: World) -> None:
    sensor(root_only.root, "hwmon0", "ina226", power1_input="2500000")
    found = survey(root_only.root)
    assert [c.name for c in found.counters] == ["hwmon ina226 power1"]
    assert "root only" in found.obstacles[0]
    assert found.missing_reason is None


def test_a_machine_without_any(tmp_path: Path) -> None:
    reason = missing_reason(tmp_path)
    assert reason is not None
    assert "a virtual machine hides it" in reason
    assert "no sensor of a board's power" in reason


def test_other_chips_sensors_are_not_the_processors(tmp_path: Path) -> None:
    sensor(tmp_path, "hwmon0", "amdgpu", power1_average="30000000")
    sensor(tmp_path, "hwmon1", "nvme", temp1_input="30000")
    assert find_hwmon(tmp_path) == ()


def test_two_sensors_are_not_guessed_between(tmp_path: Path) -> None:
    sensor(tmp_path, "hwmon0", "ina226", power1_input="1")
    sensor(tmp_path, "hwmon1", "ina226", power1_input="1")
    found = survey(tmp_path)
    assert found.counters == ()
    assert "cannot be known" in (found.missing_reason or "")


def test_sockets_add_up_and_their_cores_are_not_counted_again(tmp_path: Path) -> None:
    files = {f"energy{i}_label": f"Ecore00{i}" for i in (1, 2)} | {"energy3_label": "Esocket0"}
    files |= {"energy4_label": "Esocket1"} | {f"energy{i}_input": str(i) for i in (1, 2, 3, 4)}
    sensor(tmp_path, "hwmon3", "amd_energy", **files)
    counters = survey(tmp_path).counters
    assert [c.name for c in counters] == ["hwmon amd_energy Esocket0", "hwmon amd_energy Esocket1"]
    assert all(isinstance(c, HwmonEnergy) for c in counters)
    assert [c.read_uj() for c in counters] == [3.0, 4.0]


def test_a_sensor_says_how_often_it_is_refreshed(tmp_path: Path) -> None:
    sensor(tmp_path, "hwmon0", "ina226", power1_input="1", update_interval="35")
    (found,) = find_hwmon(tmp_path)
    assert (found.update_s, isinstance(found, HwmonPower)) == (0.035, True)


@pytest.mark.parametrize("content", ["", "N/A", "-3"])
def test_a_sensor_that_shows_no_number(tmp_path: Path, content: str) -> None:
    sensor(tmp_path, "hwmon0", "ina226", power1_input=content)
    assert "does not hold a reading" in (missing_reason(tmp_path) or "")


def test_power_is_sampled_in_the_background() -> None:
    reads = 0

    def read_uw() -> float:
        nonlocal reads
        reads += 1
        return 2e6

    integral = PowerIntegral(read_uw, time.perf_counter)
    start = time.perf_counter()
    integral.sample()
    with integral.sampling(0.001):
        time.sleep(0.1)
    total_uj = integral.sample()
    assert 0.1 <= total_uj / 2e6 <= time.perf_counter() - start
    assert reads > 5
    assert threading.active_count() < 20


def test_a_sensor_that_goes_away_while_it_is_sampled() -> None:
    def read_uw() -> float:
        raise DeviceError("cannot read it: gone")

    integral = PowerIntegral(read_uw, time.perf_counter)
    with integral.sampling(0.001):
        time.sleep(0.02)
    with pytest.raises(DeviceError, match="gone"):
        integral.sample()


class NVMLError(Exception):
    pass


def library(*, counter: object = 5000, gpus: int = 1) -> SimpleNamespace:
    """NVML with that many GPUs."""

    def handle(index: int) -> int:
        if index >= gpus:
            raise NVMLError("Invalid Argument")
        return index

    def energy(handle: int) -> object:
        if isinstance(counter, Exception):
            raise counter
        return counter

    return SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByIndex=handle,
        nvmlDeviceGetName=lambda handle: "NVIDIA T4",
        nvmlDeviceGetTotalEnergyConsumption=energy,
    )


def test_a_gpus_counter_is_in_millijoules() -> None:
    counter = open_nvml(0, library())
    assert (counter.name, counter.read_uj(), counter.resolution_uj) == ("NVML NVIDIA T4", 5_000_000.0, 1000.0)


def test_a_gpu_that_is_not_there_or_has_no_counter() -> None:
    with pytest.raises(DeviceError, match="no NVIDIA GPU number 3"):
        open_nvml(3, library())
    with pytest.raises(DeviceError, match="Volta and later"):
        open_nvml(0, library(counter=NVMLError("Not Supported")))


def test_without_the_binding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'hawqsearch\[nvml\]'"):
        open_nvml()
    assert "hawqsearch[nvml]" in (gpu_survey().missing_reason or "")
