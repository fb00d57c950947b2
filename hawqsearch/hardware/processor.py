"""This machine's processor: its name, and which instructions for products of bytes it has."""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = ["cpu_flags", "cpu_name", "device_name"]

_INSTRUCTION_SETS: Final = (
    ("amx_int8", "AMX"),
    ("avx512_vnni", "AVX512-VNNI"),
    ("avx_vnni", "AVX-VNNI"),
    ("avx512bw", "AVX512"),
    ("avx2", "AVX2"),
)
"""Flag of CPUID, as Linux writes it -> its name; the first that is there decides which kernels a runtime takes."""


def cpu_flags(root: Path = Path("/")) -> frozenset[str]:
    """What the kernel says this processor can do; empty where it says nothing."""
    return frozenset(_cpuinfo("flags", root).split())


def cpu_name(root: Path = Path("/")) -> str:
    """The processor's own name."""
    return _cpuinfo("model name", root) or "unknown processor"


def device_name(root: Path = Path("/")) -> str:
    """The name with the instruction set, as rigs are called: virtual machines of unlike processors share a name."""
    flags = cpu_flags(root)
    found = next((word for flag, word in _INSTRUCTION_SETS if flag in flags), None)
    return cpu_name(root) if found is None else f"{cpu_name(root)} with {found}"


def _cpuinfo(field: str, root: Path) -> str:
    try:
        lines = (root / "proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    found = (line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == field)
    return next(found, "")
