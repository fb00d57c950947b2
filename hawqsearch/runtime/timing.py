"""Whole models timed side by side, so that a drifting clock or a busy neighbour cancels in their ratio."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from hawqsearch.core.timing import Timing
from hawqsearch.runtime.interface import Feed, Session
from hawqsearch.runtime.rounds import Effort, in_rounds

__all__ = ["time_interleaved"]

_NO_LIMIT_S: Final = 1e9
_MOST_RUNS: Final = 100_000


def time_interleaved(
    sessions: Mapping[str, Session],
    feed: Feed,
    *,
    reference: str,
    rounds: int = 25,
    round_ms: float = 12.0,
    share: float = 0.003,
    clock: Callable[[], int] = time.perf_counter_ns,
    on_round: Callable[[int], object] = lambda done: None,
) -> dict[str, Timing]:
    """Time every session in turn (see `in_rounds`), `rounds` times at most.

    Args:
        reference: what the ratios are to; it is there in every round.
        round_ms: what a session gets in a round, three runs at least.
        share: half of the 95 % interval of a ratio, as a share of it, that is narrow enough to stop before.

    Raises:
        DeviceError: the clock keeps jumping.
    """
    effort = Effort(share=share, rounds=rounds, seconds=_NO_LIMIT_S, slice_ms=round_ms, most_runs=_MOST_RUNS)
    runs = {name: partial(session.run, feed) for name, session in sessions.items()}
    found = in_rounds(runs, effort, reference=reference, clock=clock, on_round=on_round)
    base = {sample.round: sample.median_ms for sample in found.samples[reference]}
    return {
        name: Timing(
            rounds_ms=tuple(sample.median_ms for sample in samples),
            ratios=tuple(sample.median_ms / base[sample.round] for sample in samples),
        )
        for name, samples in found.samples.items()
    }
