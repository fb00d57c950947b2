"""Where `profile` gets its times: this machine, a board, a simulator, a GPU, or the shipped table."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hawqsearch import plugins
from hawqsearch.cache import default_folder
from hawqsearch.errors import DeviceError, InputError, UnknownNameError
from hawqsearch.hardware.board_profile import check_tables
from hawqsearch.hardware.energy.available import missing_energy, survey_for
from hawqsearch.hardware.energy.meter import open_meter
from hawqsearch.hardware.targets import check_machine

if TYPE_CHECKING:
    from hawqsearch.core.hardware import HardwareProfile, Rig
    from hawqsearch.core.protocols import EnergyBackend
    from hawqsearch.core.target import Target
    from hawqsearch.pipeline import Context, Network

__all__ = ["Asked", "Source", "open_source"]

_ARM: Final = frozenset({"aarch64", "arm64"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the command line says of where to measure; None where it says nothing."""

    backend: str | None
    host: str | None
    port: int | None
    identity: Path | None
    python: str | None
    threads: int
    batch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A rig that can be had, and how to fill a profile of it.

    Args:
        energy: opens what meters it; raises `InputError` where it has no counter.
        times_whole: whether whole networks run there too, beside their parts.
        notes: what is unsteady about it.
        word: how to get other rows than those that are shown.
    """

    rig: Rig
    profile: Callable[[Network, Context], HardwareProfile]
    energy: Callable[[], EnergyBackend]
    times_whole: bool = False
    notes: tuple[str, ...] = ()
    word: str = "rows that were made before come from the cache, --no-cache makes all anew"


def open_source(target: Target, asked: Asked) -> Source:
    """Where the times of `target` come from.

    Raises:
        InputError: the options do not go together, or a part that can be installed is missing.
        DeviceError: the machine, board or GPU is not there or is none of the target's.
    """
    if target.runtime is None:
        raise InputError(
            f"{target.name} has no device: nothing to measure; `hawqsearch doctor` lists what can be measured here"
        )
    if asked.host is not None:
        return _board(target, asked, asked.host)
    if (asked.port, asked.identity, asked.python) != (None, None, None):
        raise InputError("--port, --identity and --python are about a board; name it with --host user@board")
    name = asked.backend or _default(target)
    if name == "shipped":
        return _shipped(target, asked)
    if name not in plugins.names("backends"):
        raise UnknownNameError("backend", name, plugins.names("backends"))
    if name not in plugins.BUILT_IN["backends"]:
        return _third_party(target, asked, name)
    if name in ("ssh", "cuda-ssh"):
        raise InputError(f"{name} measures a board or another machine; name it with --host user@board")
    if name not in _suited(target):
        raise InputError(f"{name} does not run {target.name}; use {' or '.join(_suited(target))}")
    return {"local": _local, "qemu": _simulated, "cuda": _gpu}[name](target, asked)


def _default(target: Target) -> str:
    if target.device == "tables":
        return "shipped"
    return "cuda" if target.on_gpu else "local"


def _suited(target: Target) -> tuple[str, ...]:
    if target.on_gpu:
        return ("cuda",)
    return ("local", "qemu") if target.device == "tables" else ("local",)


def _local(target: Target, asked: Asked) -> Source:
    """This machine."""
    check_machine(target)
    if target.device == "tables" and platform.machine() not in _ARM:
        raise DeviceError(
            f"this machine ({platform.machine()}) is none of {target.name}'s; name a board with --host user@board, "
            "simulate with --backend qemu, or leave --backend away for the shipped table"
        )
    from hawqsearch import pipeline  # torch and the runtime, once the input is known to be good
    from hawqsearch.hardware.local import LocalBackend

    rig = (
        _arm_rig(asked)
        if target.device == "tables"
        else pipeline.local_rig(target, threads=asked.threads, batch=asked.batch)
    )
    backend = LocalBackend()
    return Source(
        rig=rig,
        profile=lambda network, c: pipeline.profile(network, rig, backend, context=c),
        energy=lambda: _local_energy(target),
        times_whole=True,
    )


def _local_energy(target: Target) -> EnergyBackend:
    """This machine's counters."""
    from hawqsearch.hardware.energy.parts import LocalEnergy

    return LocalEnergy(open_meter(survey_for(target)))


def _no_energy(why: str) -> Callable[[], EnergyBackend]:
    def refuse() -> EnergyBackend:
        raise InputError(why)

    return refuse


def _third_party(target: Target, asked: Asked, name: str) -> Source:
    """A backend that another package brings, on this machine."""
    from hawqsearch import pipeline

    backend = plugins.build("backends", name)
    rig = pipeline.local_rig(target, threads=asked.threads, batch=asked.batch)
    return Source(
        rig=rig,
        profile=lambda network, c: pipeline.profile(network, rig, backend, context=c),
        energy=lambda: _local_energy(target),
    )


def _arm_rig(asked: Asked) -> Rig:
    """This machine as a board would name itself: Arm's kernels do not say the processor's name."""
    from hawqsearch.hardware.board.board import parse_board
    from hawqsearch.hardware.board.measure_onnx import describe
    from hawqsearch.runtime.find import find_runtime

    version = find_runtime("onnxruntime").version.removeprefix("onnxruntime ")
    return parse_board(describe(version, [0])).rig(threads=asked.threads, batch=asked.batch)


def _board(target: Target, asked: Asked, host: str) -> Source:
    """A board over ssh, with its own onnxruntime."""
    if asked.backend is not None:
        own = "hawqsearch" if target.on_gpu else "onnxruntime"
        raise InputError(f"--host measures with the machine's own {own}; leave --backend away")
    if target.on_gpu:
        return _other_gpu(asked, host)
    if target.runtime == "openvino":
        raise InputError("--host measures with the board's own onnxruntime; leave --runtime away")
    from hawqsearch import pipeline
    from hawqsearch.hardware.board.energy import open_board_energy
    from hawqsearch.hardware.board.ssh import SshBackend

    python = asked.python or "python3"
    backend = SshBackend(host=host, port=asked.port, identity=asked.identity, python=python)
    board = backend.describe()
    if target.device == "tables" and board.machine not in _ARM:
        raise DeviceError(f"{host} is {board.device} ({board.machine}), and {target.name} is 64-bit Arm")
    rig = board.rig(threads=asked.threads, batch=asked.batch)
    return Source(
        rig=rig,
        profile=lambda network, context: pipeline.profile(network, rig, backend, context=context),
        energy=lambda: open_board_energy(backend),
        notes=board.notes(),
    )


def _simulated(target: Target, asked: Asked) -> Source:
    """The runtime's aarch64 kernels under qemu."""
    from hawqsearch import pipeline
    from hawqsearch.hardware.arm.backend import QemuBackend
    from hawqsearch.hardware.arm.cores import parse_core
    from hawqsearch.hardware.arm.memory import working_set

    if asked.threads != 1:
        raise InputError(f"simulated kernels run on one thread, not on {asked.threads}; use --threads 1")
    core, folder = parse_core(target.variant), default_folder() / "arm"
    rig = QemuBackend(folder=folder, core=core).rig(batch=asked.batch)

    def profile(network: Network, context: Context) -> HardwareProfile:
        backend = QemuBackend(folder=folder, core=core, network=working_set(network.spec))
        return pipeline.profile(network, rig, backend, context=context)

    why = "a simulator has no counter; meter a board with --host user@board"
    return Source(rig=rig, profile=profile, energy=_no_energy(why))


def _gpu(target: Target, asked: Asked) -> Source:
    """A GPU of this machine."""
    if asked.threads != 1:
        raise InputError("threads are of a processor, and this target is a GPU; leave --threads away")
    from hawqsearch import pipeline
    from hawqsearch.hardware.cuda.backend import CudaBackend

    backend = CudaBackend()
    rig = backend.rig(batch=asked.batch)
    return Source(
        rig=rig,
        profile=lambda network, c: pipeline.profile(network, rig, backend, context=c),
        energy=_gpu_energy,
    )


def _other_gpu(asked: Asked, host: str) -> Source:
    """A GPU of another machine, over ssh, with the hawqsearch that is installed there."""
    if asked.threads != 1:
        raise InputError("threads are of a processor, and this target is a GPU; leave --threads away")
    from hawqsearch import pipeline
    from hawqsearch.hardware.cuda.ssh import CudaSshBackend

    python = asked.python or "python3"
    backend = CudaSshBackend(host=host, port=asked.port, identity=asked.identity, python=python)
    rig = backend.rig(batch=asked.batch)
    return Source(
        rig=rig,
        profile=lambda network, c: pipeline.profile(network, rig, backend, context=c),
        energy=_no_energy("energy of a GPU is metered on its own machine; run profile --energy there"),
    )


def _gpu_energy() -> EnergyBackend:
    """The counter of the GPU that is measured."""
    from hawqsearch.hardware.cuda.energy import open_cuda_energy

    return open_cuda_energy()


def _shipped(target: Target, asked: Asked) -> Source:
    """The tables that travel with the package; rows that they lack are predicted."""
    check_tables(target, threads=asked.threads, batch=asked.batch)
    from hawqsearch import pipeline
    from hawqsearch.hardware.arm.cores import parse_core
    from hawqsearch.hardware.shipped import shipped_profile

    rig = shipped_profile(parse_core(target.variant)).rig
    return Source(
        rig=rig,
        profile=lambda network, context: pipeline.shipped(network)[0],
        energy=_no_energy(str(missing_energy(target))),
        word="the shipped table; --host measures a board, --backend qemu simulates anew",
    )
