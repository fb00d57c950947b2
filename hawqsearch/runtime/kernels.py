"""Which kernels a session really ran, and for how long, from onnxruntime's own profile."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort

from hawqsearch.runtime.session import open_session

__all__ = ["FLOAT_KERNELS", "INT8_KERNELS", "KernelRun", "kernels_ran", "profiled", "read_profile"]

INT8_KERNELS = frozenset({"QLinearConv", "QGemm", "QLinearMatMul", "MatMulIntegerToFloat"})
FLOAT_KERNELS = frozenset({"Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "FusedMatMul", "MatMulNBits"})


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelRun:
    """One node of the executed graph: its operator, and the time of each run in ms."""

    name: str
    op: str
    times_ms: tuple[float, ...]

    @property
    def median_ms(self) -> float:
        """Median over runs."""
        return float(np.median(self.times_ms))


@contextmanager
def profiled(
    model: bytes | Path, *, threads: int = 1, signed_activations: bool = False, keep_names: bool = False
) -> Iterator[tuple[ort.InferenceSession, Path]]:
    """A session that profiles itself, and the folder its profile goes to; the folder is removed after."""
    with tempfile.TemporaryDirectory(prefix="hawqsearch-") as folder:
        session = open_session(
            model,
            threads=threads,
            signed_activations=signed_activations,
            keep_names=keep_names,
            profile_prefix=str(Path(folder) / "profile"),
        )
        yield session, Path(folder)


def read_profile(session: ort.InferenceSession, *, skip_runs: int = 0) -> list[KernelRun]:
    """Nodes in the order they ran; ends the session's profiling."""
    path = Path(session.end_profiling())
    events = json.loads(path.read_text())
    path.unlink()
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            key = event["name"].removesuffix("_kernel_time"), event["args"]["op_name"]
            times[key].append(event["dur"] / 1000)
    return [KernelRun(name=n, op=op, times_ms=tuple(t[skip_runs:])) for (n, op), t in times.items()]


def kernels_ran(
    model: bytes | Path, feed: Mapping[str, np.ndarray], *, signed_activations: bool = False
) -> dict[str, str]:
    """Node name -> operator that ran, at the level where node names survive."""
    with profiled(model, signed_activations=signed_activations, keep_names=True) as (session, _):
        session.run(None, dict(feed))
        return {run.name: run.op for run in read_profile(session)}
