"""HiGHS through PuLP: tight tolerances, a start, an end on Ctrl-C, and the bound that it proved."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import highspy
import pulp

from hawqsearch.strategies.program import Program

__all__ = ["Relaxed", "Solved", "relax_program", "solve_program"]

_RELATIVE_GAP: Final = 1e-7
_TOLERANCE: Final = 1e-9
_WORTH_A_RESTART: Final = 1000
"""Options above which restarting with fewer pays. This and the heuristics switched off below (a good start is at
hand) take 200 layers of 6 options from 0.6 to 0.4 s on average and from 1.6 to 0.7 s at worst."""
_WAKE_S: Final = 0.1  # how often the waiting thread looks for a signal that another thread was sent
_SLACK: Final = 1e-6  # of the score, and in the solver's units: a thousand times what its tolerances allow
_OPTIMAL: Final = highspy.HighsModelStatus.kOptimal
_INFEASIBLE: Final = (highspy.HighsModelStatus.kInfeasible, highspy.HighsModelStatus.kUnboundedOrInfeasible)


@dataclass(frozen=True, slots=True, kw_only=True)
class Solved:
    """What HiGHS says: the option of each group (None: no solution), and the proven bound on the score."""

    choice: tuple[int, ...] | None
    bound: float | None
    optimal: bool
    infeasible: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaxed:
    """The optimum of a relaxation.

    No configuration scores below `score`, nor with option `p` of group `g` below `score + rises[g][p]` (its
    reduced cost), both up to `slack`; `choice` is each group's largest part.
    """

    choice: tuple[int, ...]
    score: float
    rises: list[list[float]]
    slack: float

    def within(self, ceiling: float) -> list[list[int]]:
        """Of each group the options that a configuration which scores at most `ceiling` can have."""
        room = ceiling - self.score + self.slack
        rows = zip(self.rises, self.choice, strict=True)
        return [[p for p, rise in enumerate(row) if rise <= room or p == chosen] for row, chosen in rows]


def solve_program(
    program: Program, *, time_limit_s: float, seed: int, start: Sequence[int] | None = None
) -> Solved:
    """Solve `program`, from the choice `start` if there is one; Ctrl-C stops the solver and propagates."""
    solver = _Highs(program, start, mip=True, time_limit_s=time_limit_s, seed=seed)
    program.lp.solve(solver)
    return solver.answer(program.lp.solverModel)


def relax_program(program: Program, *, time_limit_s: float) -> Relaxed | None:
    """The relaxation of `program`, where an option may be made in part; None where it has no optimum."""
    solver = _Highs(program, None, mip=False, time_limit_s=time_limit_s, seed=0)
    program.lp.solve(solver)
    model = program.lp.solverModel
    if model.getModelStatus() != _OPTIMAL:
        return None
    solution = model.getSolution()
    rises = [[solution.col_dual[v.index] / program.scale for v in row] for row in program.choose]
    score = model.getInfo().objective_function_value / program.scale
    slack = _SLACK * (abs(score) + 1 / program.scale)
    return Relaxed(choice=solver.choice(solution.col_value), score=score, rises=rises, slack=slack)


def _run(model: highspy.Highs, done: threading.Event) -> None:
    try:
        model.run()
    finally:
        done.set()


class _Highs(pulp.HiGHS):  # type: ignore[misc]
    """PuLP's HiGHS with what PuLP leaves out: objective offset, start, interruption, bound."""

    def __init__(
        self, program: Program, start: Sequence[int] | None, *, mip: bool, time_limit_s: float, seed: int
    ) -> None:
        super().__init__(
            mip=mip,
            msg=False,
            gapRel=_RELATIVE_GAP,
            gapAbs=0.0,
            threads=1,
            timeLimit=max(time_limit_s, 1e-3),
            random_seed=seed,
            mip_allow_restart=sum(map(len, program.choose)) > _WORTH_A_RESTART,
            mip_detect_symmetry=False,
            mip_heuristic_run_feasibility_jump=False,
            mip_heuristic_run_rens=False,
            mip_heuristic_run_rins=False,
            mip_feasibility_tolerance=_TOLERANCE,
            primal_feasibility_tolerance=_TOLERANCE,
            dual_feasibility_tolerance=_TOLERANCE,
        )
        self.program = program
        self.start = start

    def callSolver(self, lp: pulp.LpProblem) -> None:  # noqa: N802  (PuLP's name)
        """Run HiGHS in a thread, so that this one hears Ctrl-C."""
        model = lp.solverModel
        model.changeObjectiveOffset(self.program.offset)
        model.HandleUserInterrupt = True
        if self.start is not None:
            taken = [variables[p].index for variables, p in zip(self.program.choose, self.start, strict=True)]
            every = [v.index for variables in self.program.choose for v in variables]
            values = [float(index in set(taken)) for index in every]
            model.setSolution(len(every), every, values)
        done = (
            threading.Event()
        )  # not Thread.join: once interrupted, Python 3.11's takes the thread for ended
        threading.Thread(target=_run, args=(model, done), daemon=True).start()
        try:
            while not done.wait(_WAKE_S):
                pass
        except KeyboardInterrupt:
            model.cancelSolve()
            done.wait()
            raise

    def findSolutionValues(self, lp: pulp.LpProblem) -> tuple[int, int]:  # noqa: N802  (PuLP's name)
        """Nothing of PuLP's: its status calls a search that ran out of time optimal."""
        return pulp.LpStatusNotSolved, pulp.LpSolutionNoSolutionFound

    def answer(self, model: highspy.Highs) -> Solved:
        """What the solver found, and the bound in units of the score."""
        status, info = model.getModelStatus(), model.getInfo()
        found = info.primal_solution_status == highspy.kSolutionStatusFeasible
        bound = info.mip_dual_bound / self.program.scale
        return Solved(
            choice=self.choice(model.getSolution().col_value) if found else None,
            bound=bound if abs(bound) < highspy.kHighsInf else None,
            optimal=found and status == _OPTIMAL,
            infeasible=status in _INFEASIBLE,
        )

    def choice(self, values: Sequence[float]) -> tuple[int, ...]:
        """The option of each group whose variable is the largest."""
        chosen = [[values[v.index] for v in variables] for variables in self.program.choose]
        return tuple(max(range(len(row)), key=row.__getitem__) for row in chosen)
