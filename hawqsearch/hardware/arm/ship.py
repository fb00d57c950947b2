"""Simulated runs -> rows of the tables that ship with the package, in cycles of each core."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import onnx

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.hardware import ChangeKey, KernelKey
from hawqsearch.core.model import ModelSpec
from hawqsearch.core.target import Target
from hawqsearch.hardware.arm import tables
from hawqsearch.hardware.arm.cores import KERNEL_SETS, cores
from hawqsearch.hardware.arm.counts import ModelRun, instructions
from hawqsearch.hardware.arm.meter import Meter, calibration_runs, jobs_of
from hawqsearch.hardware.arm.port_model import cycles_of
from hawqsearch.hardware.arm.simulator import Job, Simulator
from hawqsearch.hardware.arm.toolchain import Toolchain
from hawqsearch.hardware.structure import structure_of

__all__ = ["Shipment", "WholeNetwork", "ship"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeNetwork:
    """One configuration of a network; `build` makes the model file."""

    name: str
    spec: ModelSpec
    config: FrozenDict[str, str]
    build: Callable[[], onnx.ModelProto]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipment:
    """Where rows come from and go to; counts of runs stay in `counts`, tables go to `folder`."""

    toolchain: Toolchain
    target: Target
    counts: Path
    folder: Path
    workers: int = 2

    def simulator(self, kernel_set: str) -> Simulator:
        """Of the processor that has those kernels."""
        return Simulator(
            toolchain=self.toolchain,
            processor=KERNEL_SETS[kernel_set],
            folder=self.counts,
            workers=self.workers,
        )


def ship(
    shipment: Shipment,
    kernels: Iterable[KernelKey],
    changes: Iterable[ChangeKey],
    wholes: Iterable[WholeNetwork],
) -> None:
    """Run what has not been run, and put its rows into the tables; rows of other keys stay."""
    jobs: dict[object, Job] = dict(jobs_of(kernels, changes, shipment.target.scheme).items())
    for whole in wholes:
        key = tables.WholeKey(whole.name, structure_of(whole.spec), whole.config)
        jobs[key] = Job(whole.build, nodes=False, alone=True)
    works = dict.fromkeys(jobs, tables.NO_WORK)
    run = tables.NO_WORK
    for kernel_set in KERNEL_SETS:
        meters = _meters(shipment, kernel_set)
        run = run.joined({column: meter.around.run for column, meter in meters.items()})
        done = shipment.simulator(kernel_set).run_all(jobs, partial(_amounts, meters))
        works = {key: work.joined(done[key]) for key, work in works.items()}
        _LOG.info("%d models with %s kernels", len(done), kernel_set)
    tables.merge(shipment.folder, works)
    tables.write_rig(shipment.folder / tables.RIG, tables.SimulatedRig.today(shipment.toolchain.runtime, run))


def _amounts(meters: Mapping[str, Meter], key: object, run: ModelRun) -> dict[str, float]:
    return {column: meter.cost(key, run) for column, meter in meters.items()}


def _meters(shipment: Shipment, kernel_set: str) -> dict[str, Meter]:
    """Columns that runs of one kernel set fill."""
    runs = calibration_runs(shipment.simulator(kernel_set))
    meters = {
        f"instructions_{kernel_set}": Meter.calibrated(lambda counts: float(instructions(counts)), runs)
    }
    for name, core in cores().items():
        if core.kernels == kernel_set:
            meters[core.column] = Meter.calibrated(cycles_of(name), runs)
    return meters
