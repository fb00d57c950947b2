"""Times that came back from a board, round by round, until they make a profile."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from typing import Any, Final

from hawqsearch.errors import DeviceError
from hawqsearch.runtime.interface import KernelRun

__all__ = ["FEWEST_ROUNDS", "Samples"]

FEWEST_ROUNDS: Final = 2
"""Rounds that a row must have to be kept when the rest never came: the spread of one says nothing."""


class Samples:
    """Node times of every job and round; grows while the board answers."""

    def __init__(self, names: Sequence[str], rounds: int) -> None:
        self._names = tuple(names)
        self._rounds = rounds
        self._runs: dict[str, dict[int, list[KernelRun]]] = {name: {} for name in names}

    def add(self, message: Mapping[str, Any]) -> None:
        """Keep one line of the script; raises `DeviceError` where it makes no sense."""
        try:
            name, index = message["row"], message["round"]
            runs = [
                KernelRun(name=str(node), op=str(op), times_ms=tuple(map(_time, times)))
                for node, op, times in message["nodes"]
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise DeviceError(f"the board sent a row that cannot be read: {error!r}") from None
        if name not in self._runs or index not in range(self._rounds):
            raise DeviceError(f"the board sent a row that was not asked for: {name!r}, round {index!r}")
        self._runs[name][index] = runs

    def todo(self) -> dict[str, Set[int]]:
        """Job -> rounds that have not come yet."""
        return {name: set(range(self._rounds)) - set(self._runs[name]) for name in self._names}

    @property
    def n_rounds(self) -> int:
        """Rounds that every job has."""
        return min((len(rounds) for rounds in self._runs.values()), default=0)

    @property
    def n_rows(self) -> int:
        """Rows of one job and round that have come."""
        return sum(len(rounds) for rounds in self._runs.values())

    def runs(self, name: str) -> list[KernelRun]:
        """All rounds of a job as one, in the order its nodes ran; empty below `FEWEST_ROUNDS`."""
        rounds = self._runs[name]
        if len(rounds) < min(FEWEST_ROUNDS, self._rounds):
            return []
        times: dict[tuple[str, str], list[float]] = defaultdict(list)
        for index in sorted(rounds):
            for run in rounds[index]:
                times[run.name, run.op].extend(run.times_ms)
        return [KernelRun(name=n, op=op, times_ms=tuple(t)) for (n, op), t in times.items()]

    def sizes(self, name: str) -> list[int]:
        """Timed runs in each round of a job, in the order of `runs`."""
        return [len(found[0].times_ms) for _, found in sorted(self._runs[name].items())]


def _time(value: object) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise ValueError(f"{value!r} is not a time")
    return float(value)
