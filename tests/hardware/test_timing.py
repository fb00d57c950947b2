"""Whole models timed side by side, on a clock that the test turns."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from hawqsearch.core.timing import Timing, median_interval
from hawqsearch.runtime import timing
from hawqsearch.runtime.interface import KernelRun

FEED = {"input": np.zeros(1, np.float32)}


@dataclass
class World:
    """Nanoseconds that pass only while a session runs."""

    now: float = 0.0
    ran: list[str] = field(default_factory=list)

    def clock(self) -> int:
        return round(self.now)


@dataclass
class FakeSession:
    """Takes `ms(world.now in seconds)` a run."""

    world: World
    name: str
    ms: Callable[[float], float]

    def run(self, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        self.world.ran.append(self.name)
        self.world.now += 1e6 * self.ms(self.world.now / 1e9)
        return []

    def kernels(self, *, skip_runs: int = 0) -> list[KernelRun]:
        return []


def timed(
    *, rounds: int = 10, share: float = 0.0, **costs: Callable[[float], float]
) -> tuple[dict[str, Timing], World]:
    world = World()
    sessions = {name: FakeSession(world, name, ms) for name, ms in costs.items()}
    found = timing.time_interleaved(
        sessions, FEED, reference="fp32", rounds=rounds, share=share, clock=world.clock
    )
    return found, world


def steady(ms: float) -> Callable[[float], float]:
    return lambda now: ms


def test_a_steady_clock_gives_the_times_themselves() -> None:
    found, _ = timed(fp32=steady(4.0), int8=steady(3.0))
    assert found["fp32"].rounds_ms == (4.0,) * 8  # no need for more
    assert found["int8"].latency_ms.median == 3.0
    assert found["int8"].ratio.median == 0.75
    assert found["fp32"].ratio.high == 1.0


def test_a_drifting_clock_cancels_in_the_ratio() -> None:
    """The clock slows down to less than half; latencies follow, the ratio stays within 1 %."""

    def slow(ms: float) -> Callable[[float], float]:
        return lambda now: ms * (1 + now)

    found, world = timed(fp32=slow(4.0), int8=slow(3.0), rounds=40)
    assert world.now > 2e9
    rounds = found["int8"].rounds_ms
    assert rounds[-1] > 2 * rounds[0]
    assert found["int8"].ratio.median == pytest.approx(0.75, rel=0.01)
    assert found["int8"].ratio.relative_half_width < 0.03 < 0.1 < found["int8"].latency_ms.relative_half_width


def test_a_reference_that_is_steady_stays_while_another_is_not() -> None:
    noise = np.random.default_rng(0)
    found, _ = timed(
        fp32=steady(4.0),
        int8=steady(3.0),
        mixed=lambda now: 2.0 + float(noise.uniform()),
        rounds=30,
        share=0.002,
    )
    assert found["fp32"].ratios == (1.0,) * 30
    assert len(found["mixed"].ratios) == 30
    assert len(found["int8"].ratios) < 30
    assert set(found["int8"].ratios) == {0.75}


def test_short_models_run_often_and_long_ones_at_least_three_times() -> None:
    _, world = timed(rounds=8, fp32=steady(1.0), long=steady(100.0))
    sizing, warm_ups = 4, 2 * 4
    assert world.ran.count("fp32") == sizing + warm_ups + 8 * (1 + 12)
    assert world.ran.count("long") == sizing + warm_ups + 8 * (1 + 3)


# ---------------------------------------------------------------- medians


@pytest.mark.parametrize("n", range(6, 80))
def test_the_interval_covers_the_median_with_at_least_95_percent_and_no_narrower_one_does(n: int) -> None:
    """The number of samples below the median is binomial: the interval misses it where that is r or fewer."""
    interval = median_interval(tuple(float(i) for i in range(n)))
    rank = int(interval.low)
    assert interval.high == n - 1 - rank

    def coverage(r: int) -> float:
        return 1 - 2 * sum(math.comb(n, k) for k in range(r + 1)) / float(2**n)

    assert coverage(rank) >= 0.95 > coverage(rank + 1)
    assert interval.median == (n - 1) / 2


@pytest.mark.parametrize("n", range(1, 6))
def test_of_few_samples_the_ends_are_the_extremes(n: int) -> None:
    samples = tuple(float(i) for i in range(n))
    assert median_interval(samples[::-1]) == median_interval(samples)
    assert (median_interval(samples).low, median_interval(samples).high) == (0.0, n - 1.0)


def test_the_interval_covers_in_a_simulation() -> None:
    """2000 samples of 25 from a skewed distribution: covered by 95.7 %, within 5 standard errors of 0.45 %."""
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(2000):
        interval = median_interval(tuple(rng.exponential(size=25).tolist()))
        hits += interval.low <= math.log(2) <= interval.high
    assert hits / 2000 == pytest.approx(0.957, abs=5 * 0.0045)
