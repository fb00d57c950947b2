"""What this machine is like while it is measured, from the system's own files."""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hawqsearch.core.conditions import Conditions
from hawqsearch.runtime.pinned import cores_held

__all__ = ["Watch", "boost", "governor", "steal_ticks", "throttle_counts"]

_CPU: Final = "sys/devices/system/cpu"
_STEAL: Final = 7
_TICKS: Final = 8
"""Of a line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal; guests are in the first two."""


@dataclass(slots=True, kw_only=True)
class Watch:
    """Looks at the machine from when it is made until `conditions`; `look` in between sees the clock of the cores.

    Args:
        cores: those that are measured on, empty for a thread that is not pinned.
    """

    cores: tuple[int, ...]
    threads: int
    root: Path = Path("/")
    clock: Callable[[], float] = time.monotonic
    load: Callable[[], float] = field(default=lambda: os.getloadavg()[0])
    started: datetime.datetime = field(init=False)
    start_s: float = field(init=False)
    load_before: float = field(init=False)
    ticks_before: tuple[int, int] | None = field(init=False)
    throttled_before: int | None = field(init=False)
    mhz: list[float] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.started = datetime.datetime.now(datetime.UTC)
        self.start_s = self.clock()
        self.load_before = self.load()
        self.ticks_before = steal_ticks(self.root, self.cores)
        self.throttled_before = throttle_counts(self.root)
        self.look()

    def look(self) -> None:
        """See the clock of the cores now."""
        for core in self.cores or (0,):
            khz = _number(self.root / _CPU / f"cpu{core}/cpufreq/scaling_cur_freq")
            if khz is not None:
                self.mhz.append(khz / 1000)

    def conditions(self, *, rounds: int, thrown: int, drift: float | None) -> Conditions:
        """What was seen until now, with what the rounds say of themselves."""
        self.look()
        throttled = throttle_counts(self.root)
        known = throttled is not None and self.throttled_before is not None
        return Conditions(
            utc=f"{self.started:%Y-%m-%dT%H:%M:%SZ}",
            seconds=round(self.clock() - self.start_s, 3),
            cores=self.cores if cores_held(self.cores) else (),
            n_cores=os.cpu_count() or 1,
            threads=self.threads,
            governor=governor(self.root, self.cores[0] if self.cores else 0),
            boost=boost(self.root),
            load_before=self.load_before,
            load_after=self.load(),
            mhz_low=min(self.mhz, default=None),
            mhz_high=max(self.mhz, default=None),
            throttled=(throttled or 0) - (self.throttled_before or 0) if known else None,
            steal=_share(self.ticks_before, steal_ticks(self.root, self.cores)),
            rounds=rounds,
            thrown=thrown,
            drift=drift,
        )


def governor(root: Path, core: int = 0) -> str | None:
    """How the core's clock is scaled, None where the system does not show it."""
    return _text(root / _CPU / f"cpu{core}/cpufreq/scaling_governor") or None


def boost(root: Path) -> bool | None:
    """Whether the clock may rise above its nominal value, None where the system does not say."""
    found = _number(root / _CPU / "cpufreq/boost")
    if found is not None:
        return found == 1
    refused = _number(root / _CPU / "intel_pstate/no_turbo")
    return None if refused is None else refused == 0


def throttle_counts(root: Path) -> int | None:
    """Times that any core or its package slowed down for heat since the start, None where nothing counts them."""
    folders = sorted((root / _CPU).glob("cpu[0-9]*/thermal_throttle"))
    counts = [
        max(
            (n for name in ("core", "package") if (n := _number(f / f"{name}_throttle_count")) is not None),
            default=None,
        )
        for f in folders
    ]
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def steal_ticks(root: Path, cores: Iterable[int] = ()) -> tuple[int, int] | None:
    """Ticks stolen by the host, and all ticks, of `cores` (of all where there are none) since the start."""
    text = _text(root / "proc/stat")
    names = {f"cpu{core}" for core in cores} or {"cpu"}
    stolen = total = 0
    for line in (text or "").splitlines():
        name, *cells = line.split()
        if name in names and len(cells) >= _TICKS and all(cell.isdigit() for cell in cells[:_TICKS]):
            ticks = [int(cell) for cell in cells[:_TICKS]]
            stolen += ticks[_STEAL]
            total += sum(ticks)
    return (stolen, total) if total else None


def _share(before: tuple[int, int] | None, after: tuple[int, int] | None) -> float | None:
    if before is None or after is None or after[1] <= before[1]:
        return None
    return max(0.0, (after[0] - before[0]) / (after[1] - before[1]))


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text is not None and text.isdigit() else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None
