"""Two profiles row by row: what became faster or slower, and what only one of them has."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from hawqsearch.core.hardware import ChangeKey, HardwareProfile, KernelKey, Measurement

__all__ = ["ProfileDifference", "SharedRow", "difference"]

Key = KernelKey | ChangeKey


@dataclass(frozen=True, slots=True)
class SharedRow:
    """A kernel or a change that both profiles have."""

    key: Key
    first: Measurement
    second: Measurement

    @property
    def ratio(self) -> float | None:
        """Second over first; None where the first took no time."""
        return self.second.median_ms / self.first.median_ms if self.first.median_ms > 0 else None

    @property
    def energy_ratio(self) -> float | None:
        """Second's energy over first's; None where either was not metered, or the first took none."""
        a, b = self.first.energy, self.second.energy
        return b.median_mj / a.median_mj if a is not None and b is not None and a.median_mj > 0 else None

    @property
    def overlap(self) -> bool:
        """Whether the ranges between quartiles have a time in common: then the two may well be alike."""
        return self.first.low_ms <= self.second.high_ms and self.second.low_ms <= self.first.high_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileDifference:
    """Rows in both profiles, and those in one of them only."""

    shared: tuple[SharedRow, ...]
    only_first: tuple[Key, ...]
    only_second: tuple[Key, ...]

    @property
    def median_ratio(self) -> float | None:
        """Median of the ratios; None where no row is in both."""
        ratios = [row.ratio for row in self.shared if row.ratio is not None]
        return statistics.median(ratios) if ratios else None


def difference(first: HardwareProfile, second: HardwareProfile) -> ProfileDifference:
    """`second` against `first`, in the order of `first`'s rows; their rigs may differ."""
    a, b = first.rows, second.rows
    return ProfileDifference(
        shared=tuple(SharedRow(key, row, b[key]) for key, row in a.items() if key in b),
        only_first=tuple(key for key in a if key not in b),
        only_second=tuple(key for key in b if key not in a),
    )
