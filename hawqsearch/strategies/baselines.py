"""What every answer is compared with."""

from __future__ import annotations

from collections.abc import Mapping

from hawqsearch.core.problem import SearchProblem
from hawqsearch.core.result import SearchResult, SearchStrategy
from hawqsearch.errors import InfeasibleError
from hawqsearch.strategies.first_last import FirstLastSearch
from hawqsearch.strategies.greedy import GreedySearch
from hawqsearch.strategies.random_search import RandomSearch
from hawqsearch.strategies.size_ranked import SizeRankedSearch
from hawqsearch.strategies.uniform import UniformSearch

__all__ = ["baselines"]


def baselines(problem: SearchProblem, *, seed: int) -> dict[str, SearchResult | None]:
    """The answer of each baseline by name, None where it has nothing within the limits."""
    strategies: Mapping[str, SearchStrategy] = {
        "uniform": UniformSearch(),
        "first_last": FirstLastSearch(),
        "size_ranked": SizeRankedSearch(),
        "greedy": GreedySearch(),
        "random": RandomSearch(seed=seed),
    }
    return {name: _answer(strategy, problem) for name, strategy in strategies.items()}


def _answer(strategy: SearchStrategy, problem: SearchProblem) -> SearchResult | None:
    try:
        return strategy.search(problem)
    except InfeasibleError:
        return None
