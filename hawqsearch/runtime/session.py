"""Opening an ONNX model in onnxruntime's CPU provider, always the same way."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # it starts a thread and writes a database otherwise

import onnxruntime as ort

from hawqsearch.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["open_session", "runtime_version"]

_QUIET = 3
_FAILURES = (
    ort.capi.onnxruntime_pybind11_state.Fail,
    ort.capi.onnxruntime_pybind11_state.InvalidGraph,
    ort.capi.onnxruntime_pybind11_state.InvalidProtobuf,
    ort.capi.onnxruntime_pybind11_state.NotImplemented,
    ort.capi.onnxruntime_pybind11_state.RuntimeException,
)


def runtime_version() -> str:
    """Version of the runtime, as profiles and run files record it."""
    return f"onnxruntime {ort.__version__}"


def open_session(
    model: bytes | Path,
    *,
    threads: int = 1,
    signed_activations: bool = False,
    keep_names: bool = False,
    profile_prefix: str | None = None,
) -> ort.InferenceSession:
    """A session on `threads` threads; raises `DeviceError` where the runtime refuses the model.

    Args:
        signed_activations: keep int8 activations as they are (Arm's kernels) instead of making them uint8.
        keep_names: stop at the optimization level that keeps node names, the same kernels otherwise.
        profile_prefix: write a profile of every run to a file that begins so.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _QUIET
    levels = ort.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_EXTENDED if keep_names else levels.ORT_ENABLE_ALL
    for key, value in _entries(signed_activations).items():
        options.add_session_config_entry(key, value)
    if profile_prefix is not None:
        options.enable_profiling = True
        options.profile_file_prefix = profile_prefix
    source = model if isinstance(model, bytes) else str(model)
    try:
        return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except _FAILURES as error:
        raise DeviceError(f"onnxruntime cannot load the model: {str(error).splitlines()[0]}") from error


def _entries(signed_activations: bool) -> Mapping[str, str]:
    return {"session.qdqisint8allowed": "1"} if signed_activations else {}
