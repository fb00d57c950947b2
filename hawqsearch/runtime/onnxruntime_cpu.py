"""onnxruntime's CPU provider, opened always the same way; its own profile tells which kernels ran."""

from __future__ import annotations

import json
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # it starts a thread and writes a database otherwise

import onnxruntime as ort

from hawqsearch.errors import DeviceError
from hawqsearch.runtime.interface import Arithmetic, Feed, KernelRun

__all__ = ["OnnxRuntime"]

_INT8: Final = frozenset({"QLinearConv", "QGemm", "QLinearMatMul", "MatMulIntegerToFloat"})
_FLOAT: Final = frozenset({"Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "FusedMatMul", "MatMulNBits"})
_QUIET: Final = 3
_FAILURES: Final = (
    ort.capi.onnxruntime_pybind11_state.Fail,
    ort.capi.onnxruntime_pybind11_state.InvalidGraph,
    ort.capi.onnxruntime_pybind11_state.InvalidProtobuf,
    ort.capi.onnxruntime_pybind11_state.NotImplemented,
    ort.capi.onnxruntime_pybind11_state.RuntimeException,
)


@dataclass(frozen=True, slots=True)
class OnnxRuntime:
    """onnxruntime on this machine's processor."""

    @property
    def name(self) -> str:
        """As target files write it."""
        return "onnxruntime"

    @property
    def version(self) -> str:
        """Name and version."""
        return f"onnxruntime {ort.__version__}"

    @property
    def fuses(self) -> bool:
        """A quantizer is a node of its own."""
        return False

    @contextmanager
    def open(
        self, model: bytes, *, threads: int = 1, signed_activations: bool = False, profiled: bool = False
    ) -> Iterator[OrtSession]:
        """A session on `threads` threads; raises `DeviceError` where onnxruntime refuses the model."""
        options = _options(threads=threads, signed_activations=signed_activations)
        with _opened(model, options, profiled=profiled) as session:
            yield session

    def kernels_ran(self, model: bytes, feed: Feed, *, signed_activations: bool = False) -> dict[str, str]:
        """Node name -> operator that ran, at the level of optimization where names survive: the same kernels."""
        options = _options(threads=1, signed_activations=signed_activations)
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        with _opened(model, options, profiled=True) as session:
            session.run(feed)
            return {run.name.removeprefix("fused "): run.op for run in session.kernels()}

    def arithmetic(self, op: str) -> Arithmetic | None:
        """What a kernel with weights computes in."""
        if op in _INT8:
            return Arithmetic.INT8
        return Arithmetic.FLOAT if op in _FLOAT else None


@dataclass(frozen=True, slots=True)
class OrtSession:
    """An onnxruntime session; made by `OnnxRuntime.open`."""

    session: ort.InferenceSession
    is_profiled: bool = False

    def run(self, feed: Feed) -> list[np.ndarray]:
        """The outputs, in the model's order."""
        outputs: list[np.ndarray] = self.session.run(None, feed)
        return outputs

    def kernels(self, *, skip_runs: int = 0) -> list[KernelRun]:
        """Nodes in the order they ran; ends the session's profiling."""
        if not self.is_profiled:
            return []
        events = json.loads(Path(self.session.end_profiling()).read_text())
        times: dict[tuple[str, str], list[float]] = defaultdict(list)
        for event in events:
            if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
                key = event["name"].removesuffix("_kernel_time"), event["args"]["op_name"]
                times[key].append(event["dur"] / 1000)
        return [KernelRun(name=n, op=op, times_ms=tuple(t[skip_runs:])) for (n, op), t in times.items()]


def _options(*, threads: int, signed_activations: bool) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _QUIET
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    if signed_activations:  # Arm's kernels; they would be made unsigned otherwise
        options.add_session_config_entry("session.qdqisint8allowed", "1")
    return options


@contextmanager
def _opened(model: bytes, options: ort.SessionOptions, *, profiled: bool) -> Iterator[OrtSession]:
    """A session; the folder that its profile goes to is removed after."""
    if not profiled:
        yield OrtSession(_load(model, options))
        return
    with tempfile.TemporaryDirectory(prefix="hawqsearch-") as folder:
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        yield OrtSession(_load(model, options), is_profiled=True)


def _load(model: bytes, options: ort.SessionOptions) -> ort.InferenceSession:
    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except _FAILURES as error:
        raise DeviceError(f"onnxruntime cannot load the model: {str(error).splitlines()[0]}") from error
