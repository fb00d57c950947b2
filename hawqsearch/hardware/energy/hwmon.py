"""Sensors of boards and servers, through /sys/class/hwmon (units: the kernel's hwmon sysfs interface)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hawqsearch.errors import DeviceError
from hawqsearch.hardware.energy.integral import PowerIntegral

__all__ = ["HwmonEnergy", "HwmonPower", "find_hwmon"]

_HWMON: Final = "sys/class/hwmon"
_METERS: Final = frozenset(
    {"amd_energy", "power_meter", "scmi_sensors"}
    | {f"ina{chip}" for chip in (209, 219, 220, 226, 230, 231, 233, 237, 238)}
)
"""Drivers of what feeds a processor or a whole board; a disk's or a graphics card's sensor is none of them."""

_CORE: Final = re.compile(r"Ecore[0-9]+")  # amd_energy shows each core and the socket, which holds them all
_UPDATE_S: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class HwmonEnergy:
    """A sensor that counts energy itself (`energy1_input`, microjoules)."""

    path: Path
    name: str
    update_s: float = _UPDATE_S

    @property
    def wrap_uj(self) -> float | None:
        """The kernel widens these to 64 bits."""
        return None

    @property
    def resolution_uj(self) -> float:
        """The file's unit; the sensor's own is not told."""
        return 1.0

    def read_uj(self) -> float:
        """What it shows now."""
        return _read(self.path)

    def metering(self) -> AbstractContextManager[None]:
        """It counts by itself."""
        return nullcontext()


@dataclass(frozen=True, slots=True, kw_only=True)
class HwmonPower:
    """A sensor that shows power (`power1_input` or `power1_average`, microwatts), integrated here."""

    path: Path
    name: str
    update_s: float = _UPDATE_S
    clock: Callable[[], float] = field(default=time.perf_counter, repr=False)
    _integral: PowerIntegral = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        integral = PowerIntegral(lambda: _read(self.path), self.clock)
        object.__setattr__(self, "_integral", integral)

    @property
    def wrap_uj(self) -> float | None:
        """An integral does not wrap."""
        return None

    @property
    def resolution_uj(self) -> float:
        """A microwatt over one refresh."""
        return self.update_s

    def read_uj(self) -> float:
        """The integral until now."""
        return self._integral.sample()

    def metering(self) -> AbstractContextManager[None]:
        """Sampled as often as the sensor is refreshed."""
        return self._integral.sampling(self.update_s)


def find_hwmon(root: Path = Path("/")) -> tuple[HwmonEnergy | HwmonPower, ...]:
    """Sensors that meter a processor or a board; energy before power where a chip shows both."""
    folder = root / _HWMON
    chips = sorted(folder.iterdir()) if folder.is_dir() else []
    found: list[HwmonEnergy | HwmonPower] = []
    for chip in chips:
        driver = _text(chip / "name")
        if driver in _METERS:
            found += _energies(chip, driver) or _powers(chip, driver)
    return tuple(found)


def _energies(chip: Path, driver: str) -> list[HwmonEnergy]:
    sensors = ((path, _label(path)) for path in sorted(chip.glob("energy*_input")))
    return [
        HwmonEnergy(path=path, name=f"hwmon {driver} {label}", update_s=_update_s(chip))
        for path, label in sensors
        if not _CORE.fullmatch(label)
    ]


def _powers(chip: Path, driver: str) -> list[HwmonPower]:
    paths = sorted(chip.glob("power*_input")) or sorted(chip.glob("power*_average"))
    return [
        HwmonPower(path=path, name=f"hwmon {driver} {_label(path)}", update_s=_update_s(chip))
        for path in paths
    ]


def _label(path: Path) -> str:
    sensor = path.name.rpartition("_")[0]
    return _text(path.with_name(f"{sensor}_label")) or sensor


def _update_s(chip: Path) -> float:
    text = _text(chip / "update_interval")  # milliseconds
    return int(text) / 1000 if text.isdigit() and int(text) > 0 else _UPDATE_S


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _read(path: Path) -> float:
    try:
        text = path.read_text().strip()
    except PermissionError:
        raise DeviceError(f"{path} is for root only; let others read it: sudo chmod a+r {path}") from None
    except OSError as error:
        raise DeviceError(f"cannot read {path}: {error.strerror}") from None
    if not text.isdigit():
        raise DeviceError(f"{path} does not hold a reading but {text[:40]!r}")
    return float(text)
