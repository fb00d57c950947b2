"""Energy of kernels and precision changes on a board, by the board's own counter or sensor, over ssh."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from hawqsearch.core.hardware import ChangeKey, Energy, KernelKey, Rig
from hawqsearch.core.target import Target
from hawqsearch.errors import DeviceError, InputError
from hawqsearch.hardware.board.board import parse_board
from hawqsearch.hardware.board.connection import LineDroppedError
from hawqsearch.hardware.board.jobs import bundle
from hawqsearch.hardware.board.ssh import SshBackend
from hawqsearch.hardware.energy.meter import Span, reading_of
from hawqsearch.hardware.energy.parts import energy_of_part
from hawqsearch.hardware.micro import micro_model

__all__ = ["BoardEnergy", "open_board_energy"]

Key = KernelKey | ChangeKey

_TIMEOUT_S: Final = 4 * 3600.0
_ALIVE_S: Final = 150.0
"""The board speaks after every span of a block, and the longest takes a minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardEnergy:
    """Parts metered on a board, each alone, in the board's own Python.

    Args:
        counter: what the board said it would read.
        root: below it lies the board's `sys`.
    """

    board: SshBackend
    counter: str
    root: str = "/"
    blocks: int = 7
    steps: int = 50

    def meter(
        self,
        target: Target,
        rig: Rig,
        times_ms: Mapping[Key, float],
        *,
        on_row: Callable[[Key, Energy], object],
    ) -> None:
        """Hand the energy of every part to `on_row` as it comes; a dropped line is taken up again where it was.

        Raises `DeviceError` where the board cannot be reached, or its counter shows nothing.
        """
        keys = {f"job{i}": key for i, key in enumerate(times_ms)}
        left = dict(keys)

        def take(message: Mapping[str, Any]) -> None:
            if "board" in message:
                parse_board(message["board"]).check(target, rig)
            elif "metered" in message:
                key = left.pop(str(message["metered"]))
                on_row(key, energy_of_part(_reading(message, self.counter), times_ms[key]))

        settings = {
            "seconds": math.ceil(_TIMEOUT_S),
            "threads": rig.threads,
            "rounds": 0,
            "signed_activations": target.scheme.signed_activations,
        }
        dropped = 0
        while left:
            models = {name: micro_model(key, target.scheme).SerializeToString() for name, key in left.items()}
            work = {**settings, "energy": {**_asked(self.root, self.blocks, self.steps), "jobs": list(left)}}
            before = len(left)
            try:
                _talk(self.board, bundle(models, {name: {0} for name in models}, work), take)
            except LineDroppedError:
                dropped = dropped + 1 if len(left) == before else 0
                if dropped > self.board.reconnections:
                    raise
                time.sleep(self.board.pause_s)


def open_board_energy(board: SshBackend, root: str = "/") -> BoardEnergy:
    """What meters on `board`; raises `InputError` with the reason where it has no counter."""
    found: list[str] = []

    def take(message: Mapping[str, Any]) -> None:
        if "unmetered" in message:
            raise InputError(f"no energy is metered on {board.host}: {message['unmetered']}")
        if "counter" in message:
            found.append(str(message["counter"]))

    work = {"seconds": 60, "threads": 1, "rounds": 0, "signed_activations": False}
    _talk(board, bundle({}, {}, {**work, "energy": {**_asked(root, 0, 0), "jobs": []}}), take)
    if not found:
        raise DeviceError(f"{board.host} did not say what meters it")
    return BoardEnergy(board=board, counter=found[0], root=root)


def _asked(root: str, blocks: int, steps: int) -> dict[str, object]:
    return {"root": root, "blocks": blocks, "steps": steps}


def _talk(board: SshBackend, content: bytes, take: Callable[[Mapping[str, Any]], None]) -> None:
    board.talk(content, time.monotonic() + _TIMEOUT_S, take, silence_s=_ALIVE_S)


def _reading(message: Mapping[str, Any], counter: str) -> Any:
    try:
        runs, resolution_uj = int(message["runs"]), float(message["resolution_uj"])
        load, idle = (
            [Span(float(uj), float(seconds)) for uj, seconds in message[name]] for name in ("load", "idle")
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DeviceError(f"the board sent energy that cannot be read: {error!r}") from None
    if runs < 1 or len(idle) != len(load) + 1 or not load or any(s.seconds <= 0 for s in (*load, *idle)):
        raise DeviceError("the board sent energy that makes no sense; measure again")
    return reading_of(runs, load, idle, counter=counter, resolution_uj=resolution_uj)
