"""Time and energy of one inference, energy only where a counter is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from hawqsearch.core.timing import Interval, median_interval
from hawqsearch.hardware.energy.meter import EnergyReading, Meter
from hawqsearch.hardware.energy.survey import Survey, survey

__all__ = ["TimeAndEnergy", "time_and_meter"]

_ROUNDS: Final = 11
_ROUND_S: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeAndEnergy:
    """Latency of one inference with its 95 % interval, and its energy; `missing` says why that is None."""

    latency_ms: Interval
    energy: EnergyReading | None
    missing: str | None


def time_and_meter(
    run: Callable[[], object],
    *,
    found: Survey | None = None,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], object] = time.sleep,
) -> TimeAndEnergy:
    """Latency and energy of one call of `run`, such as `lambda: session.run(None, feed)`.

    Args:
        found: counters to read; None looks for this machine's.
    """
    counters = survey() if found is None else found
    latency = _latency(run, clock)
    if not counters.counters:
        return TimeAndEnergy(latency_ms=latency, energy=None, missing=counters.missing_reason)
    energy = Meter(counters=counters.counters, clock=clock, sleep=sleep).measure(run)
    return TimeAndEnergy(latency_ms=latency, energy=energy, missing=None)


def _latency(run: Callable[[], object], clock: Callable[[], float]) -> Interval:
    run()
    once = max(min(_times(run, 3, clock)), 1e-9)
    runs = max(3, int(_ROUND_S / once))
    return median_interval(tuple(float(np.median(_times(run, runs, clock))) * 1e3 for _ in range(_ROUNDS)))


def _times(run: Callable[[], object], runs: int, clock: Callable[[], float]) -> list[float]:
    times = []
    for _ in range(runs):
        start = clock()
        run()
        times.append(clock() - start)
    return times
