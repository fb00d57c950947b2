"""Kernels and precision changes measured by a board's own onnxruntime, over ssh.

The command that the board's shell sees is a constant: names, settings and models go through standard input.
What is measured on a board is timed there as `hawqsearch.hardware.local` times it here.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.hardware import ChangeKey, HardwareProfile, KernelKey, Measurement, Rig
from hawqsearch.core.target import Target
from hawqsearch.errors import DeviceError
from hawqsearch.hardware.board.address import check_interpreter
from hawqsearch.hardware.board.board import Board, parse_board
from hawqsearch.hardware.board.connection import Connection, LineDroppedError
from hawqsearch.hardware.board.conversation import Conversation, conversation, message_of
from hawqsearch.hardware.board.jobs import bundle
from hawqsearch.hardware.board.lost import BoardLostError
from hawqsearch.hardware.board.measure_onnx import MARKER
from hawqsearch.hardware.board.samples import Samples
from hawqsearch.hardware.board.surroundings import Surroundings
from hawqsearch.hardware.micro import micro_model
from hawqsearch.hardware.rows import between_kernels, kernel_time, today

__all__ = ["SshBackend"]

_SSH_FAILED: Final = 255
_NO_NAME, _NO_FOLDER, _NO_TAR, _NO_PYTHON, _ENDED = 90, 91, 92, 93, 94
_REMOTE: Final = (
    "exec /bin/sh -c '"
    f"IFS= read -r python || exit {_NO_NAME}; "
    f'folder=$(mktemp -d "${{TMPDIR:-/tmp}}/hawqsearch.XXXXXX") || exit {_NO_FOLDER}; '
    'trap "cd /; rm -rf \\"$folder\\"" EXIT; '
    f'trap "exit {_ENDED}" HUP INT TERM PIPE; '
    f'cd "$folder" && tar -xf - || exit {_NO_TAR}; '
    f'command -v "$python" >/dev/null 2>&1 || exit {_NO_PYTHON}; '
    '"$python" measure_onnx.py'
    "'"
)
_NEVER_RUN: Final = FrozenDict(
    {"seconds": 60, "threads": 1, "rounds": 0, "warm_up": 0, "burst": 0, "signed_activations": False}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SshBackend:
    """onnxruntime on a board, in the board's own Python.

    Candidates are interleaved: each of `rounds` rounds opens every model in turn, warms it up and times
    `burst` runs, so that a drifting clock hits all alike. A dropped line is taken up again where it was.

    Args:
        host: `board` or `user@board`.
        port, identity, known_hosts: see `Connection`.
        python: the board's interpreter, a name or a path.
        timeout_s: of the whole measurement.
        silence_s: longest that the board may say nothing.
        reconnections: how often a dropped line is taken up again.
    """

    host: str = field(repr=False)
    port: int | None = field(default=None, repr=False)
    identity: Path | None = field(default=None, repr=False)
    known_hosts: Path | None = field(default=None, repr=False)
    python: str = field(default="python3", repr=False)
    timeout_s: float = field(default=1800.0, repr=False)
    connect_timeout_s: int = field(default=10, repr=False)
    silence_s: float = field(default=120.0, repr=False)
    reconnections: int = field(default=3, repr=False)
    pause_s: float = field(default=2.0, repr=False)
    rounds: int = 12
    warm_up: int = 3
    burst: int = 8

    def __post_init__(self) -> None:
        _ = self._connection
        check_interpreter(self.python)

    @property
    def n_rounds(self) -> int:
        """How many rounds `measure` takes."""
        return self.rounds

    def describe(self) -> Board:
        """The board as it says it is; raises `DeviceError` where it cannot be reached or used."""
        deadline = time.monotonic() + self.timeout_s
        boards: list[Board] = []
        self.talk(bundle({}, {}, _NEVER_RUN), deadline, lambda message: _keep_board(message, boards))
        if not boards:
            raise DeviceError(f"{self.host} did not say what it is")
        return boards[0]

    def rig(self, *, threads: int, batch: int) -> Rig:
        """The board as `measure` wants it named."""
        return self.describe().rig(threads=threads, batch=batch)

    def measure(
        self,
        target: Target,
        rig: Rig,
        kernels: Iterable[KernelKey],
        changes: Iterable[ChangeKey],
        *,
        on_round: Callable[[int], object] = lambda done: None,
    ) -> HardwareProfile:
        """Measured times of every kernel and change.

        Args:
            rig: the board's own, from `rig()`; that another board answers is an error.

        Raises:
            BoardLostError: the line dropped too often or the time was up; it holds what was measured.
            DeviceError: the board cannot be reached, lacks a package, or its runtime failed.
        """
        asked: list[KernelKey | ChangeKey] = [*kernels, *changes]
        keys = {f"job{i}": key for i, key in enumerate(asked)}
        models = {name: micro_model(key, target.scheme).SerializeToString() for name, key in keys.items()}
        samples, around = Samples(list(keys), self.rounds), Surroundings(rig.threads)

        def take(message: Mapping[str, Any]) -> None:
            around.add(message)
            if "board" in message:
                board = parse_board(message["board"])
                board.check(target, rig)
                around.meet(board)
            elif "row" in message:
                before = samples.n_rounds
                samples.add(message)
                if samples.n_rounds > before:
                    on_round(samples.n_rounds - before)

        settings = {
            "seconds": math.ceil(self.timeout_s),
            "threads": rig.threads,
            "rounds": self.rounds,
            "warm_up": self.warm_up,
            "burst": self.burst,
            "signed_activations": target.scheme.signed_activations,
        }
        try:
            self._until_done(models, samples, settings, take)
        except DeviceError as error:
            partial = self._profile(target, rig, keys, samples, around)
            raise BoardLostError(_with_rows(str(error), partial, len(keys)), partial) from error
        return self._profile(target, rig, keys, samples, around)

    def _profile(
        self,
        target: Target,
        rig: Rig,
        keys: Mapping[str, KernelKey | ChangeKey],
        samples: Samples,
        around: Surroundings,
    ) -> HardwareProfile:
        """What has come so far; rows of too few rounds are left out."""
        kernels: dict[KernelKey, Measurement] = {}
        changes: dict[ChangeKey, Measurement] = {}
        for name, key in keys.items():
            runs = samples.runs(name)
            if runs and isinstance(key, KernelKey):
                kernels[key] = kernel_time(runs, samples.sizes(name))
            elif runs and isinstance(key, ChangeKey):
                changes[key] = between_kernels(runs, samples.sizes(name))
        return HardwareProfile(
            target=target.name,
            rig=rig,
            date=today(),
            kernels=FrozenDict(kernels),
            changes=FrozenDict(changes),
            conditions=around.conditions(rounds=samples.n_rounds) if kernels or changes else (),
        )

    def _until_done(
        self,
        models: Mapping[str, bytes],
        samples: Samples,
        settings: Mapping[str, object],
        take: Callable[[Mapping[str, Any]], None],
    ) -> None:
        """Talk to the board until no round is left, taking a dropped line up again."""
        deadline = time.monotonic() + self.timeout_s
        dropped = 0
        while any(samples.todo().values()):
            try:
                self.talk(bundle(models, samples.todo(), settings), deadline, take)
            except LineDroppedError as error:
                dropped += 1
                if samples.n_rows == 0 or dropped > self.reconnections:
                    raise
                if time.monotonic() + self.pause_s >= deadline:
                    raise DeviceError(f"{error}; no time is left to try again") from error
                time.sleep(self.pause_s)

    def talk(
        self,
        content: bytes,
        deadline: float,
        take: Callable[[Mapping[str, Any]], None],
        *,
        silence_s: float | None = None,
    ) -> None:
        """One connection: send, listen, and see it end well.

        Raises:
            LineDroppedError: the connection ended before the work did; another may succeed.
            DeviceError: the board cannot be used.
        """
        said = f"{self.python}\n".encode() + content
        with conversation(self._connection.command(_REMOTE), said) as talk:
            try:
                done = self._listen(talk, deadline, take, silence_s or self.silence_s)
            except TimeoutError:
                raise self._silence(deadline) from None
            code = talk.exit_code()
            if code != 0 or not done:
                raise self._failure(code, talk.stderr())

    def _listen(
        self,
        talk: Conversation,
        deadline: float,
        take: Callable[[Mapping[str, Any]], None],
        silence_s: float,
    ) -> bool:
        """Hand on what the script says; whether it said that it was done."""
        done = False
        for line in talk.lines(silence_s=silence_s, deadline=deadline):
            message = message_of(line, MARKER, "the board")
            if "missing" in message:
                raise self._missing(message)
            if "failed" in message:
                raise DeviceError(f"onnxruntime on {self.host} cannot run a model: {message.get('why')}")
            take(message)
            done = done or "done" in message
        return done

    def _silence(self, deadline: float) -> DeviceError:
        if time.monotonic() >= deadline:
            return DeviceError(
                f"{self.host} was not done within {self.timeout_s:g} s; measure less, or allow more"
            )
        return LineDroppedError(f"{self.host} said nothing for {self.silence_s:g} s")

    def _missing(self, message: Mapping[str, Any]) -> DeviceError:
        package, python = message["missing"], message.get("python") or self.python
        return DeviceError(
            f"{self.host} lacks {package} ({message.get('why')}); on the board run: {python} -m pip install {package}"
        )

    def _failure(self, code: int, stderr: str) -> DeviceError:
        if code == _SSH_FAILED:
            return self._connection.failure(stderr)
        if code == _ENDED:
            return LineDroppedError(f"{self.host} ended the measurement")
        said = " ".join(stderr.split())[-200:] or "no more was said"
        reasons = {
            0: "its Python ended without measuring",
            _NO_FOLDER: "it has no room for a temporary folder",
            _NO_TAR: "it cannot unpack (is tar there, is its disk full?)",
            _NO_PYTHON: f"it has no {self.python}: install Python 3 there (apt-get install python3), or name its path",
            137: "its Python was killed (out of memory?)",
        }
        return DeviceError(f"{self.host} cannot measure: {reasons.get(code, f'exit code {code}')} ({said})")

    @property
    def _connection(self) -> Connection:
        return Connection(
            host=self.host,
            port=self.port,
            identity=self.identity,
            known_hosts=self.known_hosts,
            connect_timeout_s=self.connect_timeout_s,
        )


def _keep_board(message: Mapping[str, Any], boards: list[Board]) -> None:
    if "board" in message:
        boards.append(parse_board(message["board"]))


def _with_rows(message: str, partial: HardwareProfile, asked: int) -> str:
    kept = len(partial.kernels) + len(partial.changes)
    return f"{message}; {kept} of {asked} rows were measured and kept" if kept else message
