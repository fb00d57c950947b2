"""Trying everything: the optimum of a small problem, and the judge of every other strategy."""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import dataclass

from hawqsearch.core.problem import Config, SearchProblem
from hawqsearch.core.result import SearchResult
from hawqsearch.errors import InfeasibleError, InputError
from hawqsearch.strategies.answer import words
from hawqsearch.strategies.grouped import group_problem

__all__ = ["ExhaustiveSearch"]


@dataclass(frozen=True)
class ExhaustiveSearch:
    """Every configuration, scored by the problem itself.

    Args:
        most: refuse a problem of more configurations than this; a million takes about a minute.
    """

    most: int = 1_000_000

    def search(self, problem: SearchProblem) -> SearchResult:
        """The optimum and runner-up; raises `InfeasibleError`, or `InputError` if it is too much to try."""
        began = time.perf_counter()
        best = self._two_best(problem)
        if not best:
            raise InfeasibleError(f"no configuration is within {words(problem)}; raise a limit")
        return SearchResult.of(
            problem,
            best[0],
            strategy="exhaustive",
            bound=problem.score(best[0]),
            proven=True,
            seconds=time.perf_counter() - began,
            runner_up=best[1] if len(best) > 1 else None,
        )

    def _two_best(self, problem: SearchProblem) -> list[Config]:
        grouped = group_problem(problem)
        sizes = [len(group.options) for group in grouped.groups]
        if math.prod(sizes) > self.most:
            raise InputError(
                f"{math.prod(sizes):.3g} configurations are too many to try; use the strategy ilp"
            )
        best: list[tuple[float, Config]] = []
        for choice in itertools.product(*map(range, sizes)):
            config = grouped.config(choice)
            if problem.is_feasible(config):
                best = sorted([*best, (problem.score(config), config)], key=lambda scored: scored[0])[:2]
        return [config for _, config in best]
