"""Kernels measured on the GPU of another machine, over ssh, by the hawqsearch that is installed there.

The command that its shell sees is a constant: the name of its Python and what is to be measured go through standard
input. Host keys are checked, as for boards.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from hawqsearch.core.hardware import ChangeKey, HardwareProfile, KernelKey, Rig
from hawqsearch.core.target import Target
from hawqsearch.errors import DeviceError
from hawqsearch.hardware.board.address import check_interpreter
from hawqsearch.hardware.board.connection import Connection
from hawqsearch.hardware.board.conversation import conversation, message_of
from hawqsearch.hardware.cuda.wire import MARKER, Request, missing_rows, parse_profile

__all__ = ["CudaSshBackend"]

_SSH_FAILED: Final = 255
_NO_NAME, _NO_PYTHON = 90, 93
_REMOTE: Final = (
    "exec /bin/sh -c '"
    f"IFS= read -r python || exit {_NO_NAME}; "
    f'command -v "$python" >/dev/null 2>&1 || exit {_NO_PYTHON}; '
    'exec "$python" -P -m hawqsearch.hardware.cuda.serve'
    "'"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CudaSshBackend:
    """The GPU of a machine that has this release of hawqsearch and a PyTorch with CUDA.

    All candidates are measured in turn in one go, so a line that drops leaves no rows.

    Args:
        host: `machine` or `user@machine`.
        port, identity, known_hosts: see `Connection`.
        python: its interpreter that has hawqsearch, a name or a path.
        timeout_s: of the whole measurement.
        silence_s: longest that it may say nothing: all kernels are captured before the first round.
    """

    host: str = field(repr=False)
    port: int | None = field(default=None, repr=False)
    identity: Path | None = field(default=None, repr=False)
    known_hosts: Path | None = field(default=None, repr=False)
    python: str = field(default="python3", repr=False)
    timeout_s: float = field(default=1800.0, repr=False)
    connect_timeout_s: int = field(default=10, repr=False)
    silence_s: float = field(default=300.0, repr=False)
    rounds: int = 30
    burst: int = 5

    def __post_init__(self) -> None:
        _ = self._connection
        check_interpreter(self.python)

    @property
    def n_rounds(self) -> int:
        """How many rounds `measure` takes, without those that warm up."""
        return self.rounds

    def rig(self, *, batch: int) -> Rig:
        """The GPU as it names itself; raises `DeviceError` where it cannot be reached or used."""
        rigs: list[Rig] = []
        self._ask(self._request(batch, (), ()), lambda message: _keep_rig(message, rigs))
        if not rigs:
            raise DeviceError(f"{self.host} did not say which GPU it has")
        return rigs[0]

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

        Raises:
            DeviceError: the machine cannot be reached, has no GPU, another than the rig's, or it failed.
        """
        wanted, edges = tuple(kernels), tuple(changes)
        found: list[HardwareProfile] = []

        def take(message: dict[str, Any]) -> None:
            if "rounds" in message:
                on_round(int(message["rounds"]))
            elif "profile" in message:
                found.append(parse_profile(str(message["profile"])))

        self._ask(self._request(rig.batch, wanted, edges), take)
        if not found or (lacking := missing_rows(found[0], [*wanted, *edges])):
            raise DeviceError(f"{self.host} left out {lacking if found else 'all'} of the rows asked for")
        if (found[0].target, found[0].rig) != (target.name, rig):
            raise DeviceError(f"the rig says {rig}, but {found[0].rig} answered")
        return found[0]

    def _request(self, batch: int, kernels: tuple[KernelKey, ...], changes: tuple[ChangeKey, ...]) -> Request:
        return Request(
            version=version("hawqsearch"),
            batch=batch,
            rounds=self.rounds,
            burst=self.burst,
            kernels=kernels,
            changes=changes,
        )

    def _ask(self, request: Request, take: Callable[[dict[str, Any]], None]) -> None:
        """One connection: send, hand on what comes, and see it end well."""
        deadline, done = time.monotonic() + self.timeout_s, False
        said = f"{self.python}\n".encode() + request.dump()
        with conversation(self._connection.command(_REMOTE), said) as talk:
            try:
                for line in talk.lines(silence_s=self.silence_s, deadline=deadline):
                    message = message_of(line, MARKER, "the GPU's machine")
                    if "failed" in message:
                        raise DeviceError(f"{self.host} cannot measure: {message['failed']}")
                    take(message)
                    done = done or "done" in message
            except TimeoutError:
                raise DeviceError(
                    f"{self.host} said nothing for {self.silence_s:g} s, or was not done within {self.timeout_s:g} s"
                ) from None
            code = talk.exit_code()
            if code != 0 or not done:
                raise self._failure(code, talk.stderr())

    def _failure(self, code: int, stderr: str) -> DeviceError:
        if code == _SSH_FAILED:
            return self._connection.failure(stderr)
        if code == _NO_PYTHON:
            return DeviceError(
                f"{self.host} has no {self.python}; name the Python that has hawqsearch with --python"
            )
        if "No module named" in stderr:
            return DeviceError(
                f"the {self.python} of {self.host} has no hawqsearch; install it there ({self.python} -m pip install "
                f"hawqsearch=={version('hawqsearch')}), or name the Python that has it with --python"
            )
        said = " ".join(stderr.split())[-200:] or "no more was said"
        return DeviceError(f"{self.host} cannot measure: its Python ended with exit code {code} ({said})")

    @property
    def _connection(self) -> Connection:
        return Connection(
            host=self.host,
            port=self.port,
            identity=self.identity,
            known_hosts=self.known_hosts,
            connect_timeout_s=self.connect_timeout_s,
        )


def _keep_rig(message: dict[str, Any], rigs: list[Rig]) -> None:
    if "rig" not in message:
        return
    try:
        rig = Rig(**message["rig"])
    except TypeError as error:
        raise DeviceError(f"the GPU's machine named itself in a way that cannot be read: {error}") from None
    rigs.append(rig)
