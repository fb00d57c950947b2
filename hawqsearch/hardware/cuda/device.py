"""The one door to CUDA: everything that needs a GPU is behind `Device`."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

import torch

from hawqsearch.errors import DeviceError
from hawqsearch.hardware.cuda.conditions import Conditions, read_conditions
from hawqsearch.hardware.energy.nvml import load_nvml

__all__ = ["Device", "TorchCuda", "check_cuda"]

_WARM_UPS = 3
_FLUSH = 2  # times the cache
_LAUNCH_BYTES = 2**28  # as Triton's do_bench writes: 0.08 ms at 3 TB/s, and a launch takes 0.01


class Device(Protocol):
    """A GPU, or what stands in for one."""

    @property
    def place(self) -> torch.device:
        """Where its tensors are."""
        ...

    @property
    def name(self) -> str:
        """The device's own name."""
        ...

    @property
    def runtime(self) -> str:
        """Versions of PyTorch and CUDA."""
        ...

    @property
    def capability(self) -> tuple[int, int]:
        """Compute capability: which kernels it can run."""
        ...

    @property
    def flush_bytes(self) -> int:
        """How much to write so that its caches hold nothing of what ran before."""
        ...

    def captured(self, work: Callable[[], object]) -> Callable[[], object]:
        """`work` warmed up and recorded, so that a replay costs no launch."""
        ...

    def elapsed_ms(self, work: Callable[[], object]) -> float:
        """Time of `work` by the device's own clock."""
        ...

    def conditions(self) -> Conditions | None:
        """Clocks and temperature; None where nothing says them."""
        ...


@dataclass(frozen=True, slots=True)
class _Replay:
    """A captured graph and the work that it was captured from, which owns the operands: the graph does not."""

    graph: Any
    work: Callable[[], object]

    def __call__(self) -> object:
        return self.graph.replay()


class TorchCuda:
    """GPU number `index` of PyTorch; raises `DeviceError` where there is none.

    Args:
        cuda: `torch.cuda`, or what stands in for it.
        nvml: `pynvml`, or what stands in for it; None loads it where it is installed.
    """

    def __init__(self, index: int = 0, *, cuda: Any = torch.cuda, nvml: ModuleType | Any = None) -> None:
        check_cuda(cuda)
        if index >= cuda.device_count():
            raise DeviceError(f"there is no GPU number {index} here, only {cuda.device_count()}")
        self._index = index
        self._cuda = cuda
        self._properties = cuda.get_device_properties(index)
        installed = importlib.util.find_spec("pynvml") is not None
        self._nvml = load_nvml() if nvml is None and installed else nvml

    @property
    def place(self) -> torch.device:
        """Where its tensors are."""
        return torch.device("cuda", self._index)

    @property
    def name(self) -> str:
        """The device's own name."""
        name: str = self._properties.name
        return name

    @property
    def runtime(self) -> str:
        """Versions of PyTorch and CUDA."""
        return f"torch {torch.__version__}, CUDA {torch.version.cuda}"

    @property
    def capability(self) -> tuple[int, int]:
        """Compute capability."""
        return self._properties.major, self._properties.minor

    @property
    def uuid(self) -> str:
        """What NVML knows it by, however PyTorch numbers it."""
        return f"GPU-{self._properties.uuid}"

    @property
    def flush_bytes(self) -> int:
        """Twice its last cache, and so much that the writing outlasts the launch of what is timed after it: the GPU
        would wait for the processor between the two events otherwise."""
        l2_bytes: int = self._properties.L2_cache_size
        return max(_FLUSH * l2_bytes, _LAUNCH_BYTES)

    def captured(self, work: Callable[[], object]) -> Callable[[], object]:
        """`work` as a CUDA graph, warmed up on a stream of its own as capturing demands."""
        with self._cuda.device(self._index):
            side, main = self._cuda.Stream(), self._cuda.current_stream()
            side.wait_stream(main)
            with self._cuda.stream(side):
                for _ in range(_WARM_UPS):
                    work()
            main.wait_stream(side)
            graph = self._cuda.CUDAGraph()
            with self._cuda.graph(graph):
                work()
        return _Replay(graph, work)

    def elapsed_ms(self, work: Callable[[], object]) -> float:
        """Time between two events on the stream; a resolution of half a microsecond."""
        with self._cuda.device(self._index):
            start, end = (self._cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            work()
            end.record()
            end.synchronize()
        elapsed: float = start.elapsed_time(end)
        return elapsed

    def conditions(self) -> Conditions | None:
        """Clocks and temperature; None without NVML's binding."""
        if self._nvml is None:
            return None
        return read_conditions(self.uuid, self._nvml)


def check_cuda(cuda: Any = torch.cuda) -> None:
    """Raise `DeviceError` where PyTorch sees no GPU, with how to profile one."""
    if not cuda.is_available():
        built = "" if torch.version.cuda else " (and this PyTorch is built without CUDA)"
        raise DeviceError(
            f"cuda-int8 needs an NVIDIA GPU, and none is here{built}; run `hawqsearch profile --target cuda-int8` "
            "on the machine that has it, or here with --host user@machine"
        )
