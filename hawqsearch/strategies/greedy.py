"""Greedy descent: give up the least score per cost saved until the budget holds, then improve."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from hawqsearch.core.problem import Config, SearchProblem
from hawqsearch.core.result import SearchResult
from hawqsearch.strategies.answer import none_found
from hawqsearch.strategies.grouped import Grouped, group_problem
from hawqsearch.strategies.position import Position

__all__ = ["GreedySearch", "descend", "greedy_config", "improve"]

_SWEEPS = 20  # each sweep ends with a better score; in practice three or four are enough


@dataclass(frozen=True)
class GreedySearch:
    """From the least score everywhere, the cheapest moves (score per excess saved) until the limits hold."""

    def search(self, problem: SearchProblem) -> SearchResult:
        """The configuration where no single move improves; raises `InfeasibleError` where it gets stuck."""
        began = time.perf_counter()
        config = greedy_config(problem, group_problem(problem))
        if config is None:
            raise none_found("greedy", problem)
        return SearchResult.of(problem, config, strategy="greedy", seconds=time.perf_counter() - began)


def greedy_config(problem: SearchProblem, grouped: Grouped) -> Config | None:
    """A feasible configuration where no single move improves, None where both descents get stuck."""
    for start in (_least_score(grouped), _least_cost(grouped)):
        position = Position(grouped, start)
        descend(position)
        if position.excess() == 0.0:
            improve(position)
            config = grouped.config(position.choice)
            if problem.is_feasible(config):
                return config
    return None


def descend(position: Position) -> None:
    """Make the move of least score per excess saved, until the limits hold or no move saves anything."""
    excess = position.excess()
    groups = range(len(position.grouped.groups))
    best = {g: _best_move(position, g, excess) for g in groups}
    over = _exceeded(position)
    while excess > 0:
        group = min(groups, key=lambda g: best[g][0], default=None)
        if group is None or math.isinf(best[group][0]):
            return
        _, option = best[group]
        near = position.neighbours(group)
        left = position.excess(position.change(group, option))
        if left < excess:
            position.move(group, option)
            excess = left
            stale = set(groups) if _exceeded(position) != over else near
            over = _exceeded(position)
        else:
            stale = {group}
        for g in stale:
            best[g] = _best_move(position, g, excess)


def _best_move(position: Position, group: int, excess: float) -> tuple[float, int]:
    """(score per excess saved, option) of the best move of `group`; infinity where none saves anything."""
    best = (math.inf, 0)
    for option in position.moves(group):
        change = position.change(group, option)
        saved = excess - position.excess(change)
        if saved > 1e-12 * excess:
            best = min(best, (_rate(change[0], saved), option))
    return best


def _rate(score: float, saved: float) -> float:
    """Lower is better; a move that also lowers the score is the better the more it does."""
    return score / saved if score > 0 else score * saved


def _exceeded(position: Position) -> tuple[bool, ...]:
    return tuple(v > room for v, room in zip(position.total[1:], position.grouped.rooms, strict=True))


def improve(position: Position) -> None:
    """Make moves that lower the score within the limits until there is none."""
    for _ in range(_SWEEPS):
        moved = False
        for group in range(len(position.grouped.groups)):
            scored = [(position.change(group, p), p) for p in position.moves(group)]
            better = [
                (change[0], p) for change, p in scored if change[0] < 0 and position.excess(change) == 0.0
            ]
            if better:
                position.move(group, min(better)[1])
                moved = True
        if not moved:
            return


def _least_score(grouped: Grouped) -> list[int]:
    return [min(range(len(g.vectors)), key=lambda p, v=g.vectors: v[p]) for g in grouped.groups]  # type: ignore[misc]


def _least_cost(grouped: Grouped) -> list[int]:
    """The option of least cost everywhere, each quantity as a share of its limit."""
    shares = [1 / room if room > 0 else 0.0 for room in grouped.rooms]
    return [
        min(
            range(len(group.vectors)),
            key=lambda p, v=group.vectors: sum(s * c for s, c in zip(shares, v[p][1:], strict=True)),  # type: ignore[misc]
        )
        for group in grouped.groups
    ]
