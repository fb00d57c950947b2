"""Results trust no strategy's arithmetic; values pickle and hash."""

import dataclasses
import pickle

import pytest

from hawqsearch.core.cost import Cost
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.problem import Choice, SearchProblem
from hawqsearch.core.result import SearchResult, Status
from hawqsearch.testing.problems import every_config, generated_problem

PROBLEM = SearchProblem(
    choices=FrozenDict(
        {"a": FrozenDict({"x": Choice(1.0, Cost(latency_ms=1.0)), "y": Choice(2.0, Cost(latency_ms=0.1))})}
    ),
    limits=FrozenDict({"latency_ms": 0.5}),
)


def test_score_and_cost_are_the_problems_own() -> None:
    result = SearchResult.of(PROBLEM, {"a": "y"}, strategy="s", bound=2.0, proven=True)
    assert (result.score, result.cost.latency_ms, result.gap) == (2.0, 0.1, 0.0)
    assert result.status is Status.OPTIMAL


def test_optimal_needs_the_gap_and_the_proof() -> None:
    assert (
        SearchResult.of(PROBLEM, {"a": "y"}, strategy="s", bound=1.9, proven=True).status is Status.FEASIBLE
    )
    assert SearchResult.of(PROBLEM, {"a": "y"}, strategy="s", bound=2.0).status is Status.FEASIBLE
    assert SearchResult.of(PROBLEM, {"a": "y"}, strategy="s", proven=True).status is Status.FEASIBLE


def test_bound_above_the_score_by_rounding_is_the_score() -> None:
    result = SearchResult.of(PROBLEM, {"a": "y"}, strategy="s", bound=2.0 + 1e-9, proven=True)
    assert result.bound == result.score


def test_a_strategys_own_bugs_are_errors() -> None:
    with pytest.raises(ValueError, match="exceeds"):
        SearchResult.of(PROBLEM, {"a": "x"}, strategy="s")
    with pytest.raises(ValueError, match="bound"):
        SearchResult.of(PROBLEM, {"a": "y"}, strategy="s", bound=2.1)


@pytest.mark.parametrize("seed", range(5))
def test_problems_and_results_pickle_and_hash(seed: int) -> None:
    problem = generated_problem(seed=seed)
    config = next(c for c in every_config(problem) if problem.is_feasible(c))
    result = SearchResult.of(problem, config, strategy="s", runner_up=config)
    for value in (problem, result):
        copied = pickle.loads(pickle.dumps(value))
        assert copied == value
        assert hash(copied) == hash(value)
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.score = 0.0  # type: ignore[misc]
    with pytest.raises(TypeError):
        problem.limits["latency_ms"] = 1.0  # type: ignore[index]


def test_small_limits_are_as_strict_as_large_ones() -> None:
    tiny = dataclasses.replace(PROBLEM, limits=FrozenDict({"latency_ms": 0.1 * (1 - 1e-7)}))
    assert not tiny.is_feasible({"a": "y"})
    cells = FrozenDict({"x": Choice(0.0, Cost(energy_mj=1.1e-9))})
    low = SearchProblem(choices=FrozenDict({"a": cells}), limits=FrozenDict({"energy_mj": 1e-9}))
    assert not low.is_feasible({"a": "x"})
