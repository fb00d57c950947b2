"""Integer linear programming: the best configuration, with a proof."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.problem import LIMIT_TOLERANCE, Choice, Config, SearchProblem
from hawqsearch.core.result import RunnerUp, SearchResult
from hawqsearch.errors import InfeasibleError, InputError
from hawqsearch.search.answer import words
from hawqsearch.search.greedy import greedy_config
from hawqsearch.search.grouped import Grouped, group_problem
from hawqsearch.search.highs import Solved, solve_program
from hawqsearch.search.position import Position
from hawqsearch.search.program import build_program
from hawqsearch.search.prune import least_total, pruned

__all__ = ["IlpSearch", "k_best"]

_TIGHTENINGS = (0.0, 1e-11, 1e-10, 1e-9, 1e-8)
"""Relative: how far below its limit a quantity is held once an answer exceeded it by a tolerance."""


@dataclass(frozen=True)
class IlpSearch:
    """The allocation as an integer linear program (HAWQ-V3, Yao et al. 2021, eq. 5-8), solved by HiGHS.

    Departures: edges with prices, interactions, a greedy start, and a bound that is reported and checked.

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
        found = _best(problem, grouped, time_limit_s=self.time_limit_s, seed=self.seed, excluded=())
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
        found = _best(problem, grouped, time_limit_s=self.time_limit_s, seed=self.seed, excluded=(config,))
        return None if found is None else found.config


def k_best(problem: SearchProblem, k: int, *, seed: int, time_limit_s: float = 60.0) -> tuple[RunnerUp, ...]:
    """The `k` best configurations, best first; fewer where there are no more. `time_limit_s` is for each."""
    grouped = group_problem(problem)
    configs: list[Config] = []
    while len(configs) < k:
        found = _best(problem, grouped, time_limit_s=time_limit_s, seed=seed, excluded=configs)
        if found is None:
            break
        configs.append(found.config)
    return tuple(sorted((RunnerUp.of(problem, c) for c in configs), key=lambda r: r.score))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    config: Config
    bound: float | None
    proven: bool


def _best(
    problem: SearchProblem, grouped: Grouped, *, time_limit_s: float, seed: int, excluded: Sequence[Config]
) -> _Found | None:
    """The best configuration that is none of `excluded`, None where it is proven that there is none."""
    deadline = time.perf_counter() + time_limit_s
    start = _start(problem, grouped, excluded)
    small = pruned(grouped, None if start is None else problem.score(start))
    bound, proven = least_total(grouped), False
    for tightening in _TIGHTENINGS:
        solved = _solve(small, tightening, excluded, start, deadline - time.perf_counter(), seed)
        if tightening == 0.0:
            if solved.infeasible and start is None:
                return None
            bound, proven = max(bound, solved.bound or bound), solved.optimal
        config = None if solved.choice is None else small.config(solved.choice)
        if config is None or (problem.is_feasible(config) and config not in excluded):
            break
    found = [c for c in (config, start) if c is not None and problem.is_feasible(c) and c not in excluded]
    if not found:
        raise InfeasibleError(
            f"found no configuration within {words(problem)} in {time_limit_s:g} s, which proves nothing; "
            "give it more time or raise a limit"
        )
    best = min(found, key=problem.score)
    return _Found(config=best, bound=min(bound, problem.score(best)), proven=proven)


def _solve(
    grouped: Grouped,
    tightening: float,
    excluded: Sequence[Config],
    start: Config | None,
    time_limit_s: float,
    seed: int,
) -> Solved:
    rooms = [room + (LIMIT_TOLERANCE - tightening) * abs(room) for room in grouped.rooms]
    program = build_program(grouped, rooms)
    for config in excluded:
        if grouped.holds(config):
            program.forbid(grouped.choice(config))
    choice = grouped.choice(start) if start is not None and grouped.holds(start) else None
    return solve_program(program, time_limit_s=time_limit_s, seed=seed, start=choice)


def _start(problem: SearchProblem, grouped: Grouped, excluded: Sequence[Config]) -> Config | None:
    """A feasible configuration to begin with: the greedy one, or the best that is a move from `excluded`."""
    if not excluded:
        return greedy_config(problem, grouped)
    near: list[tuple[float, int, int, int]] = []
    for index, config in enumerate(excluded):
        position = Position(grouped, grouped.choice(config))
        for group in range(len(grouped.groups)):
            changes = [(position.change(group, p), p) for p in position.moves(group)]
            near += [
                (position.total[0] + c[0], index, group, p) for c, p in changes if not position.excess(c)
            ]
    for _, index, group, option in sorted(near):
        choice = grouped.choice(excluded[index])
        choice[group] = option
        config = grouped.config(choice)
        if config not in excluded and problem.is_feasible(config):
            return config
    return None


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
    found = _best(
        priced, group_problem(priced), time_limit_s=strategy.time_limit_s, seed=strategy.seed, excluded=()
    )
    return None if found is None else problem.cost(found.config).get(quantity)


def _priced(cells: FrozenDict[str, Choice], quantity: str) -> FrozenDict[str, Choice]:
    return FrozenDict({name: replace(c, score=c.cost.get(quantity) or 0.0) for name, c in cells.items()})
