"""First and last layer in 8 bits, the rest uniform: the usual rule of thumb."""

from __future__ import annotations

import time
from dataclasses import dataclass

from hawqsearch.core.problem import Config, SearchProblem
from hawqsearch.core.result import SearchResult
from hawqsearch.strategies.answer import best_of
from hawqsearch.strategies.grouped import tied_nodes
from hawqsearch.strategies.nearest import bits_of, nearest
from hawqsearch.strategies.uniform import precision_names, uniform_config

__all__ = ["FirstLastSearch"]


@dataclass(frozen=True)
class FirstLastSearch:
    """First and last weighted layer at `ends`, the others uniform at most at its bits: the best feasible one.

    A layer has weights if its score or its size depends on the choice (a join's do not); layers are in the
    problem's order. Layers tied to an end go with it. Names that are no precision count as below `ends`.
    """

    ends: str = "w8a8"

    def search(self, problem: SearchProblem) -> SearchResult:
        """The best of as many configurations as there are precisions; raises `InfeasibleError`."""
        began = time.perf_counter()
        names = [name for name in precision_names(problem) if self._is_below(name)]
        best = best_of("first_last", problem, (self._config(problem, name) for name in names))
        return SearchResult.of(problem, best, strategy="first_last", seconds=time.perf_counter() - began)

    def _is_below(self, name: str) -> bool:
        bits, ends = bits_of(name), bits_of(self.ends)
        return bits is None or ends is None or bits[0] <= ends[0]

    def _config(self, problem: SearchProblem, name: str) -> Config:
        weighted = [node for node in problem.choices if _has_weights(problem, node)] or list(problem.choices)
        config = dict(uniform_config(problem, name))
        for end in (weighted[0], weighted[-1]):
            tied = next(group for group in tied_nodes(problem) if end in group)
            config |= dict.fromkeys(tied, nearest(self.ends, problem.choices[end]))
        return config


def _has_weights(problem: SearchProblem, node: str) -> bool:
    cells = problem.choices[node].values()
    return any(c.score != 0.0 or c.cost.size_bytes or c.cost.weight_bits for c in cells)
