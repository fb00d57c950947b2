"""The root folder that a simulated process sees: libraries, and a /proc and /sys that describe one core.

onnxruntime reads both at load to choose its kernels; those of an x86 host crash it. Made up, they also
keep the host out of the result.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import MappingProxyType
from typing import Final

__all__ = ["root_files", "write_root"]

_PART: Final = MappingProxyType({"cortex-a76": "0xd0b", "cortex-a72": "0xd08"})
_FEATURES: Final = MappingProxyType(
    {
        "cortex-a76": "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc "
        "dcpop asimddp ssbs",
        "cortex-a72": "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid",
    }
)
_CACHES: Final = (("1", "Data", "64K"), ("1", "Instruction", "64K"), ("2", "Unified", "512K"))
_CPU: Final = "sys/devices/system/cpu"


def write_root(folder: Path, processor: str, libraries: Iterable[Path]) -> None:
    """Write the root of `processor`; libraries become links in its `lib`."""
    for name, content in root_files(processor).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    lib = folder / "lib"
    lib.mkdir(exist_ok=True)
    for library in libraries:
        link = lib / library.name
        link.unlink(missing_ok=True)
        link.symlink_to(library.resolve())


def root_files(processor: str) -> dict[str, str]:
    """Path below the root -> content, libraries apart."""
    lines = (
        "processor\t: 0",
        "BogoMIPS\t: 108.00",
        f"Features\t: {_FEATURES[processor]}",
        "CPU implementer\t: 0x41",
        "CPU architecture: 8",
        "CPU variant\t: 0x4",
        f"CPU part\t: {_PART[processor]}",
        "CPU revision\t: 1",
    )
    files = {"proc/cpuinfo": "\n".join((*lines, "")), f"{_CPU}/kernel_max": "255"}
    files |= {f"{_CPU}/{name}": "0" for name in ("possible", "present", "online")}
    topology = ("physical_package_id", "core_siblings_list", "cluster_cpus_list")
    files |= {f"{_CPU}/cpu0/topology/{name}": "0" for name in topology}
    files |= {f"{_CPU}/cpu0/cpufreq/cpuinfo_{end}_freq": "2400000" for end in ("min", "max")}
    for index, (level, kind, size) in enumerate(_CACHES):
        cache = f"{_CPU}/cpu0/cache/index{index}"
        files |= {f"{cache}/level": level, f"{cache}/type": kind, f"{cache}/size": size}
        files |= {f"{cache}/shared_cpu_list": "0"}
    return files
