"""Random configurations at the same budget: what a search must beat."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass

from hawqsearch.core.problem import Config, SearchProblem
from hawqsearch.core.result import SearchResult
from hawqsearch.strategies.answer import best_of
from hawqsearch.strategies.grouped import Grouped, group_problem
from hawqsearch.strategies.position import Position

__all__ = ["RandomSearch"]


@dataclass(frozen=True, kw_only=True)
class RandomSearch:
    """The best of `samples` random feasible configurations.

    Each starts from a uniformly random choice; layers in random order then move to a random one of those
    options that exceed the limits less, until the limits hold.
    """

    seed: int
    samples: int = 64

    def search(self, problem: SearchProblem) -> SearchResult:
        """The best of the samples that became feasible; raises `InfeasibleError` where none did."""
        began = time.perf_counter()
        best = best_of("random", problem, self._configs(group_problem(problem)))
        seconds = time.perf_counter() - began
        return SearchResult.of(problem, best, strategy="random", seed=self.seed, seconds=seconds)

    def _configs(self, grouped: Grouped) -> Iterator[Config]:
        source = random.Random(self.seed)
        position = Position(grouped, [0] * len(grouped.groups))
        for _ in range(self.samples):
            for group in range(len(grouped.groups)):
                position.move(group, source.randrange(len(grouped.groups[group].options)))
            _repair(position, source)
            yield grouped.config(position.choice)


def _repair(position: Position, source: random.Random) -> None:
    order = list(range(len(position.grouped.groups)))
    source.shuffle(order)
    excess = position.excess()
    for group in order:
        if excess == 0.0:
            return
        better = [p for p in position.moves(group) if position.excess(position.change(group, p)) < excess]
        if better:
            position.move(group, source.choice(better))
            excess = position.excess()
