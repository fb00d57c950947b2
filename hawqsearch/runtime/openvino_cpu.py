"""OpenVINO's CPU plugin, opened always the same way; its own counters and runtime graph tell which kernels ran."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import onnx

from hawqsearch.errors import DeviceError
from hawqsearch.runtime.interface import Arithmetic, Feed, KernelRun
from hawqsearch.runtime.without_telemetry import openvino as ov

__all__ = ["OpenVino"]

_OPTIONS: Final[Mapping[str, Any]] = {
    "INFERENCE_PRECISION_HINT": "f32",  # else float layers run in bf16 where the processor has it
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,  # else weight-only layers quantize what they read
    "NUM_STREAMS": 1,
    "ENABLE_CPU_PINNING": False,  # two sessions at once would be pinned to the same core
}
_WEIGHTED: Final = frozenset({"Convolution", "GroupConvolution", "FullyConnected", "MatMul"})
_NO_KERNEL: Final = frozenset({"Parameter", "Input", "Result", "Output", "Constant", "Const"})
_FUSED: Final = "undef"
"""The primitive of a node that another one computes."""
_IN_PLACE: Final = "unknown"
"""How the primitive begins of a node that computes nothing."""
_TOLD: Final = frozenset({"layerType", "primitiveType", "originalLayersNames"})
_SETTLING: Final = 6
"""Runs after loading that are not counted: the first takes several times as long."""
_WINDOW: Final = 48
"""Runs after which the model is loaded anew, so that one disturbed run does not spoil the mean of all."""


@dataclass(frozen=True, slots=True)
class OpenVino:
    """OpenVINO on this machine's processor.

    Operators are told with the primitive that computes them: `Convolution brgconv_avx512_I8`.
    """

    @property
    def name(self) -> str:
        """As target files write it."""
        return "openvino"

    @property
    def version(self) -> str:
        """Name and version."""
        return f"openvino {ov.__version__.partition('-')[0]}"

    @property
    def fuses(self) -> bool:
        """A quantizer runs in the kernel that writes the tensor."""
        return True

    @contextmanager
    def open(
        self, model: bytes, *, threads: int = 1, signed_activations: bool = False, profiled: bool = False
    ) -> Iterator[OpenVinoSession | ProfiledSession]:
        """A session on `threads` threads; raises `DeviceError` where OpenVINO refuses the model.

        Args:
            signed_activations: nothing to set: the model's own types are kept.
        """
        del signed_activations
        loaded = _Loaded(model, threads=threads)
        yield ProfiledSession(loaded) if profiled else OpenVinoSession(loaded.request())

    def kernels_ran(self, model: bytes, feed: Feed, *, signed_activations: bool = False) -> dict[str, str]:
        """Node of the file -> what ran it, from the graph that is executed."""
        del feed, signed_activations
        writers = _behind_outputs(onnx.load_from_string(model).graph)
        ran: dict[str, str] = {}
        for node in _Loaded(model, threads=1).compiled().get_runtime_model().get_ordered_ops():
            told = {key: value.astype(str) for key, value in node.get_rt_info().items() if key in _TOLD}
            if told["layerType"] not in _NO_KERNEL:
                op = f"{told['layerType']} {told['primitiveType']}"
                ran |= {writers.get(name, name): op for name in told["originalLayersNames"].split(",")}
        return ran

    def arithmetic(self, op: str) -> Arithmetic | None:
        """What a kernel with weights computes in."""
        kind, _, primitive = op.partition(" ")
        if not any(kind.startswith(weighted) for weighted in _WEIGHTED):
            return None
        return Arithmetic.INT8 if primitive.lower().endswith("_i8") else Arithmetic.FLOAT


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A model, and how it is to be run."""

    content: bytes
    threads: int = field(kw_only=True)

    def compiled(self, *, profiled: bool = False) -> ov.CompiledModel:
        """The model made ready for this machine, its counters at zero."""
        options = {**_OPTIONS, "INFERENCE_NUM_THREADS": self.threads, "PERF_COUNT": profiled}
        try:
            return _core().compile_model(_core().read_model(self.content), "CPU", options)
        except RuntimeError as error:
            raise DeviceError(f"openvino cannot load the model: {_reason(error)}") from error

    def request(self, *, profiled: bool = False) -> ov.InferRequest:
        """The same, to be run."""
        return self.compiled(profiled=profiled).create_infer_request()


@functools.cache
def _core() -> ov.Core:
    return ov.Core()


def _reason(error: RuntimeError) -> str:
    """The last line that says something: those before say where in the source."""
    lines = [line.strip() for line in str(error).splitlines()]
    said = [line for line in lines if line and not line.startswith(("Exception from", "Check '"))]
    return said[-1] if said else "it does not say why"


def _run(request: ov.InferRequest, feed: Feed) -> list[np.ndarray]:
    return list(request.infer(feed, share_inputs=True).values())


def _behind_outputs(graph: onnx.GraphProto) -> dict[str, str]:
    """Output of the model -> node of a layer that computes it: OpenVINO names that node after the output."""
    writers = {output: node for node in graph.node for output in node.output}
    found = {}
    for output in graph.output:
        node = writers.get(output.name)
        while node is not None and "/" not in node.name:
            node = writers.get(node.input[0]) if node.input else None
        if node is not None:
            found[output.name] = node.name
    return found


@dataclass(frozen=True, slots=True)
class OpenVinoSession:
    """A model that is run and not timed node by node; made by `OpenVino.open`."""

    request: ov.InferRequest

    def run(self, feed: Feed) -> list[np.ndarray]:
        """The outputs, in the model's order."""
        return _run(self.request, feed)

    def kernels(self, *, skip_runs: int = 0) -> list[KernelRun]:
        """None: it was not opened to be profiled."""
        del skip_runs
        return []


@dataclass(slots=True)
class ProfiledSession:
    """A model that is timed node by node, window by window; made by `OpenVino.open`."""

    loaded: _Loaded
    window: _Window | None = None
    closed: list[list[KernelRun]] = field(default_factory=list)

    def run(self, feed: Feed) -> list[np.ndarray]:
        """The outputs, in the model's order."""
        if self.window is None or len(self.window.walls_ns) == _WINDOW:
            self._close()
            self.window = _Window.open(self.loaded, feed)
        return self.window.run(feed)

    def kernels(self, *, skip_runs: int = 0) -> list[KernelRun]:
        """Nodes in the order they ran, which is the same in every window; numbers in their names are not."""
        self._close()
        return [
            replace(node[0], times_ms=tuple(ms for run in node for ms in run.times_ms)[skip_runs:])
            for node in zip(*self.closed, strict=True)
        ]

    def _close(self) -> None:
        if self.window is not None:
            self.closed.append(self.window.kernels())
            self.window = None


@dataclass(frozen=True, slots=True)
class _Window:
    """Runs of a model since it was loaded.

    OpenVINO keeps the mean of a node over all runs since then, cut to whole microseconds like each run before. The
    mean over a window is got from that, and the clock says how long each run took: a node's time in a run is its
    mean, scaled as that run is to the mean run.
    """

    request: ov.InferRequest
    settled_us: Mapping[str, int]
    walls_ns: list[int] = field(default_factory=list)

    @classmethod
    def open(cls, loaded: _Loaded, feed: Feed) -> _Window:
        """A window whose first run is no slower than the others."""
        request = loaded.request(profiled=True)
        for _ in range(_SETTLING):
            _run(request, feed)
        return cls(request, {node.node_name: _whole_us(node) for node in request.profiling_info})

    def run(self, feed: Feed) -> list[np.ndarray]:
        """The outputs, in the model's order."""
        start = time.perf_counter_ns()
        outputs = _run(self.request, feed)
        self.walls_ns.append(time.perf_counter_ns() - start)
        return outputs

    def kernels(self) -> list[KernelRun]:
        """Nodes in the order they ran."""
        walls = np.asarray(self.walls_ns, np.float64)
        shares = walls / walls.mean()
        return [
            KernelRun(
                name=node.node_name,
                op=f"{node.node_type} {node.exec_type}",
                times_ms=tuple((self._mean_us(node) / 1000 * shares).tolist()),
            )
            for node in self.request.profiling_info
            if node.node_type not in _NO_KERNEL and node.exec_type != _FUSED
        ]

    def _mean_us(self, node: ov.ProfilingInfo) -> float:
        """Mean of a node over the window: what was cut off is half a microsecond on average, twice."""
        if node.exec_type.startswith(_IN_PLACE):
            return 0.0
        n = len(self.walls_ns)
        total = (_SETTLING + n) * (_whole_us(node) + 0.5) - _SETTLING * (
            self.settled_us[node.node_name] + 0.5
        )
        return max(total / n + 0.5, 0.5)


def _whole_us(node: ov.ProfilingInfo) -> int:
    return int(node.real_time.total_seconds() * 1e6 + 0.5)
