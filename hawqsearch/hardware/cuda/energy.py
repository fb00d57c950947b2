"""Energy of kernels and precision changes on a GPU, by the counter that NVML reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from hawqsearch.core.hardware import ChangeKey, Energy, KernelKey, Rig
from hawqsearch.core.target import Target
from hawqsearch.errors import DeviceError
from hawqsearch.hardware.cuda.device import Device, TorchCuda
from hawqsearch.hardware.cuda.workloads import change_work, float_math, kernel_work
from hawqsearch.hardware.energy.meter import Meter, open_meter
from hawqsearch.hardware.energy.parts import energy_of_part
from hawqsearch.hardware.energy.survey import gpu_survey

__all__ = ["CudaEnergy", "open_cuda_energy"]

Key = KernelKey | ChangeKey

_BURST_MS: Final = 5.0
"""Replays in a row before the host waits for the GPU: else it would idle between kernels that take microseconds."""


@dataclass(frozen=True, slots=True)
class CudaEnergy:
    """Parts metered on a GPU, each replayed alone, its operands in the cache where they fit.

    Args:
        device: None for the first GPU, opened when it is needed.
    """

    reader: Meter
    device: Device | None = field(default=None, repr=False)

    @property
    def counter(self) -> str:
        """What is read."""
        return self.reader.name

    def meter(
        self,
        target: Target,
        rig: Rig,
        times_ms: Mapping[Key, float],
        *,
        on_row: Callable[[Key, Energy], object],
    ) -> None:
        """Hand the energy of every part to `on_row`; raises `DeviceError` where the counter or CUDA fails."""
        del target
        device = TorchCuda() if self.device is None else self.device
        if rig.device != device.name:
            raise DeviceError(f"the rig says {rig.device}, but {device.name} is here")
        try:
            for key, time_ms in times_ms.items():
                replays = max(1, math.ceil(_BURST_MS / max(time_ms, 1e-3)))
                burst = partial(_repeat, _captured(key, device), replays)
                reading = self.reader.measure(partial(device.elapsed_ms, burst))
                on_row(key, energy_of_part(reading, time_ms))
        except RuntimeError as error:  # what torch raises for CUDA's errors
            raise DeviceError(f"CUDA failed on {device.name}: {str(error).splitlines()[0]}") from error


def open_cuda_energy(reader: Meter | None = None) -> CudaEnergy:
    """What meters the GPU that PyTorch uses; raises `InputError` with the reason where it has no counter.

    Args:
        reader: None for the GPU's own counter.
    """
    device = TorchCuda()
    return CudaEnergy(reader or open_meter(gpu_survey(device.uuid)), device)


def _captured(key: Key, device: Device) -> Callable[[], object]:
    if isinstance(key, ChangeKey):
        return device.captured(change_work(key, device.place))
    work = kernel_work(key, device.place, device.capability)
    with float_math(key.precision):
        return device.captured(work)


def _repeat(work: Callable[[], object], times: int) -> None:
    for _ in range(times):
        work()
