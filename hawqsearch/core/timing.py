"""Medians of whole-network latencies with their 95 % intervals, and ratios to a reference of the same run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

__all__ = ["Interval", "Timing", "median_interval", "relative_half_width"]

_FEWEST: Final = 6


@dataclass(frozen=True, slots=True)
class Interval:
    """A median with the ends of its 95 % interval."""

    median: float
    low: float
    high: float

    @property
    def relative_half_width(self) -> float:
        """Half the interval as a share of the median."""
        return (self.high - self.low) / 2 / self.median


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Times of one model over the rounds, and their ratio to the reference of the same round.

    Args:
        rounds_ms: one median per round, in ms.
        ratios: the same divided by the reference's of that round.
    """

    rounds_ms: tuple[float, ...]
    ratios: tuple[float, ...]

    @property
    def latency_ms(self) -> Interval:
        """Median over rounds with its 95 % interval."""
        return median_interval(self.rounds_ms)

    @property
    def ratio(self) -> Interval:
        """Median ratio to the reference with its 95 % interval."""
        return median_interval(self.ratios)


def median_interval(samples: tuple[float, ...]) -> Interval:
    """Median and the order statistics that enclose it with at least 95 % (binomial; no shape assumed).

    Below six samples no pair of order statistics reaches 95 %: the ends are then the extremes.
    """
    ordered = np.sort(np.asarray(samples))
    rank = _enclosing_rank(len(ordered))
    return Interval(float(np.median(ordered)), float(ordered[rank]), float(ordered[-1 - rank]))


def relative_half_width(samples: tuple[float, ...]) -> float:
    """Half the 95 % interval of the samples' median as a share of it; infinite where the median is 0 or there are
    too few samples (below six) for an interval."""
    if len(samples) < _FEWEST:
        return math.inf
    interval = median_interval(samples)
    return interval.relative_half_width if 0 < interval.median < math.inf else math.inf


@lru_cache(maxsize=256)
def _enclosing_rank(n: int, confidence: float = 0.95) -> int:
    """Largest r (from 0) so that order statistics r and n-1-r enclose the median with that confidence."""
    rank, tail = 0, 0.5**n
    while True:
        tail += math.comb(n, rank + 1) * 0.5**n
        if 1 - 2 * tail < confidence:
            return rank
        rank += 1
