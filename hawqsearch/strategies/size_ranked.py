"""The largest layers get the fewest bits: what one does without any sensitivity."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass

from hawqsearch.core.problem import Config, SearchProblem
from hawqsearch.core.result import SearchResult
from hawqsearch.strategies.answer import best_of
from hawqsearch.strategies.grouped import Grouped, group_problem
from hawqsearch.strategies.position import Position
from hawqsearch.strategies.uniform import precision_names, uniform_config

__all__ = ["SizeRankedSearch"]


@dataclass(frozen=True)
class SizeRankedSearch:
    """For every pair of precisions, the fewest layers at the second, largest first, that make it feasible.

    Size is what a layer saves at most in bytes (in its first bounded quantity where sizes are unknown); the
    score chooses only among these few configurations.
    """

    def search(self, problem: SearchProblem) -> SearchResult:
        """The best of a configuration per pair of precisions; raises `InfeasibleError`."""
        began = time.perf_counter()
        best = best_of("size_ranked", problem, _configs(problem, group_problem(problem)))
        return SearchResult.of(problem, best, strategy="size_ranked", seconds=time.perf_counter() - began)


def _configs(problem: SearchProblem, grouped: Grouped) -> Iterator[Config]:
    order = sorted(range(len(grouped.groups)), key=lambda g: -_size(problem, grouped, g))
    uniform = [uniform_config(problem, name) for name in precision_names(problem)]
    yield from uniform
    for large, small in itertools.permutations(uniform, 2):
        position, after = Position(grouped, grouped.choice(large)), grouped.choice(small)
        for group in order:
            if position.excess() == 0.0:
                break
            position.move(group, after[group])
        yield grouped.config(position.choice)


def _size(problem: SearchProblem, grouped: Grouped, group: int) -> float:
    total = 0.0
    for node in grouped.groups[group].nodes:
        sizes = [c.cost.size_bytes for c in problem.choices[node].values() if c.cost.size_bytes is not None]
        total += max(sizes) - min(sizes) if sizes else 0.0
    if total or len(grouped.quantities) == 0:
        return total
    values = [vector[1] for vector in grouped.groups[group].vectors]
    return max(values) - min(values)
