"""The same precision everywhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from hawqsearch.core.problem import Config, SearchProblem
from hawqsearch.core.result import SearchResult
from hawqsearch.strategies.answer import best_of
from hawqsearch.strategies.nearest import nearest

__all__ = ["UniformSearch", "precision_names", "uniform_config"]


@dataclass(frozen=True)
class UniformSearch:
    """The best-scoring feasible configuration that has one precision everywhere.

    A layer that lacks it takes its nearest option (see `nearest`): an addition is w8a8 under w4a8.
    """

    def search(self, problem: SearchProblem) -> SearchResult:
        """The best of as many configurations as there are precisions; raises `InfeasibleError`."""
        began = time.perf_counter()
        configs = (uniform_config(problem, name) for name in precision_names(problem))
        best = best_of("uniform", problem, configs)
        return SearchResult.of(problem, best, strategy="uniform", seconds=time.perf_counter() - began)


def precision_names(problem: SearchProblem) -> Iterator[str]:
    """Every precision that any layer offers, once."""
    return iter(dict.fromkeys(name for options in problem.choices.values() for name in options))


def uniform_config(problem: SearchProblem, name: str) -> Config:
    """`name` everywhere, the nearest to it where it is not offered."""
    config = {node: nearest(name, options) for node, options in problem.choices.items()}
    for tie in problem.ties:  # by least score two tied layers could differ
        config |= dict.fromkeys(tie, config[tie[0]]) if tie else {}
    return config
