"""Candidates timed in turn, round after round, until their medians are known well enough or the time is up.

The order is reversed every other round, so that a clock that drifts hits all candidates alike and cancels in their
ratios. A clock that jumps (a machine that was suspended, a clock that was set) costs the round it jumped in.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Final, Generic, TypeVar

import numpy as np

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.timing import relative_half_width
from hawqsearch.errors import DeviceError

__all__ = ["Effort", "End", "Rounds", "Sample", "in_rounds"]

K = TypeVar("K")
StepT = TypeVar("StepT")

_SIZING_RUNS: Final = 3
_STEADY_SHARE: Final = 0.02
_MOST_WARM_UPS: Final = 6
_REST: Final = 4
"""A candidate whose median is known well enough is visited in every fourth round only: what it took is left to the
others, and it still sees the whole course of the clock."""
_LEAP_NS: Final = 1_000_000_000
_LEAP_FACTOR: Final = 100
"""A run is no run when it takes more than a second *and* this many times what the candidate takes."""
_UNKNOWN_LEAP_NS: Final = 600_000_000_000
_MOST_JUMPS: Final = 3


class End(StrEnum):
    """Why no further round was run."""

    NARROW = "narrow"
    ROUNDS = "rounds"
    TIME = "time"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """When to stop, and how much of a round a candidate gets.

    Args:
        share: half of the 95 % interval of a median, as a share of it, that is narrow enough.
        rounds: most that are counted.
        least_rounds: fewest, whatever the intervals and the time: below six a median has no 95 % interval.
        seconds: after which no further round begins, warm-up not counted.
        slice_ms: runs of a candidate in a round fill this long, between `least_runs` and `most_runs` of them.
    """

    share: float = 0.02
    rounds: int = 40
    least_rounds: int = 8
    seconds: float = 10.0
    slice_ms: float = 1.0
    least_runs: int = 3
    most_runs: int = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One candidate in one round.

    Args:
        round: its number, warm-up not counted.
        runs_ms: what each counted run took.
        first_run: how often the candidate had run before the first of them, warm-up and all.
    """

    round: int
    runs_ms: tuple[float, ...]
    first_run: int

    @property
    def median_ms(self) -> float:
        """Of the runs."""
        return float(np.median(self.runs_ms))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds(Generic[K]):
    """What was timed, and how it ended.

    Args:
        half_widths: half of the 95 % interval of each candidate's median as a share of it: of its ratio to the
            reference of the same round where there is one.
        wide: candidates for which that is more than was wanted.
        thrown: rounds that were thrown away because the clock jumped.
        drift: how much slower (positive) or faster the candidates were in the last quarter of the rounds than in
            the first: their median, None below four rounds.
    """

    samples: FrozenDict[K, tuple[Sample, ...]]
    half_widths: FrozenDict[K, float]
    wide: tuple[K, ...]
    rounds: int
    warm_ups: int
    thrown: int
    drift: float | None
    seconds: float
    end: End


def in_rounds(
    candidates: Mapping[K, Callable[[], object]],
    effort: Effort,
    *,
    reference: K | None = None,
    clock: Callable[[], int] = time.perf_counter_ns,
    on_round: Callable[[int], object] = lambda done: None,
) -> Rounds[K]:
    """Time `candidates` in turn until every median is narrow enough, or `effort` is spent.

    A visit is an untimed run (the others have emptied the caches) and as many timed ones as fill the slice. Warm-up
    rounds come first, until the candidates' median changes no more from one to the next.

    Args:
        reference: one of the candidates; intervals are then of the ratios to it.
        clock: nanoseconds, never seconds of the day.
        on_round: called with the rounds just done; with those that were not needed at the end.

    Raises:
        DeviceError: the clock keeps jumping.
    """
    course = _Course(candidates=candidates, effort=effort, reference=reference, clock=clock)
    course.size()
    warm_ups = course.warm_up()
    end = None
    while end is None:
        course.round()
        on_round(1)
        end = course.end()
    on_round(effort.rounds - course.counted)
    return Rounds(
        samples=FrozenDict({key: tuple(found) for key, found in course.samples.items()}),
        half_widths=FrozenDict(course.half_widths),
        wide=tuple(key for key in candidates if key in course.wide),
        rounds=course.counted,
        warm_ups=warm_ups,
        thrown=course.jumps,
        drift=_drift(course.samples, course.counted),
        seconds=course.spent_ns / 1e9,
        end=end,
    )


class _JumpedError(Exception):
    """The clock jumped by so many nanoseconds."""

    def __init__(self, by_ns: int) -> None:
        super().__init__(by_ns)
        self.by_ns = by_ns


@dataclass(slots=True, kw_only=True)
class _Course(Generic[K]):
    """Rounds under way."""

    candidates: Mapping[K, Callable[[], object]]
    effort: Effort
    reference: K | None
    clock: Callable[[], int]
    samples: dict[K, list[Sample]] = field(init=False)
    half_widths: dict[K, float] = field(default_factory=dict)
    wide: set[K] = field(default_factory=set)
    once_ns: dict[K, int] = field(default_factory=dict)
    ran: dict[K, int] = field(init=False)
    turns: int = 0
    counted: int = 0
    jumps: int = 0
    spent_ns: int = 0

    def __post_init__(self) -> None:
        self.samples = {key: [] for key in self.candidates}
        self.ran = dict.fromkeys(self.candidates, 0)
        self.wide = set(self.candidates)

    def size(self) -> None:
        """Learn what each candidate takes."""
        for key in self.candidates:
            times = self._until_sane(partial(self._visit, key, _SIZING_RUNS))
            self.once_ns[key] = max(1, min(times))

    def warm_up(self) -> int:
        """Short rounds until one is like the one before; how many that took."""
        before: dict[K, float] | None = None
        for done in range(1, _MOST_WARM_UPS + 1):
            now = self._until_sane(self._warm_round)
            if before is not None:
                change = float(np.median([now[key] / before[key] for key in now]))
                if abs(change - 1) <= _STEADY_SHARE:
                    return done
            before = now
        return _MOST_WARM_UPS

    def round(self) -> None:
        """One more round that counts; one in which the clock jumped does not."""
        found = self._until_sane(self._round)
        for key, sample in found.items():
            self.samples[key].append(sample)
        self.counted += 1
        self.spent_ns += sum(self._taken_ns(key, sample) for key, sample in found.items())
        if self.counted >= min(self.effort.least_rounds, self.effort.rounds):
            self._judge()

    def end(self) -> End | None:
        """Why to stop now, None to go on."""
        if self.counted < min(self.effort.least_rounds, self.effort.rounds):
            return None
        if not self.wide:
            return End.NARROW
        if self.counted >= self.effort.rounds:
            return End.ROUNDS
        return End.TIME if self.spent_ns >= self.effort.seconds * 1e9 else None

    def _judge(self) -> None:
        for key in self.candidates:
            self.half_widths[key] = relative_half_width(self._values(key))
        self.wide = {key for key, width in self.half_widths.items() if width > self.effort.share}

    def _values(self, key: K) -> tuple[float, ...]:
        """What the interval is of: medians of the rounds, or their ratios to the reference's."""
        if self.reference is None or key == self.reference:
            return tuple(sample.median_ms for sample in self.samples[key])
        base = {sample.round: sample.median_ms for sample in self.samples[self.reference]}
        return tuple(
            sample.median_ms / base[sample.round] if base[sample.round] > 0 else float("inf")
            for sample in self.samples[key]
        )

    def _turn(self) -> list[K]:
        """Whose turn it is, in which order."""
        rests = self.counted >= self.effort.least_rounds and self.counted % _REST != 0
        keys = [k for k in self.candidates if not rests or k in self.wide or k == self.reference]
        self.turns += 1
        return keys if self.turns % 2 else keys[::-1]

    def _round(self) -> dict[K, Sample]:
        found = {}
        for key in self._turn():
            times = self._visit(key, self._runs(key))
            runs_ms = tuple(t / 1e6 for t in times)
            found[key] = Sample(round=self.counted, runs_ms=runs_ms, first_run=self.ran[key] - len(times))
        return found

    def _warm_round(self) -> dict[K, float]:
        runs = self.effort.least_runs
        return {key: max(1.0, float(np.median(self._visit(key, runs)))) for key in self._turn()}

    def _runs(self, key: K) -> int:
        fitting = int(self.effort.slice_ms * 1e6 / self.once_ns[key])
        return max(self.effort.least_runs, min(self.effort.most_runs, fitting))

    def _visit(self, key: K, runs: int) -> list[int]:
        """Nanoseconds of each of `runs` runs after an untimed one; raises `_JumpedError`."""
        run, clock = self.candidates[key], self.clock
        limit = max(_LEAP_NS, _LEAP_FACTOR * self.once_ns[key]) if key in self.once_ns else _UNKNOWN_LEAP_NS
        times, before = [], clock()
        run()
        self.ran[key] += 1
        for _ in range(runs):
            start = clock()
            run()
            self.ran[key] += 1
            times.append(clock() - start)
            for passed in (start - before, times[-1]):
                if not 0 <= passed <= limit:
                    raise _JumpedError(passed)
            before = start + times[-1]
        return times

    def _taken_ns(self, key: K, sample: Sample) -> int:
        return round(sum(sample.runs_ms) * 1e6) + self.once_ns[key]

    def _until_sane(self, step: Callable[[], StepT]) -> StepT:
        """What `step` gives once the clock does not jump in it."""
        while True:
            try:
                return step()
            except _JumpedError as jump:
                self.jumps += 1
                if self.jumps > _MOST_JUMPS:
                    raise DeviceError(
                        f"the clock jumped in {self.jumps} rounds, last by {jump.by_ns / 1e9:.3g} s: is the machine "
                        "suspended, or its clock set? measure again when it is left running"
                    ) from None


def _drift(samples: Mapping[K, Sequence[Sample]], rounds: int) -> float | None:
    quarter = rounds // 4
    ratios = []
    for found in samples.values():
        first = [s.median_ms for s in found if s.round < quarter]
        last = [s.median_ms for s in found if s.round >= rounds - quarter]
        if first and last and np.median(first) > 0:
            ratios.append(float(np.median(last) / np.median(first)))
    return float(np.median(ratios)) - 1 if ratios else None
