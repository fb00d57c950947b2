"""Energy of one run of a workload: a counter's rise over many runs, less what the idle machine takes."""

from __future__ import annotations

import datetime
import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import numpy as np

from hawqsearch.core.timing import Interval, median_interval
from hawqsearch.errors import DeviceError, InputError
from hawqsearch.hardware.energy.counter import EnergyCounter, consumed_uj
from hawqsearch.hardware.energy.survey import Survey

__all__ = ["EnergyReading", "Meter", "Span", "open_meter", "reading_of"]

_LONGEST_BLOCK_S: Final = 60.0
_GROWTH: Final = (1.5, 10.0)
_STEPS: Final = 50
_SLOW_S: Final = 0.02
_SLOW_STEPS: Final = 10
"""Of a counter that is refreshed less often than every `_SLOW_S`: a block is then a second, and right to a tenth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyReading:
    """Millijoules of one run above idle: median and quartiles over blocks.

    Args:
        n: timed runs in all.
        readings_mj: one per block.
        steps: steps of the counters' resolution that one block spans: what a reading can be wrong by is 1 / steps.
        latency_ms: of one run, median over blocks.
        idle_w: power between blocks, median.
        load_w: power during blocks, median.
        counter: what was read.
    """

    median_mj: float
    low_mj: float
    high_mj: float
    n: int
    readings_mj: tuple[float, ...]
    steps: float
    latency_ms: float
    idle_w: float
    load_w: float
    counter: str
    date: str
    origin: str = "measured"

    @property
    def blocks(self) -> int:
        """How many readings the median is of."""
        return len(self.readings_mj)

    @property
    def interval(self) -> Interval:
        """The median with its 95 % interval."""
        return median_interval(self.readings_mj)


@dataclass(frozen=True, slots=True)
class Span:
    """Energy that went by, and how long that took."""

    uj: float
    seconds: float

    @property
    def watts(self) -> float:
        return self.uj / 1e6 / self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """Blocks of runs, each between two idle spans as long; what the idle machine took is subtracted.

    A block is long enough for `steps` steps of every counter, in time and in energy, so that a reading
    at either end is wrong by at most 1 / `steps` of it.

    Args:
        counters: added up (a machine has one per processor package).
    """

    counters: tuple[EnergyCounter, ...]
    blocks: int = 7
    steps: int = _STEPS
    clock: Callable[[], float] = field(default=time.perf_counter, repr=False)
    sleep: Callable[[float], object] = field(default=time.sleep, repr=False)

    def __post_init__(self) -> None:
        if not self.counters:
            raise InputError(
                "a meter needs at least one energy counter; missing_reason() says why there is none"
            )
        if self.blocks < 1 or self.steps < 1:
            raise InputError(
                f"a meter needs at least one block and one step, got {self.blocks} and {self.steps}"
            )

    @property
    def name(self) -> str:
        """What its counters meter."""
        return " + ".join(c.name for c in self.counters)

    def measure(self, run: Callable[[], object]) -> EnergyReading:
        """Energy of one call of `run`.

        Raises:
            DeviceError: a counter cannot be read, does not move, or jumps; or `run` takes no more than idling.
        """
        with ExitStack() as stack:
            for counter in self.counters:
                stack.enter_context(counter.metering())
            run()
            runs, seconds = self._block_size(run)
            idle, load = [self._idle(seconds)], []
            for _ in range(self.blocks):
                load.append(self._load(run, runs))
                idle.append(self._idle(seconds))
        return reading_of(runs, load, idle, counter=self.name, resolution_uj=self._resolution_uj)

    def _block_size(self, run: Callable[[], object]) -> tuple[int, float]:
        """Runs per block, and how long they take."""
        need_s = self.steps * max(c.update_s for c in self.counters)
        need_uj = self.steps * self._resolution_uj
        idle_w = self._idle(need_s).watts
        runs = 1
        while True:
            span = self._load(run, runs)
            net_uj = span.uj - idle_w * 1e6 * span.seconds
            if span.seconds >= need_s and net_uj >= need_uj:
                return runs, span.seconds
            if span.seconds >= _LONGEST_BLOCK_S or (span.uj == 0 and span.seconds >= need_s):
                raise DeviceError(_nothing_above_idle(self.name, span.seconds))
            wanted = max(need_s / span.seconds, need_uj / net_uj if net_uj > 0 else math.inf)
            growth = min(max(1.1 * wanted, _GROWTH[0]), _GROWTH[1], 1.05 * _LONGEST_BLOCK_S / span.seconds)
            runs = math.ceil(runs * growth)

    def _load(self, run: Callable[[], object], runs: int) -> Span:
        def work() -> None:
            for _ in range(runs):
                run()

        return self._during(work)

    def _idle(self, seconds: float) -> Span:
        return self._during(lambda: self.sleep(seconds))

    def _during(self, work: Callable[[], object]) -> Span:
        start, before = self.clock(), [c.read_uj() for c in self.counters]
        work()
        end, after = self.clock(), [c.read_uj() for c in self.counters]
        rows = zip(self.counters, before, after, strict=True)
        return Span(sum(consumed_uj(c, a, b, end - start) for c, a, b in rows), end - start)

    @property
    def _resolution_uj(self) -> float:
        return sum(c.resolution_uj for c in self.counters)


def reading_of(
    runs: int, load: Sequence[Span], idle: Sequence[Span], *, counter: str, resolution_uj: float
) -> EnergyReading:
    """What blocks of `runs` runs took above the idle spans around them, of which there is one more.

    Raises `DeviceError` where that is nothing.
    """
    around = [(a.watts + b.watts) / 2 for a, b in pairwise(idle)]
    net_uj = np.array([s.uj - w * 1e6 * s.seconds for s, w in zip(load, around, strict=True)])
    each_mj = net_uj / runs / 1e3
    low, median, high = np.quantile(each_mj, [0.25, 0.5, 0.75])
    if median <= 0:
        raise DeviceError(_nothing_above_idle(counter, load[0].seconds))
    return EnergyReading(
        median_mj=float(median),
        low_mj=float(low),
        high_mj=float(high),
        n=runs * len(load),
        readings_mj=tuple(each_mj.tolist()),
        steps=float(np.median(net_uj)) / resolution_uj,
        latency_ms=float(np.median([s.seconds for s in load])) / runs * 1e3,
        idle_w=float(np.median([s.watts for s in idle])),
        load_w=float(np.median([s.watts for s in load])),
        counter=counter,
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
    )


def _nothing_above_idle(counter: str, seconds: float) -> str:
    return (
        f"{counter} shows nothing above idle in {seconds:.3g} s of work: the counter stands still, or other "
        "work keeps the machine busy; stop it, or leave energy out of the budget"
    )


def open_meter(found: Survey) -> Meter:
    """A meter of the counters found; raises `InputError` with the reason where there is none."""
    if found.missing_reason is not None:
        raise InputError(found.missing_reason)
    slow = max(c.update_s for c in found.counters) > _SLOW_S
    return Meter(counters=found.counters, steps=_SLOW_STEPS if slow else _STEPS)
