"""Keeping the measuring thread, and what it starts, to as many cores as it has threads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["cores_held", "pinned"]


@contextmanager
def pinned(threads: int, *, root: Path = Path("/")) -> Iterator[tuple[int, ...]]:
    """Within, this thread and the threads it starts keep to the `threads` fastest cores; afterwards all are free.

    The cores, empty where the system lets nobody choose. Open sessions within: a runtime's threads keep to what
    was allowed when they were started. Of cores alike those with the highest numbers: interrupts go to the first.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield ()
        return
    before = os.sched_getaffinity(0)
    chosen = sorted(before, key=lambda core: (_max_khz(core, root), core), reverse=True)[:threads]
    try:
        os.sched_setaffinity(0, chosen)
    except OSError:
        yield ()
        return
    try:
        yield tuple(sorted(chosen))
    finally:
        os.sched_setaffinity(0, before)


def cores_held(cores: tuple[int, ...]) -> bool:
    """Whether this thread is still kept to `cores`, and to these alone."""
    return bool(cores) and hasattr(os, "sched_getaffinity") and os.sched_getaffinity(0) == set(cores)


def _max_khz(core: int, root: Path) -> int:
    try:
        return int((root / f"sys/devices/system/cpu/cpu{core}/cpufreq/cpuinfo_max_freq").read_text())
    except (OSError, ValueError):
        return 0
