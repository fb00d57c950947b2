"""A GPU that is none: tensors where it is told, and a clock that says what it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import repeat

import torch

from hawqsearch.hardware.cuda.conditions import Conditions


@dataclass
class FakeDevice:
    """`runs` counts what was timed; `clock` gives the milliseconds of each."""

    place: torch.device = field(default_factory=lambda: torch.device("cpu"))
    name: str = "Fake GPU"
    runtime: str = "torch 0.0, CUDA 0.0"
    capability: tuple[int, int] = (9, 0)
    flush_bytes: int = 64
    clock: Iterator[float] = field(default_factory=lambda: repeat(1.0))
    now: Conditions | None = None
    order: list[int] = field(default_factory=list)
    made: int = 0

    def captured(self, work: Callable[[], object]) -> Callable[[], object]:
        number = self.made
        self.made += 1
        work()
        return lambda: self.order.append(number)

    def elapsed_ms(self, work: Callable[[], object]) -> float:
        work()
        return next(self.clock)

    def conditions(self) -> Conditions | None:
        return self.now
