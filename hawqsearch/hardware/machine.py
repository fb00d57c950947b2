"""What this machine can measure and what stands in the way, read from the system's own files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hawqsearch.errors import DeviceError
from hawqsearch.hardware.conditions import steal_ticks, throttle_counts
from hawqsearch.hardware.energy.hwmon import find_hwmon
from hawqsearch.hardware.energy.rapl import find_rapl
from hawqsearch.hardware.energy.survey import survey
from hawqsearch.hardware.processor import cpu_flags, cpu_name
from hawqsearch.hardware.targets import check_machine, find_target, target_names

__all__ = ["Finding", "examine"]

_CPU: Final = "sys/devices/system/cpu"
_OPEN: Final = (
    "let others read it until the next start: sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj"
)
_NO_COUNTER: Final = (
    "bound latency or size; for energy run on a machine that has /sys/class/powercap/intel-rapl:0, "
    "or a board with a power sensor"
)
_STOLEN: Final = 0.01
_FLAGS: Final = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimd", "asimddp", "i8mm", "sve")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Args:
        state: `good`, `note` (worth knowing), or `problem`.
        remedy: what to do about it, None where nothing is to be done.
    """

    what: str
    state: str
    found: str
    remedy: str | None = None


def examine(root: Path = Path("/"), environment: Mapping[str, str] = os.environ) -> tuple[Finding, ...]:
    """The processor, its targets, its clock, its load and its energy counter, as found below `root`."""
    clock = (*_clock(root), *_throttling(root))
    return (_processor(environment), _targets(), *clock, _load(), *_steal(root), _energy(root))


def _processor(environment: Mapping[str, str]) -> Finding:
    flags = [f for f in _FLAGS if f in cpu_flags()]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    found = f"{cpu_name()}, {cores} cores to use, {' '.join(flags) or 'no vector flags known'}"
    limit = environment.get("OMP_NUM_THREADS")
    return Finding(
        what="processor", state="good", found=found + (f", OMP_NUM_THREADS={limit}" if limit else "")
    )


def _targets() -> Finding:
    measured, others = [], []
    for name in target_names():
        target = find_target(name)
        if not target.requires and not target.on_gpu:
            continue  # no device, or one that is priced without being here
        try:
            check_machine(target)
            measured.append(name)
        except DeviceError:
            others.append(name)
    if measured:
        rest = f"; not {', '.join(others)}" if others else ""
        return Finding(
            what="targets", state="good", found=f"{', '.join(measured)} can be measured here{rest}"
        )
    return Finding(
        what="targets",
        state="problem",
        found=f"none of {', '.join(others)} is this machine",
        remedy="search with --target generic for sizes and bit-operations, or run on such a machine",
    )


def _clock(root: Path) -> tuple[Finding, ...]:
    governor = _text(root / _CPU / "cpu0/cpufreq/scaling_governor")
    if governor is None:
        first = Finding(
            what="governor",
            state="note",
            found="the system does not show how it scales the clock (a virtual machine?)",
            remedy="nothing to set here; whole networks are timed in turn with fp32, so that a drift cancels",
        )
    elif governor == "performance":
        first = Finding(what="governor", state="good", found=governor)
    else:
        first = Finding(
            what="governor",
            state="problem",
            found=f"{governor}: the clock follows the load",
            remedy="sudo cpupower frequency-set -g performance",
        )
    boost = _text(root / _CPU / "cpufreq/boost")
    no_turbo = _text(root / _CPU / "intel_pstate/no_turbo")
    if boost != "1" and no_turbo != "0":
        return (first,)
    where = f"{_CPU}/cpufreq/boost" if boost == "1" else f"{_CPU}/intel_pstate/no_turbo"
    value = 0 if boost == "1" else 1
    return first, Finding(
        what="boost",
        state="note",
        found="on: the first seconds run faster than the rest",
        remedy=f"echo {value} | sudo tee /{where}",
    )


def _throttling(root: Path) -> tuple[Finding, ...]:
    """Nothing where the system does not count it."""
    times = throttle_counts(root)
    if times is None:
        return ()
    if times == 0:
        return (Finding(what="throttling", state="good", found="never since the start"),)
    found = f"the processor slowed itself down {times} times since the start"
    remedy = "cool it or switch boost off; `profile` says whether it happened while it measured"
    return (Finding(what="throttling", state="note", found=found, remedy=remedy),)


def _steal(root: Path) -> tuple[Finding, ...]:
    """Nothing where there is no /proc/stat."""
    ticks = steal_ticks(root)
    if ticks is None:
        return ()
    share = ticks[0] / ticks[1]
    found = f"{100 * share:.1f} % of the time since the start went to other guests of a host"
    if share < _STOLEN:
        return (Finding(what="steal", state="good", found=found),)
    remedy = (
        "measure on a machine of its own, or when its host is quiet; `profile` says how much it was meanwhile"
    )
    return (Finding(what="steal", state="problem", found=found, remedy=remedy),)


def _load() -> Finding:
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    found = f"{load:.1f} on {cores} cores"
    if load < 0.5 * cores:
        return Finding(what="load", state="good", found=found)
    return Finding(
        what="load",
        state="problem" if load > cores else "note",
        found=f"{found}: others are running, times will spread",
        remedy="wait for them or stop them before you measure",
    )


def _energy(root: Path) -> Finding:
    found = survey(root)
    if found.counters:
        names = " + ".join(counter.name for counter in found.counters)
        return Finding(what="energy", state="good", found=f"{names} can be read")
    there_but_closed = bool(find_rapl(root) or find_hwmon(root))
    return Finding(
        what="energy",
        state="problem" if there_but_closed else "note",
        found=f"{found.missing_reason}",
        remedy=_OPEN if there_but_closed else _NO_COUNTER,
    )


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
