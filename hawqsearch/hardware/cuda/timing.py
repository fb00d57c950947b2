"""Works timed on a device in turn, each with the cache emptied before it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import torch

from hawqsearch.errors import DeviceError
from hawqsearch.hardware.cuda.device import Device

__all__ = ["time_in_turn", "warm_up"]

K = TypeVar("K")

_STABLE: Final = 0.02
_MOST_WARM_UPS: Final = 50


def time_in_turn(
    device: Device,
    works: Mapping[K, Callable[[], object]],
    *,
    rounds: int,
    burst: int,
    on_round: Callable[[int], object] = lambda done: None,
) -> dict[K, list[float]]:
    """Milliseconds of every run: `rounds` x `burst` of each, in turn, the order reversed every other round.

    Before each run as many bytes are written as empty the device's cache: the weights of a layer come from
    memory in a network too; so does its input here, which a small layer may find in the cache there.
    """
    times: dict[K, list[float]] = {key: [] for key in works}
    flush = _flusher(device)
    for index in range(rounds):
        for key in list(works)[:: 1 if index % 2 == 0 else -1]:
            times[key] += [_time(device, works[key], flush) for _ in range(burst)]
        on_round(1)
    return times


def warm_up(device: Device, works: Mapping[K, Callable[[], object]]) -> int:
    """Run all works in turn until a round takes as long as the one before; how many rounds that took."""
    flush, before = _flusher(device), math.inf
    for done in range(1, _MOST_WARM_UPS + 1):
        now = math.fsum(_time(device, work, flush) for work in works.values())
        if abs(now - before) <= _STABLE * now:
            return done
        before = now
    return _MOST_WARM_UPS


def _flusher(device: Device) -> Callable[[], object]:
    buffer = torch.empty(device.flush_bytes, dtype=torch.int8, device=device.place)
    return buffer.zero_


def _time(device: Device, work: Callable[[], object], flush: Callable[[], object]) -> float:
    flush()
    elapsed = device.elapsed_ms(work)
    if not math.isfinite(elapsed) or elapsed < 0:
        raise DeviceError(f"the device's clock says that a kernel took {elapsed} ms; measure again")
    return elapsed
