"""What a board was like while it was measured, from what its script said on the way."""

from __future__ import annotations

import datetime
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from hawqsearch.core.conditions import Conditions
from hawqsearch.hardware.board.board import Board

__all__ = ["Surroundings"]


class Surroundings:
    """Grows while the board answers; a board that was reached again is the same one."""

    def __init__(self, threads: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._threads = threads
        self._clock = clock
        self._start_s = clock()
        self._started = datetime.datetime.now(datetime.UTC)
        self._board: Board | None = None
        self._loads: list[float] = []
        self._thrown = 0

    def meet(self, board: Board) -> None:
        """The board said what it is."""
        self._board = self._board or board

    def add(self, message: Mapping[str, Any]) -> None:
        """Keep what a line says of the board: its load after a round, a time that was thrown away."""
        if "jumped" in message:
            self._thrown += 1
        load = message.get("load")
        if isinstance(load, int | float) and not isinstance(load, bool) and math.isfinite(load) and load >= 0:
            self._loads.append(float(load))

    def conditions(self, *, rounds: int) -> tuple[Conditions, ...]:
        """What is known until now; nothing of a board that never answered."""
        if self._board is None:
            return ()
        return (
            Conditions(
                utc=f"{self._started:%Y-%m-%dT%H:%M:%SZ}",
                seconds=round(self._clock() - self._start_s, 3),
                cores=self._board.pinned,
                n_cores=self._board.cores,
                threads=self._threads,
                governor=self._board.governor or None,
                load_before=self._board.load,
                load_after=self._loads[-1] if self._loads else None,
                rounds=rounds,
                thrown=self._thrown,
            ),
        )
