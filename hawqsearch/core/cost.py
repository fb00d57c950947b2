"""What a choice costs: one value per quantity, `None` where it is unknown."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Final

from hawqsearch.errors import InputError

__all__ = ["FREE", "QUANTITIES", "Cost"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Costs that add up over layers and edges; absent is `None`, never 0 and never inf.

    `bops` is MACs x weight bits x activation bits; `weight_bits` counts code bits of the weights,
    float ones at 32, with the scales of any granularity finer than per channel.
    """

    latency_ms: float | None = None
    energy_mj: float | None = None
    size_bytes: float | None = None
    bops: float | None = None
    weight_bits: float | None = None

    def __post_init__(self) -> None:
        for quantity in QUANTITIES:
            value = getattr(self, quantity)
            if value is not None and not math.isfinite(value):
                raise InputError(f"{quantity} is {value}; a cost is finite or absent")

    def __add__(self, other: Cost) -> Cost:
        """Sum per quantity; unknown plus anything is unknown."""
        return Cost(**{q: _sum(getattr(self, q), getattr(other, q)) for q in QUANTITIES})

    def get(self, quantity: str) -> float | None:
        """The value of one of `QUANTITIES`."""
        value: float | None = getattr(self, quantity)
        return value

    @classmethod
    def total(cls, costs: Iterable[Cost]) -> Cost:
        """Sum of all; of none, zero in every quantity."""
        total = FREE
        for cost in costs:
            total = total + cost
        return total


def _sum(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a + b


QUANTITIES: Final = tuple(f.name for f in fields(Cost))
FREE: Final = Cost(latency_ms=0.0, energy_mj=0.0, size_bytes=0.0, bops=0.0, weight_bits=0.0)
