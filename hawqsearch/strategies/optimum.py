"""The best configuration of a problem with its proof: relax, round, drop what cannot be in it, branch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hawqsearch.core.problem import LIMIT_TOLERANCE, Config, SearchProblem
from hawqsearch.errors import InfeasibleError
from hawqsearch.strategies.answer import words
from hawqsearch.strategies.greedy import descend, greedy_config
from hawqsearch.strategies.grouped import Grouped
from hawqsearch.strategies.highs import Relaxed, Solved, relax_program, solve_program
from hawqsearch.strategies.position import Position
from hawqsearch.strategies.program import Program, build_program
from hawqsearch.strategies.prune import least_total, pruned

__all__ = ["Found", "find_best"]

_TIGHTENINGS: Final = (0.0, 1e-11, 1e-10, 1e-9, 1e-8)
"""Relative: how far below its limit a quantity is held once an answer exceeded it by a tolerance."""

_FIRST_GUESS: Final = 0.25
"""Where between the relaxed and the rounded score the optimum is looked for first: with 200 layers of 6
options it is nearly always lower, and the program of that part is a fifth of the whole."""

_CLOSE: Final = 0.05
"""Relative: a rounded score this close to the relaxed one is start enough; the relaxation of many interactions
is far below, and rounds to configurations that the greedy one beats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A configuration, a bound on the score of all that were allowed, and whether the solver finished."""

    config: Config
    bound: float
    proven: bool


def find_best(
    problem: SearchProblem,
    grouped: Grouped,
    *,
    time_limit_s: float,
    seed: int,
    excluded: Sequence[Config] = (),
) -> Found | None:
    """The best configuration that is none of `excluded`, None where it is proven that there is none.

    Raises:
        InfeasibleError: none was found in time, which proves nothing.
    """
    task = _Task(problem, grouped, tuple(excluded), time.perf_counter() + time_limit_s, seed)
    if not grouped.groups:
        return task.only()
    relaxed = relax_program(task.program(grouped), time_limit_s=time_limit_s)
    start = task.start(relaxed)
    if relaxed is None or start is None:
        return task.finish(pruned(grouped, None), start, time_limit_s)
    guess = relaxed.score + _FIRST_GUESS * (problem.score(start) - relaxed.score)
    part = grouped.restricted(relaxed.within(guess))
    if part.size <= grouped.size / 2:
        solved = task.solve(part, None)
        config = task.config(part, solved)
        if config is not None and problem.score(config) < problem.score(start):
            start = config
            if solved.optimal and solved.bound is not None and problem.score(config) <= guess:
                return Found(config=config, bound=solved.bound, proven=True)
    best_score = problem.score(start)
    rest = pruned(grouped.restricted(relaxed.within(best_score)), best_score)
    return task.finish(rest, start, time_limit_s, relaxed.score - relaxed.slack)


@dataclass(frozen=True, slots=True)
class _Task:
    problem: SearchProblem
    grouped: Grouped
    excluded: tuple[Config, ...]
    deadline: float
    seed: int

    def allows(self, config: Config) -> bool:
        return self.problem.is_feasible(config) and config not in self.excluded

    def only(self) -> Found | None:
        """The one configuration of a problem where nothing is left to choose."""
        config = self.grouped.config(())
        bound = self.problem.score(config)
        return Found(config=config, bound=bound, proven=True) if self.allows(config) else None

    def program(self, grouped: Grouped, tightening: float = 0.0) -> Program:
        rooms = [room + (LIMIT_TOLERANCE - tightening) * abs(room) for room in grouped.rooms]
        program = build_program(grouped, rooms)
        for config in self.excluded:
            if grouped.holds(config):
                program.forbid(grouped.choice(config))
        return program

    def solve(self, grouped: Grouped, start: Config | None, tightening: float = 0.0) -> Solved:
        choice = grouped.choice(start) if start is not None and grouped.holds(start) else None
        seconds = self.deadline - time.perf_counter()
        return solve_program(
            self.program(grouped, tightening), time_limit_s=seconds, seed=self.seed, start=choice
        )

    def config(self, grouped: Grouped, solved: Solved) -> Config | None:
        """The solver's configuration if float64 agrees that it is within the limits."""
        config = None if solved.choice is None else grouped.config(solved.choice)
        return config if config is not None and self.allows(config) else None

    def start(self, relaxed: Relaxed | None) -> Config | None:
        """A configuration to begin with: near an excluded one, the rounded relaxation or the greedy one."""
        if self.excluded:
            return self._neighbour()
        rounded = None if relaxed is None else _rounded(self.grouped, relaxed)
        if relaxed is not None and rounded is not None and self.allows(rounded):
            score = self.problem.score(rounded)
            if score - relaxed.score <= _CLOSE * abs(score):
                return rounded
        starts = (rounded, greedy_config(self.problem, self.grouped))
        allowed = [config for config in starts if config is not None and self.allows(config)]
        return min(allowed, key=self.problem.score, default=None)

    def _neighbour(self) -> Config | None:
        """The best allowed configuration that is one move from an excluded one."""
        near: list[tuple[float, int, int, int]] = []
        for index, config in enumerate(self.excluded):
            position = Position(self.grouped, self.grouped.choice(config))
            for group in range(len(self.grouped.groups)):
                changes = [(position.change(group, p), p) for p in position.moves(group)]
                near += [
                    (position.total[0] + c[0], index, group, p) for c, p in changes if not position.excess(c)
                ]
        for _, index, group, option in sorted(near):
            choice = self.grouped.choice(self.excluded[index])
            choice[group] = option
            config = self.grouped.config(choice)
            if self.allows(config):
                return config
        return None

    def finish(
        self, grouped: Grouped, start: Config | None, time_limit_s: float, bound: float | None = None
    ) -> Found | None:
        """Solve what is left, which still has every configuration as good as `start`."""
        solved = self.solve(grouped, start)
        if solved.infeasible and start is None:
            return None
        known = [b for b in (least_total(self.grouped), bound, solved.bound) if b is not None]
        config = self.config(grouped, solved)
        for tightening in _TIGHTENINGS[1:]:
            if config is not None or solved.choice is None:
                break
            config = self.config(grouped, again := self.solve(grouped, start, tightening))
            if again.choice is None:
                break
        found = [c for c in (config, start) if c is not None]
        if not found:
            raise InfeasibleError(
                f"found no configuration within {words(self.problem)} in {time_limit_s:g} s, "
                "which proves nothing; give it more time or raise a limit"
            )
        best = min(found, key=self.problem.score)
        bound = min(max(known), self.problem.score(best))
        return Found(config=best, bound=bound, proven=solved.optimal)


def _rounded(grouped: Grouped, relaxed: Relaxed) -> Config:
    position = Position(grouped, relaxed.choice)
    descend(position)
    return grouped.config(position.choice)
