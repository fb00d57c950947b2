"""The shipped tables of simulated Arm cores as profiles: cycles become ms at a core and a clock."""

from __future__ import annotations

import importlib.resources
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.hardware import ChangeKey, HardwareProfile, KernelKey, Measurement, Signature
from hawqsearch.core.model import ModelSpec
from hawqsearch.core.target import Target
from hawqsearch.errors import DeviceError
from hawqsearch.hardware.arm import tables
from hawqsearch.hardware.arm.backend import simulated_measurement, simulated_rig
from hawqsearch.hardware.arm.cores import TARGET, Core
from hawqsearch.hardware.arm.memory import FITS, WorkingSet, latency_ms, working_set
from hawqsearch.hardware.structure import structure_of

__all__ = [
    "NotInTableError",
    "run_ms",
    "select",
    "shipped_profile",
    "shipped_whole",
    "whole_ms",
]

Config = FrozenDict[str, str]


class NotInTableError(DeviceError):
    """Kernels or changes of precision that no row of the tables has; `keys` are all of them."""

    def __init__(self, keys: Iterable[KernelKey | ChangeKey]) -> None:
        self.keys = tuple(keys)
        first = self.keys[0]
        what = (
            f"{first.signature} in {first.precision}"
            if isinstance(first, KernelKey)
            else f"{first.change} of {first.shape}"
        )
        more = f" and {len(self.keys) - 1} more" if len(self.keys) > 1 else ""
        super().__init__(
            f"the shipped table of {TARGET} has no row for {what}{more}; "
            f"make them with `hawqsearch profile --target {TARGET} --backend qemu`, or measure a board with --host"
        )

    def __reduce__(self) -> tuple[type, tuple[tuple[KernelKey | ChangeKey, ...]]]:
        return type(self), (self.keys,)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tables:
    rig: tables.SimulatedRig
    kernels: FrozenDict[KernelKey, tables.Work]
    changes: FrozenDict[ChangeKey, tables.Work]
    whole: FrozenDict[tables.WholeKey, tables.Work]
    scales: FrozenDict[str, tuple[float, ...]]


def shipped_profile(core: Core, *, network: WorkingSet = FITS, folder: Path | None = None) -> HardwareProfile:
    """Every row of the tables at the core and its clock, batch 1.

    Args:
        network: what the kernels are part of: one that does not fit into L2 waits for DRAM.
        folder: of other tables than those that ship.
    """
    shipped = _read(folder or _folder())

    def row(key: KernelKey | ChangeKey, work: tables.Work) -> Measurement:
        cycles = work.amounts[core.column]
        return simulated_measurement(latency_ms(cycles, key, core, network), shipped.rig.date)

    return HardwareProfile(
        target=TARGET,
        rig=simulated_rig(core, shipped.rig.runtime),
        date=shipped.rig.date,
        kernels=FrozenDict({k: row(k, w) for k, w in shipped.kernels.items()}),
        changes=FrozenDict({k: row(k, w) for k, w in shipped.changes.items()}),
        scales=shipped.scales,
    )


def select(
    profile: HardwareProfile, kernels: Iterable[KernelKey], changes: Iterable[ChangeKey]
) -> HardwareProfile:
    """Only those rows of `profile`; raises `NotInTableError` naming what it lacks."""
    wanted, edges = list(kernels), list(changes)
    lacking = [k for k in wanted if k not in profile.kernels] + [c for c in edges if c not in profile.changes]
    if lacking:
        raise NotInTableError(lacking)
    return replace(
        profile,
        kernels=FrozenDict({k: profile.kernels[k] for k in wanted}),
        changes=FrozenDict({c: profile.changes[c] for c in edges}),
    )


def run_ms(core: Core) -> float:
    """What every run of a model costs, however small it is."""
    return _read(_folder()).rig.run.amounts[core.column] / core.clock_ghz / 1e6


def shipped_whole(core: Core, spec: ModelSpec, target: Target) -> dict[Config, float]:
    """Configurations of that very network that were simulated whole -> ms; empty for a network without rows.

    A network is known by its shapes and wiring: weights change no latency.
    """
    structure = structure_of(spec)
    return {
        key.config: whole_ms(core, spec, target, key.config, work.amounts[core.column])
        for key, work in _read(_folder()).whole.items()
        if key.structure == structure
    }


def whole_ms(core: Core, spec: ModelSpec, target: Target, config: Config, cycles: float) -> float:
    """Latency of a configuration whose whole run computes for `cycles`: with what its nodes wait for DRAM."""
    return cycles / core.clock_ghz / 1e6 + _waiting_ms(core, spec, target, config, _read(_folder()).kernels)


def _waiting_ms(
    core: Core,
    spec: ModelSpec,
    target: Target,
    config: Config,
    kernels: Mapping[KernelKey, tables.Work],
) -> float:
    """What the nodes of a configuration wait for DRAM beyond their computing."""
    waiting, network = 0.0, working_set(spec)
    for node in spec.nodes:
        kernel = target.kernel(node.op, config.get(node.name, "fp32"))
        if kernel is None:
            continue
        key = KernelKey(Signature.of(node, 1), kernel.timed_as)
        if key in kernels:
            cycles = kernels[key].amounts[core.column]
            waiting += latency_ms(cycles, key, core, network) - latency_ms(cycles, key, core, FITS)
    return waiting


def _folder() -> Path:
    return Path(str(importlib.resources.files("hw_profiles") / TARGET / "profiles"))


@cache
def _read(folder: Path) -> _Tables:
    return _Tables(
        rig=tables.read_rig(folder / tables.RIG),
        kernels=FrozenDict(tables.read_kernels(folder / tables.KERNELS)),
        changes=FrozenDict(tables.read_changes(folder / tables.CHANGES)),
        whole=FrozenDict(tables.read_whole(folder / tables.WHOLE)),
        scales=FrozenDict(tables.read_scales(folder / tables.SCALES)),
    )
