"""What strategies that prove nothing end with: the best of what they tried, or the error that says so."""

from __future__ import annotations

from collections.abc import Iterable

from hawqsearch.core.problem import Config, SearchProblem
from hawqsearch.errors import InfeasibleError

__all__ = ["best_of", "none_found", "words"]


def words(problem: SearchProblem) -> str:
    """The limits of `problem` in words: `latency_ms <= 5 and size_bytes <= 1000`."""
    return (
        " and ".join(f"{quantity} <= {limit:.6g}" for quantity, limit in problem.limits.items()) or "no limit"
    )


def none_found(strategy: str, problem: SearchProblem) -> InfeasibleError:
    """The error of a strategy that found nothing and proves nothing."""
    return InfeasibleError(
        f"{strategy} found no configuration within {words(problem)}; raise a limit, or try the strategy ilp"
    )


def best_of(strategy: str, problem: SearchProblem, configs: Iterable[Config]) -> Config:
    """The feasible one of `configs` with the least score, the first of equals; raises `InfeasibleError`."""
    feasible = ((problem.score(config), config) for config in configs if problem.is_feasible(config))
    best = min(feasible, key=lambda scored: scored[0], default=None)
    if best is None:
        raise none_found(strategy, problem)
    return best[1]
