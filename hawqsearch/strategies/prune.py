"""Options that no configuration within the limits, or better than a known one, can have."""

from __future__ import annotations

from collections.abc import Sequence

from hawqsearch.core.problem import LIMIT_TOLERANCE
from hawqsearch.strategies.grouped import Grouped, Matrix

__all__ = ["least_total", "pruned"]

_ROUNDING = 1e-12  # relative to the largest numbers that are added up; far above what float64 loses
_PASSES = 3  # one pass lowers what the next compares with; a fourth hardly ever finds anything


def pruned(grouped: Grouped, best_score: float | None) -> Grouped:
    """`grouped` without the options that surely exceed a limit or score above `best_score`.

    An option is out if the least that all the others could add, group by group and pair by pair, is too much.
    Every configuration within the limits whose score is at most `best_score` remains.
    """
    for _ in range(_PASSES):
        keep = [list(range(len(group.options))) for group in grouped.groups]
        for component, ceiling in _ceilings(grouped, best_score):
            for kept, hopeless in zip(keep, _hopeless(grouped, component, ceiling), strict=True):
                kept[:] = [p for p in kept if p not in hopeless]
        if not all(keep):
            return grouped  # nothing is within the limits; the program will say so
        if sum(map(len, keep)) == sum(len(group.options) for group in grouped.groups):
            return grouped
        grouped = grouped.restricted(keep)
    return grouped


def _ceilings(grouped: Grouped, best_score: float | None) -> list[tuple[int, float]]:
    limits = [(q, room + LIMIT_TOLERANCE * abs(room)) for q, room in enumerate(grouped.rooms, start=1)]
    return limits if best_score is None else [(0, best_score), *limits]


def _hopeless(grouped: Grouped, component: int, ceiling: float) -> list[set[int]]:
    rises = [_rises([v[component] for v in group.vectors]) for group in grouped.groups]
    sizes = [len(group.options) for group in grouped.groups] + [2] * len(grouped.anys)
    for (a, b), matrix in grouped.pairs.items():
        low = _least(matrix, component, sizes[a] * sizes[b])
        _raise(rises, a, _least_by(matrix, component, 0, sizes[a], sizes[b]), low)
        if b < len(rises):
            _raise(rises, b, _least_by(matrix, component, 1, sizes[b], sizes[a]), low)
    total, largest = _sums(grouped, component)
    room = ceiling - total + _ROUNDING * (abs(ceiling) + largest)
    return [{p for p, rise in enumerate(row) if rise > room} for row in rises]


def _rises(values: Sequence[float]) -> list[float]:
    least = min(values)
    return [value - least for value in values]


def _raise(rises: list[list[float]], node: int, lows: Sequence[float], least: float) -> None:
    for p, low in enumerate(lows):
        rises[node][p] += low - least


def _least(matrix: Matrix, component: int, size: int) -> float:
    values = [v[component] for v in matrix.values()]
    return min(values if len(values) == size else [*values, 0.0])


def _least_by(matrix: Matrix, component: int, side: int, n: int, others: int) -> list[float]:
    """Least entry of each row (side 0) or column (side 1); entries that are left out are zero."""
    lines: list[list[float]] = [[] for _ in range(n)]
    for key, vector in matrix.items():
        lines[key[side]].append(vector[component])
    return [min(line if len(line) == others else [*line, 0.0]) for line in lines]


def least_total(grouped: Grouped) -> float:
    """A score that no configuration is below: the least of every group and pair, less float rounding."""
    total, largest = _sums(grouped, 0)
    return total - _ROUNDING * largest


def _sums(grouped: Grouped, component: int) -> tuple[float, float]:
    """(sum of the least numbers, sum of the largest magnitudes) over constant, groups and pairs."""
    total = grouped.constant[component]
    largest = abs(total)
    for group in grouped.groups:
        values = [v[component] for v in group.vectors]
        total += min(values)
        largest += max(map(abs, values))
    sizes = [len(group.options) for group in grouped.groups] + [2] * len(grouped.anys)
    for (a, b), matrix in grouped.pairs.items():
        total += _least(matrix, component, sizes[a] * sizes[b])
        largest += max((abs(v[component]) for v in matrix.values()), default=0.0)
    return total, largest
