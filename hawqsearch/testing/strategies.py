"""What every search strategy must pass, a third party's too: `check_strategy(Mine(), exact=False)`."""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterable

from hawqsearch.core.problem import SearchProblem
from hawqsearch.core.result import GAP_OF_OPTIMAL, SearchResult, SearchStrategy, Status
from hawqsearch.errors import InfeasibleError
from hawqsearch.testing.problems import every_config, generated_problem, impossible_problem

__all__ = ["check_result", "check_strategy"]

_SEEDS = range(40)


def check_strategy(strategy: SearchStrategy, *, exact: bool, seeds: Iterable[int] = _SEEDS) -> None:
    """Check `strategy` on generated problems with binding budgets, against trying everything.

    An answer must be feasible, tell its true score and cost, claim no bound that a configuration is below,
    claim OPTIMAL only of an optimum, repeat itself and pickle. What has no configuration raises
    `InfeasibleError`; a strategy that is not `exact` may raise it elsewhere too, but not for every problem.

    Raises:
        AssertionError: with the seed of the problem and what is wrong with the answer.
    """
    answered = 0
    for seed in seeds:
        problem = generated_problem(seed=seed)
        result = _answer(strategy, problem)
        if result is not None:
            check_result(problem, result, exact=exact, where=f"problem {seed}")
            _require(
                _same(result, _answer(strategy, problem)),
                f"problem {seed}",
                "another answer when asked again",
            )
            answered += 1
        _require(result is not None or not exact, f"problem {seed}", "InfeasibleError, but it is feasible")
        impossible = _answer(strategy, impossible_problem(seed=seed))
        _require(impossible is None, f"impossible problem {seed}", "an answer where there is none")
    _require(answered > 0, "every problem", "not one answer")


def check_result(
    problem: SearchProblem, result: SearchResult, *, exact: bool, where: str = "problem"
) -> None:
    """Check one answer to `problem` against trying everything."""
    config = result.config
    known = {node: set(options) for node, options in problem.choices.items()}
    _require(config.keys() == known.keys(), where, "layers are missing or made up")
    _require(all(config[node] in known[node] for node in known), where, "a precision that is not offered")
    _require(problem.is_feasible(config), where, f"a tie or a limit is broken: {problem.excess(config)}")
    _require(_equal(result.score, problem.score(config)), where, "the score is not that of the configuration")
    _require(result.cost == problem.cost(config), where, "the cost is not that of the configuration")
    _require(pickle.loads(pickle.dumps(result)) == result, where, "the result does not pickle")
    scores = sorted(problem.score(other) for other in every_config(problem) if problem.is_feasible(other))
    _check_certificate(result, scores[0], exact=exact, where=where)
    _check_runner_up(problem, result, scores, exact=exact, where=where)


def _check_certificate(result: SearchResult, optimum: float, *, exact: bool, where: str) -> None:
    optimal = _equal(result.score, optimum)
    if result.bound is not None:
        _require(result.bound <= result.score, where, "the bound lies above the score")
        _require(
            result.bound <= optimum or _equal(result.bound, optimum),
            where,
            "the bound lies above the optimum",
        )
    if result.status == Status.OPTIMAL:
        _require(optimal, where, f"OPTIMAL at {result.score!r}, the optimum is {optimum!r}")
        small = result.gap is not None and result.gap <= GAP_OF_OPTIMAL
        _require(small, where, f"OPTIMAL with a gap of {result.gap}")
    _require(optimal or not exact, where, f"score {result.score!r}, the optimum is {optimum!r}")
    _require(result.status == Status.OPTIMAL or not exact, where, f"status {result.status}, it must prove")


def _check_runner_up(
    problem: SearchProblem, result: SearchResult, scores: list[float], *, exact: bool, where: str
) -> None:
    other = result.runner_up
    if other is None:
        return
    _require(other.config != result.config, where, "the runner-up is the answer itself")
    _require(problem.is_feasible(other.config), where, "the runner-up breaks a tie or a limit")
    _require(_equal(other.score, problem.score(other.config)), where, "the runner-up's score is not its own")
    second = scores[1] if len(scores) > 1 else math.inf
    _require(
        not exact or _equal(other.score, second), where, f"runner-up {other.score!r}, second is {second!r}"
    )


def _answer(strategy: SearchStrategy, problem: SearchProblem) -> SearchResult | None:
    try:
        return strategy.search(problem)
    except InfeasibleError:
        return None


def _same(first: SearchResult, second: SearchResult | None) -> bool:
    return second is not None and first.config == second.config and first.score == second.score


def _equal(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=GAP_OF_OPTIMAL, abs_tol=1e-15)


def _require(holds: bool, where: str, complaint: str) -> None:
    if not holds:
        raise AssertionError(f"{where}: {complaint}")
