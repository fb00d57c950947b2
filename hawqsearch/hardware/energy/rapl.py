"""RAPL: the energy counters of x86 processors, through /sys/class/powercap.

Intel's manual (volume 3B, section 16.10) gives the unit (2^-14 J on most) and the refresh (about a millisecond).
"""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hawqsearch.errors import DeviceError

__all__ = ["RaplPackage", "find_rapl"]

_POWERCAP: Final = "sys/class/powercap"
_ZONE: Final = re.compile(
    r"intel-rapl:[0-9]+"
)  # not its parts (intel-rapl:0:0), not -mmio, which shows the same


@dataclass(frozen=True, slots=True, kw_only=True)
class RaplPackage:
    """One processor package: cores, caches and what else sits on it, without the memory.

    Args:
        folder: its folder below /sys/class/powercap.
        package: `package-0`.
    """

    folder: Path
    package: str
    wrap_uj: float

    @property
    def name(self) -> str:
        """What it meters."""
        return f"RAPL {self.package}"

    @property
    def resolution_uj(self) -> float:
        """2^-14 J, the coarsest unit in use."""
        return 1e6 / 2**14

    @property
    def update_s(self) -> float:
        """About a millisecond."""
        return 1e-3

    def read_uj(self) -> float:
        """What it shows now."""
        path = self.folder / "energy_uj"
        try:
            text = path.read_text()
        except PermissionError:
            raise DeviceError(
                f"{path} is for root only; let others read it until the next start: "
                f"sudo chmod a+r /{_POWERCAP}/intel-rapl:*/energy_uj"
            ) from None
        except OSError as error:
            raise DeviceError(f"cannot read {path}: {error.strerror}") from None
        return _number(text, path)

    def metering(self) -> AbstractContextManager[None]:
        """The hardware counts by itself."""
        return nullcontext()


def find_rapl(root: Path = Path("/")) -> tuple[RaplPackage, ...]:
    """The packages of this machine, readable or not; empty where there are none."""
    folder = root / _POWERCAP
    zones = (
        sorted(p for p in folder.glob("intel-rapl:*") if _ZONE.fullmatch(p.name)) if folder.is_dir() else []
    )
    found = []
    for zone in zones:
        try:
            package = (zone / "name").read_text().strip()
            if package.startswith("package"):  # psys is the whole platform, packages included
                wrap = _number((zone / "max_energy_range_uj").read_text(), zone / "max_energy_range_uj")
                found.append(RaplPackage(folder=zone, package=package, wrap_uj=wrap))
        except (OSError, DeviceError):
            continue  # a container masks what the zone's link points to
    return tuple(found)


def _number(text: str, path: Path) -> float:
    if not text.strip().isdigit():
        raise DeviceError(f"{path} does not hold a counter but {text.strip()[:40]!r}")
    return float(text)
