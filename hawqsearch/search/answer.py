"""What every strategy ends with: the limits in words, and a clock."""

from __future__ import annotations

from hawqsearch.core.problem import SearchProblem
from hawqsearch.errors import InfeasibleError

__all__ = ["none_found", "words"]


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
