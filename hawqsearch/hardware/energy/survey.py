"""Which energy counters there are, and what stands between us and them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hawqsearch.errors import DeviceError, MissingDependencyError
from hawqsearch.hardware.energy.counter import EnergyCounter
from hawqsearch.hardware.energy.hwmon import find_hwmon
from hawqsearch.hardware.energy.nvml import open_nvml
from hawqsearch.hardware.energy.rapl import find_rapl

__all__ = ["Survey", "gpu_survey", "missing_reason", "survey"]


@dataclass(frozen=True, slots=True)
class Survey:
    """Counters to add up (empty where energy cannot be metered), and why others are not among them."""

    counters: tuple[EnergyCounter, ...]
    obstacles: tuple[str, ...] = ()

    @property
    def missing_reason(self) -> str | None:
        """One line on why nothing is metered, with the remedy; None where something is."""
        return None if self.counters else "no energy is metered: " + "; ".join(self.obstacles)


def survey(root: Path = Path("/")) -> Survey:
    """Counters of this machine's processor: every RAPL package, else the one sensor of the board.

    Args:
        root: below it lies `sys`.
    """
    packages = find_rapl(root)
    obstacles = _unreadable(packages)
    if packages and not obstacles:
        return Survey(packages)
    if not packages:
        obstacles = ("no RAPL package below /sys/class/powercap (a virtual machine hides it)",)
    sensors = find_hwmon(root)
    if len(sensors) > 1 and not all(s.name.startswith("hwmon amd_energy") for s in sensors):
        names = ", ".join(s.name for s in sensors)
        return Survey((), (*obstacles, f"which of {names} feeds the processor cannot be known"))
    blocked = _unreadable(sensors)
    if sensors and not blocked:
        return Survey(sensors, obstacles)
    return Survey((), (*obstacles, *(blocked or ("no sensor of a board's power below /sys/class/hwmon",))))


def gpu_survey(gpu: int | str = 0) -> Survey:
    """The counter of a GPU, by its number or its UUID."""
    try:
        return Survey((open_nvml(gpu),))
    except (DeviceError, MissingDependencyError) as error:
        return Survey((), (str(error),))


def missing_reason(root: Path = Path("/")) -> str | None:
    """One line on why this machine's energy is not metered, with the remedy; None where it is."""
    return survey(root).missing_reason


def _unreadable(counters: Iterable[EnergyCounter]) -> tuple[str, ...]:
    obstacles = []
    for counter in counters:
        try:
            counter.read_uj()
        except DeviceError as error:
            obstacles.append(str(error))
    return tuple(dict.fromkeys(obstacles))
