"""What a search answers: a configuration with its certificate."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from hawqsearch.core.cost import Cost
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.problem import SearchProblem

__all__ = ["GAP_OF_OPTIMAL", "RunnerUp", "SearchResult", "SearchStrategy", "Status", "relative_gap"]

GAP_OF_OPTIMAL = 1e-6


class Status(StrEnum):
    """How an allocation problem ended."""

    OPTIMAL = "OPTIMAL"
    FEASIBLE = "FEASIBLE"
    INFEASIBLE = "INFEASIBLE"
    INTERRUPTED = "INTERRUPTED"


def relative_gap(score: float, bound: float) -> float:
    """(score - bound) / max(|score|, 1e-9): what is left to prove."""
    return (score - bound) / max(abs(score), 1e-9)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerUp:
    """The best configuration that differs from the answer."""

    config: FrozenDict[str, str]
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """A configuration of a problem, its score and cost recomputed from the problem itself.

    Build it with `SearchResult.of`, which trusts no strategy's arithmetic.

    Args:
        bound: proven lower bound on the score of any feasible configuration, None where nothing is proven.
        seconds: building and first solve; `runner_up_seconds` apart.
    """

    config: FrozenDict[str, str]
    score: float
    cost: Cost
    status: Status
    bound: float | None
    strategy: str
    seed: int | None = None
    seconds: float = 0.0
    runner_up: RunnerUp | None = None
    runner_up_seconds: float = 0.0
    evaluated_loss: float | None = None

    @property
    def gap(self) -> float | None:
        """Relative distance to the bound, None where nothing is proven."""
        return None if self.bound is None else max(0.0, relative_gap(self.score, self.bound))


class SearchStrategy(Protocol):
    """Anything that answers a problem; it never runs a network. Raises `InfeasibleError`."""

    def search(self, problem: SearchProblem) -> SearchResult:
        """The best configuration found, with its certificate."""
        ...
