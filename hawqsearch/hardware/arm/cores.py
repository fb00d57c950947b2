"""Arm cores as data, and the names that users write for them: `arm-neon:cortex-a72@1.5GHz`."""

from __future__ import annotations

import importlib.resources
import re
import tomllib
from dataclasses import dataclass, replace
from functools import cache
from types import MappingProxyType
from typing import Final

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.errors import InputError, UnknownNameError

__all__ = [
    "DEFAULT_CORE",
    "KERNEL_SETS",
    "TARGET",
    "Core",
    "cores",
    "find_core",
    "parse_core",
    "split_target",
]

TARGET: Final = "arm-neon"
DEFAULT_CORE: Final = "cortex-a76"
KERNEL_SETS: Final = MappingProxyType({"dotprod": "cortex-a76", "plain": "cortex-a72"})
"""Kernels that onnxruntime chooses -> the processor that qemu shows it: with dot products, and without."""

_SLOWEST_GHZ: Final = 0.1
_FASTEST_GHZ: Final = 10.0
_CLOCK: Final = re.compile(r"(?P<value>\d+(?:\.\d+)?)\s*(?P<unit>[GM])Hz", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """One core of a processor.

    Args:
        title: as Arm writes it.
        board: the one whose clock is the default.
        kernels: key of `KERNEL_SETS`.
        l2_kib: what a network must fit into, weights and largest activations, to be served without DRAM.
        bandwidth_gbs: bytes per ns that the core streams from DRAM; assumed, not measured.
    """

    name: str
    title: str
    board: str
    kernels: str
    clock_ghz: float
    l2_kib: int
    bandwidth_gbs: float

    def __str__(self) -> str:
        return f"{self.title} port model, {self.clock_ghz:g} GHz"

    @property
    def column(self) -> str:
        """What the shipped tables call its cycles."""
        return f"cycles_{self.name.rpartition('-')[2]}"


@cache
def cores() -> FrozenDict[str, Core]:
    """Name -> core, from `hw_profiles/arm-neon/cores.toml`."""
    text = (importlib.resources.files("hw_profiles") / TARGET / "cores.toml").read_text()
    return FrozenDict({name: Core(name=name, **fields) for name, fields in tomllib.loads(text).items()})


def find_core(name: str) -> Core:
    """The core of that name; raises `UnknownNameError` with the nearest."""
    if name not in cores():
        raise UnknownNameError("core", name, cores())
    return cores()[name]


def split_target(text: str) -> tuple[str, str]:
    """A target as users write it -> its name, and the text for `parse_core`: `arm-neon`, `@2GHz`."""
    name = re.split("[:@]", text, maxsplit=1)[0]
    return name, text[len(name) :].removeprefix(":")


def parse_core(text: str) -> Core:
    """The core that the rest of a target's name says: nothing, `cortex-a72`, `cortex-a72@1.5GHz`, `@2.0GHz`.

    Raises `InputError` for a clock that cannot be read, `UnknownNameError` for a core that there is not.
    """
    name, at, clock = text.partition("@")
    core = find_core(name or DEFAULT_CORE)
    return replace(core, clock_ghz=_clock_ghz(clock)) if at else core


def _clock_ghz(text: str) -> float:
    match = _CLOCK.fullmatch(text.strip())
    if match is None:
        raise InputError(f"cannot read the clock {text!r}; write it as 2.4GHz or 1500MHz")
    value = float(match["value"]) / (1000 if match["unit"].upper() == "M" else 1)
    if not _SLOWEST_GHZ <= value <= _FASTEST_GHZ:
        raise InputError(f"no core runs at {text}; name a clock of {_SLOWEST_GHZ:g} to {_FASTEST_GHZ:g} GHz")
    return value
