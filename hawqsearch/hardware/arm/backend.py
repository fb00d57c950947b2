"""Kernels and precision changes simulated: the backend for an Arm core that is not here."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.hardware import ChangeKey, HardwareProfile, KernelKey, Measurement, Rig
from hawqsearch.core.target import Target
from hawqsearch.errors import InputError
from hawqsearch.hardware.arm.cores import DEFAULT_CORE, KERNEL_SETS, Core, find_core
from hawqsearch.hardware.arm.memory import FITS, WorkingSet, latency_ms
from hawqsearch.hardware.arm.meter import Meter, calibration_runs, jobs_of
from hawqsearch.hardware.arm.port_model import cycles_of
from hawqsearch.hardware.arm.simulator import Simulator
from hawqsearch.hardware.arm.toolchain import build

__all__ = ["QemuBackend", "simulated_measurement", "simulated_rig"]

_ROUNDS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class QemuBackend:
    """onnxruntime's aarch64 kernels under qemu, on the port model of `core`.

    Args:
        folder: where the toolchain and the counts of runs are kept.
        network: what the kernels are part of, for the memory term.
        workers: simulated processes side by side.
    """

    folder: Path
    core: Core = field(default_factory=lambda: find_core(DEFAULT_CORE))
    network: WorkingSet = FITS
    workers: int = 2

    @property
    def n_rounds(self) -> int:
        """Steps of progress: per cent of the runs."""
        return _ROUNDS

    def rig(self, *, batch: int) -> Rig:
        """What the origin of its profiles says; builds the toolchain."""
        return simulated_rig(self.core, build(self.folder).runtime, batch=batch)

    def measure(
        self,
        target: Target,
        rig: Rig,
        kernels: Iterable[KernelKey],
        changes: Iterable[ChangeKey],
        *,
        on_round: Callable[[int], object] = lambda done: None,
    ) -> HardwareProfile:
        """Simulated times of every kernel and change.

        Raises `MissingDependencyError` where the simulator cannot be built, `DeviceError` where a run fails,
        `InputError` for more than one thread.
        """
        if rig.threads != 1:
            raise InputError(f"simulated kernels run on one thread, not on {rig.threads}; use --threads 1")
        simulator = Simulator(
            toolchain=build(self.folder),
            processor=KERNEL_SETS[self.core.kernels],
            folder=self.folder / "counts",
            workers=self.workers,
        )
        meter = Meter.calibrated(cycles_of(self.core.name), calibration_runs(simulator))
        jobs = jobs_of(kernels, changes, target.scheme)
        steps = _Steps(len(jobs), on_round)
        cycles = simulator.run_all(jobs, meter.cost, on_done=steps.advance)
        date = datetime.datetime.now(datetime.UTC).date().isoformat()
        rows = {
            k: simulated_measurement(latency_ms(c, k, self.core, self.network), date)
            for k, c in cycles.items()
        }
        return HardwareProfile(
            target=target.name,
            rig=rig,
            date=date,
            kernels=FrozenDict({k: row for k, row in rows.items() if isinstance(k, KernelKey)}),
            changes=FrozenDict({k: row for k, row in rows.items() if isinstance(k, ChangeKey)}),
        )


def simulated_rig(core: Core, runtime: str, *, batch: int = 1) -> Rig:
    """A rig that is a model of a core."""
    return Rig(device=str(core), runtime=runtime, threads=1, batch=batch)


def simulated_measurement(latency_ms: float, date: str) -> Measurement:
    """A row without spread: two simulated runs agree."""
    return Measurement(
        median_ms=latency_ms, low_ms=latency_ms, high_ms=latency_ms, n=1, date=date, origin="simulated"
    )


@dataclass(slots=True)
class _Steps:
    """Turns runs that ended into per cent of all."""

    total: int
    on_step: Callable[[int], object]
    ended: int = 0
    shown: int = 0

    def advance(self, runs: int) -> None:
        self.ended += runs
        due = _ROUNDS * self.ended // max(1, self.total)
        self.on_step(due - self.shown)
        self.shown = due
