"""Every built-in strategy passes the kit, and the kit catches those that lie."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from hawqsearch import plugins
from hawqsearch.core.problem import SearchProblem
from hawqsearch.core.result import SearchResult, SearchStrategy, Status
from hawqsearch.errors import InfeasibleError
from hawqsearch.strategies.exhaustive import ExhaustiveSearch
from hawqsearch.strategies.ilp import IlpSearch
from hawqsearch.testing.problems import every_config, generated_problem, impossible_problem
from hawqsearch.testing.strategies import check_strategy

EXACT = {"ilp", "exhaustive"}


@pytest.mark.parametrize("name", plugins.BUILT_IN["strategies"])
def test_built_ins_conform(name: str) -> None:
    check_strategy(plugins.build("strategies", name, seed=3), exact=name in EXACT)


@dataclass(frozen=True)
class Liar:
    """An exact strategy whose answers are changed."""

    lie: Callable[[SearchProblem, SearchResult], SearchResult]

    def search(self, problem: SearchProblem) -> SearchResult:
        return self.lie(problem, ExhaustiveSearch().search(problem))


def worst(problem: SearchProblem, result: SearchResult) -> SearchResult:
    config = max((c for c in every_config(problem) if problem.is_feasible(c)), key=problem.score)
    return SearchResult.of(problem, config, strategy="liar", bound=problem.score(config), proven=True)


def unlimited(problem: SearchProblem, result: SearchResult) -> SearchResult:
    config = min(every_config(problem), key=problem.score)
    return replace(result, config=replace(result, config=config).config, score=problem.score(config))


def bound_too_good(problem: SearchProblem, result: SearchResult) -> SearchResult:
    answer = worst(problem, result)
    return result if answer.score == result.score else replace(answer, status=Status.FEASIBLE)


LIES: dict[str, tuple[Callable[[SearchProblem, SearchResult], SearchResult], str]] = {
    "score": (lambda p, r: replace(r, score=r.score - 0.1 * abs(r.score) - 1e-9), "the score is not"),
    "cost": (lambda p, r: replace(r, cost=p.base), "the cost is not"),
    "bound above the score": (
        lambda p, r: replace(r, bound=r.score + abs(r.score) + 1e-9),
        "bound lies above",
    ),
    "bound that is too good": (
        bound_too_good,
        "bound lies above the optimum",
    ),
    "wide gap": (lambda p, r: replace(r, bound=r.score - abs(r.score) - 1.0), "OPTIMAL with a gap"),
    "no bound": (lambda p, r: replace(r, bound=None), "OPTIMAL with a gap of None"),
    "not the optimum": (worst, "lies above the optimum|OPTIMAL at"),
    "limits ignored": (unlimited, "a tie or a limit is broken"),
    "unproven": (lambda p, r: replace(r, status=Status.FEASIBLE), "it must prove"),
    "runner-up is itself": (
        lambda p, r: (
            r if r.runner_up is None else replace(r, runner_up=replace(r.runner_up, config=r.config))
        ),
        "the runner-up is the answer itself",
    ),
}


@pytest.mark.parametrize("name", LIES)
def test_the_kit_catches_lies(name: str) -> None:
    lie, complaint = LIES[name]
    with pytest.raises(AssertionError, match=complaint):
        check_strategy(Liar(lie), exact=True, seeds=range(10))


class Lazy:
    """Never an answer."""

    def search(self, problem: SearchProblem) -> SearchResult:
        raise InfeasibleError("none")


class Careless:
    """An answer even where there is none: the limits are taken away first."""

    def search(self, problem: SearchProblem) -> SearchResult:
        return ExhaustiveSearch().search(replace(problem, limits=type(problem.limits)()))


@pytest.mark.parametrize(("strategy", "exact"), [(Lazy(), True), (Lazy(), False), (Careless(), False)])
def test_the_kit_catches_strategies_that_give_up_or_never_do(strategy: SearchStrategy, exact: bool) -> None:
    with pytest.raises(AssertionError):
        check_strategy(strategy, exact=exact, seeds=range(5))


def test_generated_problems_reach_what_they_promise() -> None:
    seen: Counter[str] = Counter()
    for seed in range(150):
        problem = generated_problem(seed=seed)
        free = min(every_config(problem), key=problem.score)
        assert not problem.is_feasible(free)
        assert any(problem.is_feasible(config) for config in every_config(problem))
        seen["ties"] += bool(problem.ties)
        seen["overlapping ties"] += len(problem.ties) > 1
        seen["pins"] += any(len(options) == 1 for options in problem.choices.values())
        seen["several consumers"] += any(len(e.targets) > 1 and e.prices for e in problem.edges)
        seen["own consumer"] += any(e.source in e.targets for e in problem.edges)
        seen["lists"] += any(
            len(p.sources) > 1 or len(p.targets) > 1 for e in problem.edges for p in e.prices
        )
        seen["negative price"] += any(p.score < 0 for e in problem.edges for p in e.prices)
        seen["interactions"] += bool(problem.interactions)
        seen["negative interactions"] += any(i.score < 0 for i in problem.interactions)
        seen["negative score"] += problem.score(free) < 0
        seen["two limits"] += len(problem.limits) > 1
    assert min(seen.values()) >= 10, seen


@pytest.mark.parametrize("seed", range(3))
def test_impossible_problems_are(seed: int) -> None:
    problem = impossible_problem(seed=seed)
    assert not any(problem.is_feasible(config) for config in every_config(problem))
    with pytest.raises(InfeasibleError):
        IlpSearch().search(problem)
