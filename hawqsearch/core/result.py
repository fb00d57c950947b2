"""What a search answers: a configuration with its certificate."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from hawqsearch.core.cost import Cost
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.problem import Config, SearchProblem

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

    @classmethod
    def of(cls, problem: SearchProblem, config: Config) -> RunnerUp:
        """`config` with the score that `problem` gives it."""
        answer = FrozenDict[str, str]({node: config[node] for node in problem.choices})
        return cls(config=answer, score=problem.score(answer))


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

    @classmethod
    def of(
        cls,
        problem: SearchProblem,
        config: Config,
        *,
        strategy: str,
        bound: float | None = None,
        proven: bool = False,
        seed: int | None = None,
        seconds: float = 0.0,
        runner_up: Config | None = None,
        runner_up_seconds: float = 0.0,
    ) -> SearchResult:
        """`config` with its score and cost as `problem` has them; OPTIMAL if `proven` and the gap is small.

        Raises:
            ValueError: a strategy's own bug: `config` is not feasible, or `bound` lies above its score.
        """
        answer = FrozenDict[str, str]({node: config[node] for node in problem.choices})
        if not problem.is_feasible(answer):
            raise ValueError(
                f"{strategy} answered a configuration that breaks a tie or exceeds {problem.excess(answer)}"
            )
        score = problem.score(answer)
        if bound is not None and relative_gap(score, bound) < -GAP_OF_OPTIMAL:
            raise ValueError(
                f"{strategy} claims the bound {bound!r} above the score {score!r} of its own answer"
            )
        bound = None if bound is None else min(bound, score)
        optimal = proven and bound is not None and relative_gap(score, bound) <= GAP_OF_OPTIMAL
        return cls(
            config=answer,
            score=score,
            cost=problem.cost(answer),
            status=Status.OPTIMAL if optimal else Status.FEASIBLE,
            bound=bound,
            strategy=strategy,
            seed=seed,
            seconds=seconds,
            runner_up=None if runner_up is None else RunnerUp.of(problem, runner_up),
            runner_up_seconds=runner_up_seconds,
        )


class SearchStrategy(Protocol):
    """Anything that answers a problem; it never runs a network. Raises `InfeasibleError`."""

    def search(self, problem: SearchProblem) -> SearchResult:
        """The best configuration found, with its certificate."""
        ...
