"""Integer linear programming: the best configuration, with a proof."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.problem import Choice, Config, SearchProblem
from hawqsearch.core.result import RunnerUp, SearchResult
from hawqsearch.errors import InfeasibleError, InputError
from hawqsearch.strategies.grouped import Grouped, group_problem
from hawqsearch.strategies.optimum import find_best

__all__ = ["IlpSearch", "k_best"]


@dataclass(frozen=True)
class IlpSearch:
    """The allocation as an integer linear program (HAWQ-V3, Yao et al. 2021, eq. 5-8), solved by HiGHS.

    Departures: edges with prices, interactions, and a bound that is reported and checked.

    Args:
        time_limit_s: for the first solve, and again for the runner-up.
        runner_up: whether to look for the best configuration that differs from the answer.
        seed: of the solver's own random choices; it decides between equals only.
    """

    time_limit_s: float = 60.0
    runner_up: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.time_limit_s > 0:
            raise InputError(f"a time limit must be positive, got {self.time_limit_s} s")
        if not 0 <= self.seed < 2**31:
            raise InputError(f"the solver's seed must be at least 0 and below 2^31, got {self.seed}")

    def search(self, problem: SearchProblem) -> SearchResult:
        """The optimum, or with FEASIBLE the best found in time; raises `InfeasibleError` if there is none."""
        began = time.perf_counter()
        grouped = group_problem(problem)
        found = find_best(problem, grouped, time_limit_s=self.time_limit_s, seed=self.seed)
        if found is None:
            raise _infeasible(problem, self)
        seconds = time.perf_counter() - began
        other = self._runner_up(problem, grouped, found.config) if self.runner_up else None
        return SearchResult.of(
            problem,
            found.config,
            strategy="ilp",
            bound=found.bound,
            proven=found.proven,
            seed=self.seed,
            seconds=seconds,
            runner_up=other,
            runner_up_seconds=time.perf_counter() - began - seconds if self.runner_up else 0.0,
        )

    def _runner_up(self, problem: SearchProblem, grouped: Grouped, config: Config) -> Config | None:
        others = _others(problem, grouped, [config], time_limit_s=self.time_limit_s, seed=self.seed)
        return next(others, None)


def k_best(problem: SearchProblem, k: int, *, seed: int, time_limit_s: float = 60.0) -> tuple[RunnerUp, ...]:
    """The `k` best configurations, best first; fewer where there are no more. `time_limit_s` is for each."""
    found = islice(_others(problem, group_problem(problem), [], time_limit_s=time_limit_s, seed=seed), k)
    return tuple(sorted((RunnerUp.of(problem, config) for config in found), key=lambda r: r.score))


def _others(
    problem: SearchProblem, grouped: Grouped, excluded: list[Config], *, time_limit_s: float, seed: int
) -> Iterator[Config]:
    """Configurations other than those `excluded`, no two alike, best first, while there are more."""
    while True:
        try:
            found = find_best(problem, grouped, time_limit_s=time_limit_s, seed=seed, excluded=excluded)
        except InfeasibleError:  # none found in time
            return
        if found is None:
            return
        excluded = [*excluded, found.config]
        yield found.config


def _infeasible(problem: SearchProblem, strategy: IlpSearch) -> InfeasibleError:
    """The error that names each limit with the least that can be had for it."""
    alone = {q: _least(problem, q, strategy, ()) for q in problem.limits}
    said = [f"{q} <= {limit:.6g} (the least is {alone[q]:.6g})" for q, limit in problem.limits.items()]
    line = f"no configuration meets {' and '.join(said)}"
    if all(least is not None and least <= problem.limits[q] for q, least in alone.items()):
        together = {
            q: _least(problem, q, strategy, [o for o in problem.limits if o != q]) for q in problem.limits
        }
        line += "; each can be met alone, not together: " + ", ".join(
            f"{q} is at least {least:.6g} within the others"
            for q, least in together.items()
            if least is not None
        )
    return InfeasibleError(line)


def _least(problem: SearchProblem, quantity: str, strategy: IlpSearch, kept: Sequence[str]) -> float | None:
    """The least of `quantity` within the limits `kept`; None where nothing is within them."""
    priced = replace(
        problem,
        choices=FrozenDict({n: _priced(cells, quantity) for n, cells in problem.choices.items()}),
        edges=tuple(
            replace(e, prices=tuple(replace(p, score=p.cost.get(quantity) or 0.0) for p in e.prices))
            for e in problem.edges
        ),
        interactions=(),
        limits=FrozenDict({q: problem.limits[q] for q in kept}),
    )
    found = find_best(
        priced, group_problem(priced), time_limit_s=strategy.time_limit_s, seed=strategy.seed, excluded=()
    )
    return None if found is None else problem.cost(found.config).get(quantity)


def _priced(cells: FrozenDict[str, Choice], quantity: str) -> FrozenDict[str, Choice]:
    return FrozenDict({name: replace(c, score=c.cost.get(quantity) or 0.0) for name, c in cells.items()})
