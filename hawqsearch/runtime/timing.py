"""Whole models timed side by side, so that a drifting clock or a busy neighbour cancels in their ratio."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np

from hawqsearch.core.timing import Timing
from hawqsearch.runtime.interface import Feed, Session

__all__ = ["time_interleaved"]


def time_interleaved(
    sessions: Mapping[str, Session],
    feed: Feed,
    *,
    reference: str,
    rounds: int = 25,
    round_ms: float = 12.0,
    on_round: Callable[[], object] = lambda: None,
) -> dict[str, Timing]:
    """Time every session `rounds` times in turn; the order is reversed every other round.

    A round of one session is an untimed run (the others have emptied the caches) and as many timed
    ones as fill `round_ms`, at least three; its sample is their median.
    """
    runs = {name: _runs_per_round(session, feed, round_ms) for name, session in sessions.items()}
    samples: dict[str, list[float]] = {name: [] for name in sessions}
    for index in range(rounds):
        for name in list(sessions)[:: 1 if index % 2 == 0 else -1]:
            samples[name].append(float(np.median(_time(sessions[name], feed, runs[name]))))
        on_round()
    base = np.asarray(samples[reference])
    return {
        name: Timing(rounds_ms=tuple(values), ratios=tuple((np.asarray(values) / base).tolist()))
        for name, values in samples.items()
    }


def _runs_per_round(session: Session, feed: Feed, round_ms: float) -> int:
    once = float(np.min(_time(session, feed, 3)))
    return max(3, int(round_ms / once))


def _time(session: Session, feed: Feed, runs: int) -> list[float]:
    session.run(feed)
    times = []
    for _ in range(runs):
        start = time.perf_counter_ns()
        session.run(feed)
        times.append((time.perf_counter_ns() - start) / 1e6)
    return times
