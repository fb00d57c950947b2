"""Whole networks timed, beside what the profile's parts said of them."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from hawqsearch.core.frozen import FrozenDict

__all__ = ["WholeFit", "WholeRun"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeRun:
    """One configuration: the plain sum of its parts, what the correction fitted on all *others* says, and measured.

    Args:
        half_width: half of the 95 % interval of the measured median as a share of it; None where it is not known.
    """

    config: FrozenDict[str, str]
    sum_ms: float
    corrected_ms: float
    measured_ms: float
    half_width: float | None = None

    @property
    def sum_error(self) -> float:
        """Sum of parts over measured, less one."""
        return self.sum_ms / self.measured_ms - 1

    @property
    def corrected_error(self) -> float:
        """Corrected over measured, less one: the residual."""
        return self.corrected_ms / self.measured_ms - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeFit:
    """The end-to-end correction of one network, and its residuals.

    Args:
        network: fingerprint of graph and weights.
        fixed_ms: what every run costs beside its parts.
        scales: kind of part (`conv w8a8`, `edge to_int8`) -> its corrected time over its time alone, all of that
            kind together.
        spread: standard deviation of the residuals.
    """

    network: str
    fixed_ms: float
    scales: FrozenDict[str, float]
    spread: float
    runs: tuple[WholeRun, ...]

    @property
    def sum_error(self) -> float:
        """Median of the absolute errors of the plain sums."""
        return statistics.median(abs(run.sum_error) for run in self.runs)

    @property
    def corrected_error(self) -> float:
        """Median of the absolute residuals."""
        return statistics.median(abs(run.corrected_error) for run in self.runs)

    def __str__(self) -> str:
        """In one line."""
        return (
            f"{len(self.runs)} whole networks: the sum of parts was {100 * self.sum_error:.1f} % off, corrected "
            f"{100 * self.corrected_error:.1f} % (medians; each predicted from the others)"
        )
