"""Cycles of a block on a core that issues in program order and waits for operands: the Cortex-A53.

An instruction issues when the one before it has, when its operands are there, and when its port is free; at
most `dispatch` in a cycle. A block that loops to itself is timed in its steady state; any other from a state
in which all operands are ready, up to its last issue: what it leaves under way, the next block may still
wait for, so the result is a lower bound there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.hardware.arm.registers import Access

__all__ = ["Step", "in_order_cycles"]

_WARM: Final = 6
_PASSES: Final = 18


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction: registers, port group -> cycles that it holds it, and when its result is there."""

    access: Access
    holds: FrozenDict[str, int]
    latency: int


@dataclass(slots=True)
class _Core:
    """State of the issue stage."""

    width: int
    ports: FrozenDict[str, int]
    now: int = 0
    issued_now: int = 0
    ready: Counter[str] = field(default_factory=Counter)
    free: dict[str, list[int]] = field(default_factory=dict)

    def issue(self, step: Step) -> None:
        """Issue one instruction at the earliest cycle that the order allows."""
        at = max([self.now, *(self.ready[r] for r in step.access.reads)])
        for group in step.holds:
            at = max(at, min(self._ports(group)))
        if at == self.now and self.issued_now == self.width:
            at += 1
        self.issued_now = self.issued_now + 1 if at == self.now else 1
        self.now = at
        for group, cycles in step.holds.items():
            ports = self._ports(group)
            ports[ports.index(min(ports))] = at + cycles
        for register in step.access.writes:
            self.ready[register] = at + step.latency
        for register in step.access.moved:
            self.ready[register] = at + 1

    def _ports(self, group: str) -> list[int]:
        return self.free.setdefault(group, [0] * self.ports[group])


def in_order_cycles(steps: Sequence[Step], *, width: int, ports: FrozenDict[str, int], loops: bool) -> float:
    """Cycles of one pass through a block; `loops` says whether it is followed by itself."""
    core = _Core(width, ports)
    for passes in range(_PASSES if loops else 1):
        if passes == _WARM:
            start = core.now
        for step in steps:
            core.issue(step)
    return (core.now - start) / (_PASSES - _WARM) if loops else core.now + 1.0
