"""NVIDIA's own energy counter (Volta and later), through NVML."""

from __future__ import annotations

import importlib
import importlib.util
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from hawqsearch.errors import DeviceError, MissingDependencyError

__all__ = ["NvmlCounter", "load_nvml", "open_nvml"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NvmlCounter:
    """Energy of one GPU, memory included.

    Args:
        library: the `pynvml` module, initialised.
        handle: the device's, from that library.
    """

    gpu: str
    library: Any = field(repr=False)
    handle: Any = field(repr=False)

    @property
    def name(self) -> str:
        """What it meters."""
        return f"NVML {self.gpu}"

    @property
    def wrap_uj(self) -> float | None:
        """64 bits of millijoules do not wrap."""
        return None

    @property
    def resolution_uj(self) -> float:
        """A millijoule."""
        return 1e3

    @property
    def update_s(self) -> float:
        """The slowest refresh in use (Yang et al. 2024, "Accurate and Convenient Energy Measurements for GPUs")."""
        return 0.1

    def read_uj(self) -> float:
        """What it shows now."""
        try:
            return float(self.library.nvmlDeviceGetTotalEnergyConsumption(self.handle)) * 1e3
        except self.library.NVMLError as error:
            raise DeviceError(
                f"{self.name} cannot be read: {error} (Volta and later have a counter)"
            ) from None

    def metering(self) -> AbstractContextManager[None]:
        """The driver counts by itself."""
        return nullcontext()


def open_nvml(gpu: int | str = 0, library: Any = None) -> NvmlCounter:
    """The counter of a GPU.

    Args:
        gpu: NVML's number of it, or its UUID (`GPU-…`).
        library: `pynvml`, or what stands in for it; None loads it.

    Raises:
        MissingDependencyError: NVML's binding is not installed.
        DeviceError: there is no driver, no such GPU, or it has no counter.
    """
    nvml = load_nvml() if library is None else library
    try:
        nvml.nvmlInit()
        by = nvml.nvmlDeviceGetHandleByUUID if isinstance(gpu, str) else nvml.nvmlDeviceGetHandleByIndex
        handle = by(gpu)
        name = nvml.nvmlDeviceGetName(handle)
    except nvml.NVMLError as error:
        named = gpu if isinstance(gpu, str) else f"number {gpu}"
        raise DeviceError(f"no NVIDIA GPU {named} here: {error}") from None
    counter = NvmlCounter(gpu=name, library=nvml, handle=handle)
    counter.read_uj()
    return counter


def load_nvml() -> Any:
    """The `pynvml` module; raises `MissingDependencyError` where it is not installed."""
    if importlib.util.find_spec("pynvml") is None:
        raise MissingDependencyError(
            "reading a GPU's energy, clocks and temperature needs NVML's binding: pip install 'hawqsearch[nvml]'"
        )
    return importlib.import_module("pynvml")
