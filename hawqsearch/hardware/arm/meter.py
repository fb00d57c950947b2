"""Runs -> amounts of work: instructions of a kernel set, or cycles of a core."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from hawqsearch.core.hardware import Change, ChangeKey, KernelKey
from hawqsearch.core.target import Scheme
from hawqsearch.hardware.arm.attribution import (
    CALIBRATION,
    CostOf,
    Overheads,
    calibration_model,
    change_cost,
    kernel_cost,
    overheads,
)
from hawqsearch.hardware.arm.counts import ModelRun
from hawqsearch.hardware.arm.simulator import Job, Simulator
from hawqsearch.hardware.micro import change_model, kernel_model

__all__ = ["Meter", "calibration_runs", "jobs_of"]


@dataclass(frozen=True, slots=True)
class Meter:
    """A unit of cost, and what in every run is no kernel's, in that unit."""

    cost_of: CostOf
    around: Overheads

    @classmethod
    def calibrated(cls, cost_of: CostOf, runs: dict[str, ModelRun]) -> Meter:
        """With its overheads from the calibration runs."""
        return cls(cost_of, overheads(runs, cost_of))

    def cost(self, key: object, run: ModelRun) -> float:
        """What `run` cost: a kernel's or a change's own part, or all of any other model."""
        match key:
            case KernelKey():
                return kernel_cost(run, self.around, self.cost_of)
            case ChangeKey():
                return change_cost(run, self.around, self.cost_of)
            case _:
                return self.cost_of(run.whole)


def calibration_runs(simulator: Simulator) -> dict[str, ModelRun]:
    """Runs that `Meter.calibrated` reads."""
    jobs = {name: Job(partial(calibration_model, name), nodes=True) for name in CALIBRATION}
    return simulator.run_all(jobs, lambda name, run: run)


def jobs_of(
    kernels: Iterable[KernelKey], changes: Iterable[ChangeKey], scheme: Scheme
) -> dict[KernelKey | ChangeKey, Job]:
    """The smallest models of kernels and changes; only an int8 kernel's has nodes that must be told apart."""
    jobs: dict[KernelKey | ChangeKey, Job] = {}
    for kernel in kernels:
        int8 = kernel.precision != "fp32"
        jobs[kernel] = Job(partial(kernel_model, kernel.signature, int8=int8, scheme=scheme), nodes=int8)
    for change in changes:
        to_int8 = change.change is Change.TO_INT8
        jobs[change] = Job(partial(change_model, change.shape, to_int8=to_int8, scheme=scheme), nodes=True)
    return jobs
