"""Whole models timed side by side, on a clock that the test turns."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from hawqsearch.core.timing import Timing, median_interval
from hawqsearch.runtime import timing

FEED = {"input": np.zeros(1, np.float32)}


@dataclass
class Clock:
    """Nanoseconds that pass only while a session runs."""

    now: float = 0.0
    ran: list[str] = field(default_factory=list)

    def perf_counter_ns(self) -> int:
        return round(self.now)


@dataclass
class Session:
    """Takes `ms(clock.now in seconds)` a run."""

    clock: Clock
    name: str
    ms: Callable[[float], float]

    def run(self, feed: dict[str, np.ndarray]) -> None:
        self.clock.ran.append(self.name)
        self.clock.now += 1e6 * self.ms(self.clock.now / 1e9)


def timed(
    monkeypatch: pytest.MonkeyPatch, *, rounds: int = 10, **costs: Callable[[float], float]
) -> tuple[dict[str, Timing], Clock]:
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    sessions = {name: Session(clock, name, ms) for name, ms in costs.items()}
    return timing.time_interleaved(sessions, FEED, reference="fp32", rounds=rounds), clock  # type: ignore[arg-type]


def test_a_steady_clock_gives_the_times_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = timed(monkeypatch, fp32=lambda now: 4.0, int8=lambda now: 3.0)
    assert found["fp32"].rounds_ms == (4.0,) * 10
    assert found["int8"].latency_ms.median == 3.0
    assert found["int8"].ratio.median == 0.75
    assert found["fp32"].ratio.high == 1.0


def test_a_drifting_clock_cancels_in_the_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock slows down to a third; latencies follow, the ratio stays within 1 %."""
    slow = lambda ms: lambda now: ms * (1 + now)  # noqa: E731
    found, clock = timed(monkeypatch, fp32=slow(4.0), int8=slow(3.0), rounds=40)
    assert clock.now > 2e9
    rounds = found["int8"].rounds_ms
    assert rounds[-1] > 2 * rounds[0]
    assert found["int8"].ratio.median == pytest.approx(0.75, rel=0.01)
    assert found["int8"].ratio.relative_half_width < 0.03 < 0.1 < found["int8"].latency_ms.relative_half_width


def test_the_order_is_reversed_every_other_round(monkeypatch: pytest.MonkeyPatch) -> None:
    _, clock = timed(monkeypatch, rounds=4, fp32=lambda now: 4.0, int8=lambda now: 3.0, mixed=lambda now: 2.0)
    order = [name for name, before in zip(clock.ran[1:], clock.ran, strict=False) if name != before]
    assert order == [
        "int8",
        "mixed",
        "fp32",
        "int8",
        "mixed",
        "int8",
        "fp32",
        "int8",
        "mixed",
        "int8",
        "fp32",
    ]


def test_one_slow_run_does_not_move_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """A round is a median, so a neighbour's burst within it does not count."""
    calls = iter(range(10**6))
    found, _ = timed(monkeypatch, fp32=lambda now: 400.0 if next(calls) % 5 == 0 else 4.0)
    assert set(found["fp32"].rounds_ms) == {4.0}


def test_short_models_run_often_and_long_ones_at_least_three_times(monkeypatch: pytest.MonkeyPatch) -> None:
    _, clock = timed(monkeypatch, rounds=2, fp32=lambda now: 1.0, long=lambda now: 100.0)
    assert clock.ran.count("fp32") == 4 + 2 * (1 + 12)
    assert clock.ran.count("long") == 4 + 2 * (1 + 3)


# ---------------------------------------------------------------- medians


@pytest.mark.parametrize("n", range(6, 80))
def test_the_interval_covers_the_median_with_at_least_95_percent_and_no_narrower_one_does(n: int) -> None:
    """The number of samples below the median is binomial: the interval misses it where that is r or fewer."""
    interval = median_interval(tuple(float(i) for i in range(n)))
    rank = int(interval.low)
    assert interval.high == n - 1 - rank

    def coverage(r: int) -> float:
        return 1 - 2 * sum(math.comb(n, k) for k in range(r + 1)) / 2**n

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
