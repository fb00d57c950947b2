"""What a board says of itself, and what of that stands in the way of steady times."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from hawqsearch.core.hardware import Rig
from hawqsearch.core.target import Target
from hawqsearch.errors import DeviceError

__all__ = ["Board", "parse_board"]

_ARM: Final = "0x41"
_ARM_PARTS: Final = MappingProxyType(
    {  # "CPU part" of /proc/cpuinfo: MIDR_EL1, from Arm's technical reference manuals
        "0xd03": "Cortex-A53",
        "0xd04": "Cortex-A35",
        "0xd05": "Cortex-A55",
        "0xd07": "Cortex-A57",
        "0xd08": "Cortex-A72",
        "0xd09": "Cortex-A73",
        "0xd0a": "Cortex-A75",
        "0xd0b": "Cortex-A76",
        "0xd0c": "Neoverse-N1",
        "0xd0d": "Cortex-A77",
        "0xd40": "Neoverse-V1",
        "0xd41": "Cortex-A78",
        "0xd49": "Neoverse-N2",
        "0xd4f": "Neoverse-V2",
    }
)
_BUSY_SHARE: Final = 0.3
_HOT_C: Final = 80.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """A machine at the other end of a line.

    Args:
        device: processor and board, as rigs name them.
        features: what its kernel says the processor can do.
        governor: frequency governor of the cores measured on, empty where there is none.
        load: processes wanting to run over the last minute, before measuring.
        pinned: cores that its script keeps to.
    """

    device: str
    machine: str
    features: frozenset[str]
    cores: int
    runtime: str
    python: str
    governor: str
    load: float
    temperature_c: float | None
    pinned: tuple[int, ...] = ()

    def rig(self, *, threads: int, batch: int) -> Rig:
        """This board as profiles name it."""
        return Rig(device=self.device, runtime=self.runtime, threads=threads, batch=batch)

    def notes(self) -> tuple[str, ...]:
        """What makes its times unsteady, each with the remedy; empty where nothing is seen."""
        found = []
        if self.governor not in ("", "performance"):
            found.append(
                f"governor {self.governor} scales the clock; on the board: "
                "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
            )
        if self.load > _BUSY_SHARE * self.cores:
            found.append(f"load {self.load:.1f} on {self.cores} cores: something else runs; stop it")
        if self.temperature_c is not None and self.temperature_c >= _HOT_C:
            found.append(f"{self.temperature_c:.0f} degrees: it throttles about here; cool it")
        return tuple(found)

    def check(self, target: Target, rig: Rig) -> None:
        """Raise `DeviceError` where the board cannot run the target's kernels, or is not the rig's."""
        if target.requires and not self.features & set(target.requires):
            raise DeviceError(
                f"{target.name} needs a processor with {' or '.join(target.requires)}; "
                f"the board is {self.device} ({self.machine})"
            )
        if self.features & set(target.excludes):
            raise DeviceError(f"{target.name} is not for processors like the board's ({self.device})")
        if (rig.device, rig.runtime) != (self.device, self.runtime):
            raise DeviceError(
                f"the rig says {rig.device}, {rig.runtime}, but {self.device}, {self.runtime} answered"
            )


def parse_board(said: Mapping[str, Any]) -> Board:
    """The board that the measuring script described; raises `DeviceError` where it did not."""
    try:
        cpuinfo = _fields(said["cpuinfo"])
        temperature = said["temperature_c"]
        return Board(
            device=_device(said, cpuinfo),
            machine=str(said["machine"]),
            features=frozenset((cpuinfo.get("Features") or cpuinfo.get("flags", "")).split()),
            cores=int(said["cores"]),
            runtime=f"onnxruntime {said['onnxruntime']}",
            python=str(said["python"]),
            governor=str(said["governor"]),
            load=float(said["load"]),
            temperature_c=None if temperature is None else float(temperature),
            pinned=tuple(int(core) for core in said.get("pinned", ())),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DeviceError(f"the board described itself in a way that cannot be read: {error!r}") from None


def _device(said: Mapping[str, Any], cpuinfo: Mapping[str, str]) -> str:
    processor = cpuinfo.get("model name") or _arm_core(cpuinfo) or f"unknown {said['machine']} processor"
    mhz = int(said["max_khz"]) / 1000
    clock = f" at {mhz:.0f} MHz" if math.isfinite(mhz) and mhz > 0 else ""
    board = str(said["model"]).strip()
    return f"{board} ({processor}{clock})" if board else f"{processor}{clock}"


def _arm_core(cpuinfo: Mapping[str, str]) -> str:
    """The last core listed, which is the fastest where there are two kinds."""
    part = cpuinfo.get("CPU part", "")
    known = _ARM_PARTS.get(part) if cpuinfo.get("CPU implementer") == _ARM else None
    return known or (f"Arm part {part}" if part else "")


def _fields(cpuinfo: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in cpuinfo.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}
