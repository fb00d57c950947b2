"""A choice for every group, with its score and costs kept up to date move by move."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hawqsearch.core.problem import LIMIT_TOLERANCE
from hawqsearch.strategies.grouped import Grouped, Matrix, Vector, add

__all__ = ["Position"]


class Position:
    """One choice of a grouped problem; `change` prices a move in the time that its neighbours take.

    The only mutable thing in this package: strategies that walk keep one to themselves.
    """

    __slots__ = ("_any_pairs", "_anys_of", "_pairs_of", "_values", "grouped", "total")

    def __init__(self, grouped: Grouped, choice: Sequence[int]) -> None:
        self.grouped = grouped
        self._values = [*choice, *(any_of.value(choice) for any_of in grouped.anys)]
        self.total = grouped.vector(choice)
        n = len(grouped.groups)
        self._pairs_of: list[list[tuple[int, int, Matrix]]] = [[] for _ in range(n)]
        self._any_pairs: list[list[tuple[int, Matrix]]] = [[] for _ in grouped.anys]
        self._anys_of: list[list[tuple[int, frozenset[int]]]] = [[] for _ in range(n)]
        for (a, b), matrix in grouped.pairs.items():
            self._pairs_of[a].append((0, b, matrix))
            if b < n:
                self._pairs_of[b].append((1, a, matrix))
            else:
                self._any_pairs[b - n].append((a, matrix))
        for index, any_of in enumerate(grouped.anys):
            for group, options in any_of.members:
                self._anys_of[group].append((index, options))

    @property
    def choice(self) -> tuple[int, ...]:
        """The option of each group."""
        return tuple(self._values[: len(self.grouped.groups)])

    def moves(self, group: int) -> Iterator[int]:
        """The options that `group` could move to."""
        return (p for p in range(len(self.grouped.groups[group].options)) if p != self._values[group])

    def neighbours(self, group: int) -> set[int]:
        """The groups whose moves cost something else once `group` has moved, itself among them."""
        n = len(self.grouped.groups)
        near = {group, *(other for _, other, _ in self._pairs_of[group] if other < n)}
        reached = {i for i, _ in self._anys_of[group]} | {
            o - n for _, o, _ in self._pairs_of[group] if o >= n
        }
        for index in reached:
            near |= {source for source, _ in self._any_pairs[index]}
            near |= {member for member, _ in self.grouped.anys[index].members}
        return near

    def change(self, group: int, option: int) -> Vector:
        """What moving `group` to `option` adds to the score and to each bounded cost."""
        old = self._values[group]
        vectors = self.grouped.groups[group].vectors
        plus, minus = [vectors[option]], [vectors[old]]
        for side, other, matrix in self._pairs_of[group]:
            value = self._values[other]
            _collect(plus, matrix, (option, value) if side == 0 else (value, option))
            _collect(minus, matrix, (old, value) if side == 0 else (value, old))
        for index, after in self._flips(group, option):
            for source, matrix in self._any_pairs[index]:
                _collect(plus, matrix, (self._values[source], after))
                _collect(minus, matrix, (self._values[source], 1 - after))
        return tuple(
            sum(p) - sum(m) for p, m in zip(zip(*plus, strict=True), zip(*minus, strict=True), strict=True)
        )

    def move(self, group: int, option: int) -> None:
        """Make the move."""
        self.total = add(self.total, self.change(group, option))
        for index, after in self._flips(group, option):
            self._values[len(self.grouped.groups) + index] = after
        self._values[group] = option

    def excess(self, change: Vector | None = None) -> float:
        """How far the limits are exceeded, each as a share of itself, summed; 0.0 within all of them."""
        total = self.total if change is None else add(self.total, change)
        over = 0.0
        for value, room in zip(total[1:], self.grouped.rooms, strict=True):
            if value > room + LIMIT_TOLERANCE * abs(room):
                over += (value - room) / room if room > 0 else value - room
        return over

    def _flips(self, group: int, option: int) -> Iterator[tuple[int, int]]:
        n = len(self.grouped.groups)
        for index, options in self._anys_of[group]:
            before, joins = self._values[n + index], option in options
            if joins != (self._values[group] in options):
                after = int(joins or self._has_other(index, group))
                if after != before:
                    yield index, after

    def _has_other(self, index: int, group: int) -> bool:
        members = self.grouped.anys[index].members
        return any(self._values[g] in options for g, options in members if g != group)


def _collect(parts: list[Vector], matrix: Matrix, key: tuple[int, int]) -> None:
    if key in matrix:
        parts.append(matrix[key])
