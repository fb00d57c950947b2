"""Kernels and precision changes measured by the runtime's own profiler on this machine."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.hardware import Change, ChangeKey, HardwareProfile, KernelKey, Measurement, Rig
from hawqsearch.core.target import Target
from hawqsearch.errors import DeviceError
from hawqsearch.hardware.micro import change_model, kernel_model
from hawqsearch.runtime.find import find_runtime
from hawqsearch.runtime.interface import KernelRun

__all__ = ["LocalBackend", "between_kernels", "kernel_time"]

_TYPES: Final = {TensorProto.FLOAT: np.float32, TensorProto.UINT8: np.uint8, TensorProto.INT8: np.int8}
_AROUND: Final = frozenset(
    {"ReorderInput", "ReorderOutput", "Transpose", "QuantizeLinear", "DequantizeLinear"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalBackend:
    """The target's runtime on this machine.

    Candidates are interleaved: every model runs `burst` times in turn, `rounds` times over, so that a
    drifting clock hits all alike. The first burst warms up and is not counted.
    """

    rounds: int = 12
    burst: int = 8

    @property
    def n_rounds(self) -> int:
        """How many rounds `measure` takes, the one that warms up included."""
        return self.rounds + 1

    def measure(
        self,
        target: Target,
        rig: Rig,
        kernels: Iterable[KernelKey],
        changes: Iterable[ChangeKey],
        *,
        on_round: Callable[[int], object] = lambda done: None,
    ) -> HardwareProfile:
        """Measured times of every kernel and change; raises `DeviceError` where the runtime fails."""
        models: dict[KernelKey | ChangeKey, onnx.ModelProto] = {}
        for kernel in kernels:
            int8 = kernel.precision != "fp32"
            models[kernel] = kernel_model(kernel.signature, int8=int8, scheme=target.scheme)
        for change in changes:
            models[change] = change_model(
                change.shape, to_int8=change.change is Change.TO_INT8, scheme=target.scheme
            )
        runs = self._run(models, target, rig, on_round)
        return HardwareProfile(
            target=target.name,
            rig=rig,
            date=_today(),
            kernels=FrozenDict({k: kernel_time(r) for k, r in runs.items() if isinstance(k, KernelKey)}),
            changes=FrozenDict({k: between_kernels(r) for k, r in runs.items() if isinstance(k, ChangeKey)}),
        )

    def _run(
        self,
        models: Mapping[KernelKey | ChangeKey, onnx.ModelProto],
        target: Target,
        rig: Rig,
        on_round: Callable[[int], object],
    ) -> dict[KernelKey | ChangeKey, list[KernelRun]]:
        runtime = find_runtime(str(target.runtime))
        with ExitStack() as stack:
            sessions = {}
            for key, model in models.items():
                context = runtime.open(
                    model.SerializeToString(),
                    threads=rig.threads,
                    signed_activations=target.scheme.signed_activations,
                    profiled=True,
                )
                sessions[key] = stack.enter_context(context), _feed(model)
            for _ in range(self.n_rounds):
                for session, feed in sessions.values():
                    for _ in range(self.burst):
                        session.run(feed)
                on_round(1)
            return {key: s.kernels(skip_runs=self.burst) for key, (s, _) in sessions.items()}


def _feed(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    feed = {}
    for value in model.graph.input:
        kind = value.type.tensor_type
        shape = [d.dim_value for d in kind.shape.dim]
        feed[value.name] = (rng.random(shape) * 5).astype(_TYPES[kind.elem_type])
    return feed


def kernel_time(runs: list[KernelRun]) -> Measurement:
    """Everything but what brings tensors in and out of the kernel's layout and type."""
    own = [run.times_ms for run in runs if run.op not in _AROUND]
    if not own:
        raise DeviceError(f"the runtime's profile shows no kernel, only {sorted({r.op for r in runs})}")
    return _measurement(np.sum(np.asarray(own), axis=0))


def between_kernels(runs: list[KernelRun]) -> Measurement:
    """What ran between the two kernels of a change."""
    first, second = (
        next(i for i, r in enumerate(runs) if r.name.startswith(f"kernel{k}") and _is_kernel(r))
        for k in (0, 1)
    )
    between = [run.times_ms for run in runs[first + 1 : second]]
    if not between:
        raise DeviceError("the runtime ran nothing between two kernels of different precision")
    return _measurement(np.sum(np.asarray(between), axis=0))


def _is_kernel(run: KernelRun) -> bool:
    return run.op not in _AROUND and run.op != "Cast"


def _measurement(times_ms: np.ndarray) -> Measurement:
    """Interquartile mean and quartiles: the runtime's profiler counts whole microseconds, and the mean of the
    middle half is finer than that while it ignores runs that were disturbed, as a median does."""
    ordered = np.sort(times_ms)
    quarter = len(ordered) // 4
    low, high = np.quantile(ordered, [0.25, 0.75])
    middle = float(ordered[quarter : len(ordered) - quarter].mean())
    return Measurement(
        median_ms=middle, low_ms=float(low), high_ms=float(high), n=len(ordered), date=_today()
    )


def _today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()
