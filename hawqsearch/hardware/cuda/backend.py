"""Kernels and precision changes measured in PyTorch on an NVIDIA GPU."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.hardware import ChangeKey, HardwareProfile, KernelKey, Measurement, Rig
from hawqsearch.core.target import Target
from hawqsearch.core.timing import relative_half_width
from hawqsearch.errors import DeviceError
from hawqsearch.hardware.cuda.conditions import Conditions
from hawqsearch.hardware.cuda.device import Device, TorchCuda
from hawqsearch.hardware.cuda.timing import time_in_turn, warm_up
from hawqsearch.hardware.cuda.workloads import change_work, float_math, kernel_work

__all__ = ["CudaBackend"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CudaBackend:
    """PyTorch's kernels on a GPU, each captured as a CUDA graph, timed by CUDA events, cache emptied before.

    Args:
        device: None for the first GPU, opened when it is needed.
        on_conditions: called with clocks and temperature before each round, where NVML says them.
    """

    rounds: int = 30
    burst: int = 5
    device: Device | None = field(default=None, repr=False)
    on_conditions: Callable[[Conditions], object] = field(default=lambda now: None, repr=False)

    @property
    def n_rounds(self) -> int:
        """How many rounds `measure` takes, without those that warm up."""
        return self.rounds

    def rig(self, *, batch: int) -> Rig:
        """The GPU as `measure` wants it named; raises `DeviceError` where there is none."""
        device = self._open()
        return Rig(device=device.name, runtime=device.runtime, threads=1, batch=batch)

    def measure(
        self,
        target: Target,
        rig: Rig,
        kernels: Iterable[KernelKey],
        changes: Iterable[ChangeKey],
        *,
        on_round: Callable[[int], object] = lambda done: None,
    ) -> HardwareProfile:
        """Measured times of every kernel and change.

        Raises:
            DeviceError: there is no GPU, it is another than the rig's, too old, or it failed.
            InputError: PyTorch has no such kernel.
        """
        device = self._open()
        if rig.device != device.name:
            raise DeviceError(f"the rig says {rig.device}, but {device.name} is here")
        works: dict[KernelKey | ChangeKey, Callable[[], object]] = {}
        try:
            for kernel in kernels:
                work = kernel_work(kernel, device.place, device.capability)
                with float_math(kernel.precision):
                    works[kernel] = device.captured(work)
            for change in changes:
                works[change] = device.captured(change_work(change, device.place))
            times = self._time(device, works, on_round)
        except RuntimeError as error:  # what torch raises for CUDA's errors, memory that ran out among them
            raise DeviceError(f"CUDA failed on {device.name}: {str(error).splitlines()[0]}") from error
        rows = {key: _measurement(samples, self.burst) for key, samples in times.items()}
        return HardwareProfile(
            target=target.name,
            rig=rig,
            date=_today(),
            kernels=FrozenDict({k: m for k, m in rows.items() if isinstance(k, KernelKey)}),
            changes=FrozenDict({k: m for k, m in rows.items() if isinstance(k, ChangeKey)}),
        )

    def _time(
        self,
        device: Device,
        works: dict[KernelKey | ChangeKey, Callable[[], object]],
        on_round: Callable[[int], object],
    ) -> dict[KernelKey | ChangeKey, list[float]]:
        def after(done: int) -> None:
            self._tell_conditions(device)
            on_round(done)

        warm_up(device, works)
        self._tell_conditions(device)
        return time_in_turn(device, works, rounds=self.rounds, burst=self.burst, on_round=after)

    def _tell_conditions(self, device: Device) -> None:
        now = device.conditions()
        if now is not None:
            self.on_conditions(now)

    def _open(self) -> Device:
        return TorchCuda() if self.device is None else self.device


def _measurement(samples: list[float], burst: int) -> Measurement:
    """Quartiles of all runs; the interval is of the median over rounds of `burst` runs."""
    low, median, high = np.quantile(samples, [0.25, 0.5, 0.75])
    rounds = tuple(np.median(np.reshape(samples, (-1, burst)), axis=1).tolist())
    width = relative_half_width(rounds)
    return Measurement(
        median_ms=float(median),
        low_ms=float(low),
        high_ms=float(high),
        n=len(samples),
        date=_today(),
        half_width=width if math.isfinite(width) else None,
    )


def _today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()
