"""A GPU's clocks and temperature, through NVML where its binding is installed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from hawqsearch.errors import DeviceError

__all__ = ["Conditions", "read_conditions"]

_SM, _MEMORY, _TEMPERATURE = 1, 2, 0  # NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU
_SLOWED: Final = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}  # nvmlClocksEventReason…, from nvml.h


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What a GPU ran at when a round began; `slowed` says why it was below its clock."""

    sm_mhz: int
    memory_mhz: int
    temperature_c: int
    slowed: tuple[str, ...]


def read_conditions(uuid: str, library: Any) -> Conditions:
    """The GPU of that UUID now; raises `DeviceError` where NVML does not say.

    Args:
        library: the `pynvml` module.
    """
    try:
        library.nvmlInit()
        handle = library.nvmlDeviceGetHandleByUUID(uuid)
        reasons = library.nvmlDeviceGetCurrentClocksThrottleReasons(handle)
        return Conditions(
            sm_mhz=library.nvmlDeviceGetClockInfo(handle, _SM),
            memory_mhz=library.nvmlDeviceGetClockInfo(handle, _MEMORY),
            temperature_c=library.nvmlDeviceGetTemperature(handle, _TEMPERATURE),
            slowed=tuple(why for bit, why in _SLOWED.items() if reasons & bit),
        )
    except library.NVMLError as error:
        raise DeviceError(f"NVML does not say what {uuid} runs at: {error}") from None
