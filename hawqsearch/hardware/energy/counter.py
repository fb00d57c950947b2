"""What every energy counter says, and how much went through it between two readings."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Final, Protocol

from hawqsearch.errors import DeviceError

__all__ = ["EnergyCounter", "consumed_uj"]

_PLAUSIBLE_W: Final = 5000.0
"""No single counter meters more: beyond it, a counter was reset or its file is not what it says."""


class EnergyCounter(Protocol):
    """Energy since some moment in the past, in microjoules."""

    @property
    def name(self) -> str:
        """What it meters, as results name it."""
        ...

    @property
    def wrap_uj(self) -> float | None:
        """Where it starts again at zero; None where it does not."""
        ...

    @property
    def resolution_uj(self) -> float:
        """The smallest step that it shows."""
        ...

    @property
    def update_s(self) -> float:
        """How often the hardware refreshes it."""
        ...

    def read_uj(self) -> float:
        """What it shows now; raises `DeviceError` with the remedy where it cannot be read."""
        ...

    def metering(self) -> AbstractContextManager[None]:
        """Readings are valid while this is entered (a sensor of power is integrated meanwhile)."""
        ...


def consumed_uj(counter: EnergyCounter, before_uj: float, after_uj: float, seconds: float) -> float:
    """Microjoules between two readings that far apart, at most one wrap among them.

    Raises:
        DeviceError: it went backwards without wrapping, or further than any device could.
    """
    if seconds <= 0:
        raise DeviceError(f"the clock moved by {seconds:g} s while {counter.name} was read; measure again")
    moved = after_uj - before_uj
    if moved < 0 and counter.wrap_uj is None:
        raise DeviceError(f"{counter.name} went backwards by {-moved:g} uJ: it was reset; measure again")
    if moved < 0 and counter.wrap_uj is not None:
        moved += counter.wrap_uj
    if not 0 <= moved <= _PLAUSIBLE_W * 1e6 * seconds:
        raise DeviceError(
            f"{counter.name} jumped from {before_uj:g} to {after_uj:g} uJ in {seconds:g} s: it was reset "
            "(did the machine sleep?); measure again"
        )
    return moved
