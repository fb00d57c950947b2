"""What a machine was like while it was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["Conditions"]

_BUSY_SHARE: Final = 0.5
_STOLEN: Final = 0.01
_DRIFTED: Final = 0.05
_CLOCK_SPAN: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """One measurement's surroundings; None where the machine does not say.

    Args:
        utc: when it began.
        cores: those that the measuring thread kept to, checked at the end; empty where it could not be held there.
        n_cores: of the machine.
        boost: whether the clock may rise above its nominal value.
        load_before, load_after: processes that wanted to run, over the last minute.
        mhz_low, mhz_high: clocks seen of the cores measured on.
        throttled: times that the processor slowed itself down for heat.
        steal: share of the time that the host of a virtual machine gave to others.
        drift: how much slower (positive) the candidates were in the last quarter of the rounds than in the first.
        thrown: rounds thrown away because the clock jumped.
    """

    utc: str
    seconds: float
    cores: tuple[int, ...]
    n_cores: int
    threads: int
    governor: str | None = None
    boost: bool | None = None
    load_before: float | None = None
    load_after: float | None = None
    mhz_low: float | None = None
    mhz_high: float | None = None
    throttled: int | None = None
    steal: float | None = None
    rounds: int = 0
    thrown: int = 0
    drift: float | None = None

    def __str__(self) -> str:
        """In one line, what is known."""
        cores = ",".join(map(str, self.cores))
        parts = [f"pinned to core {cores}" if self.cores else "not pinned"]
        parts.append(f"governor {self.governor or 'not shown'}")
        if self.boost is not None:
            parts.append(f"boost {'on' if self.boost else 'off'}")
        if self.load_before is not None and self.load_after is not None:
            parts.append(f"load {self.load_before:.1f} to {self.load_after:.1f} on {self.n_cores} cores")
        if self.mhz_low is not None and self.mhz_high is not None:
            parts.append(f"{self.mhz_low:.0f} to {self.mhz_high:.0f} MHz")
        if self.throttled is not None:
            parts.append(f"throttled {self.throttled} times")
        if self.steal is not None:
            parts.append(f"{100 * self.steal:.1f} % stolen")
        if self.drift is not None:
            parts.append(f"drift {100 * self.drift:+.1f} %")
        parts.append(f"{self.rounds} rounds in {self.seconds:.1f} s")
        return ", ".join(parts)

    @property
    def troubles(self) -> tuple[str, ...]:
        """What made the times unsteady, one line each with the remedy."""
        found = []
        if not self.cores:
            found.append(
                "the measuring thread was not pinned: the system moved it, or does not let it be held"
            )
        if self.load_before is not None and self.load_before > _BUSY_SHARE * self.n_cores:
            found.append(
                f"load {self.load_before:.1f} on {self.n_cores} cores before it began: stop what else is running"
            )
        if self.throttled:
            found.append(f"the processor throttled {self.throttled} times: cool it, or switch boost off")
        if self.steal is not None and self.steal > _STOLEN:
            found.append(
                f"{100 * self.steal:.1f} % of the time went to other guests of the host: measure again"
            )
        if self.mhz_low and self.mhz_high and self.mhz_high / self.mhz_low - 1 > _CLOCK_SPAN:
            found.append(
                f"the clock went from {self.mhz_low:.0f} to {self.mhz_high:.0f} MHz: "
                "sudo cpupower frequency-set -g performance"
            )
        if self.drift is not None and abs(self.drift) > _DRIFTED:
            found.append(
                f"the same kernels ran {100 * abs(self.drift):.0f} % {'slower' if self.drift > 0 else 'faster'} "
                "at the end than at the start: the clock drifted, measure again"
            )
        if self.thrown:
            found.append(f"the clock jumped in {self.thrown} rounds, which were thrown away")
        return tuple(found)
