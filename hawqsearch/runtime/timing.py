"""Whole models timed side by side, so that a drifting clock or a busy neighbour cancels in their ratio."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnxruntime as ort

__all__ = ["Interval", "Timing", "median_interval", "time_interleaved"]


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


def _enclosing_rank(n: int, confidence: float = 0.95) -> int:
    """Largest r (from 0) so that order statistics r and n-1-r enclose the median with that confidence."""
    rank, tail = 0, 0.5**n
    while True:
        tail += math.comb(n, rank + 1) * 0.5**n
        if 1 - 2 * tail < confidence:
            return rank
        rank += 1


def time_interleaved(
    sessions: Mapping[str, ort.InferenceSession],
    feed: Mapping[str, np.ndarray],
    *,
    reference: str,
    rounds: int = 25,
    round_ms: float = 20.0,
    on_round: Callable[[], object] = lambda: None,
) -> dict[str, Timing]:
    """Time every session `rounds` times in turn; the order is reversed every other round.

    A round of one session is an untimed run (the others have emptied the caches) and as many timed
    ones as fill `round_ms`, at least three; its sample is their median.
    """
    runs = {name: _runs_per_round(session, feed, round_ms) for name, session in sessions.items()}
    samples: dict[str, list[float]] = {name: [] for name in sessions}
    for index in range(rounds):
        for name in list(sessions)[:: 1 if index % 2 == 0 else -1]:
            samples[name].append(float(np.median(_time(sessions[name], feed, runs[name]))))
        on_round()
    base = np.asarray(samples[reference])
    return {
        name: Timing(rounds_ms=tuple(values), ratios=tuple((np.asarray(values) / base).tolist()))
        for name, values in samples.items()
    }


def _runs_per_round(session: ort.InferenceSession, feed: Mapping[str, np.ndarray], round_ms: float) -> int:
    once = float(np.min(_time(session, feed, 3)))
    return max(3, int(round_ms / once))


def _time(session: ort.InferenceSession, feed: Mapping[str, np.ndarray], runs: int) -> list[float]:
    inputs = dict(feed)
    session.run(None, inputs)
    times = []
    for _ in range(runs):
        start = time.perf_counter_ns()
        session.run(None, inputs)
        times.append((time.perf_counter_ns() - start) / 1e6)
    return times
