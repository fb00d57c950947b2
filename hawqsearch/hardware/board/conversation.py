"""A child process that is told everything at once and answers in lines, within limits of time."""

from __future__ import annotations

import json
import queue
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, Final

from hawqsearch.errors import DeviceError

__all__ = ["Conversation", "conversation", "message_of"]

_GRACE_S: Final = 5.0
_STDERR_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Conversation:
    """What the child says; lines that a dropped line cut short are left out."""

    _process: subprocess.Popen[bytes]
    _lines: queue.SimpleQueue[bytes | None]
    _stderr: IO[bytes]

    def lines(self, *, silence_s: float, deadline: float) -> Iterator[bytes]:
        """Whole lines as they come; raises `TimeoutError` after `silence_s` without one, or at `deadline`.

        Args:
            deadline: on the clock of `time.monotonic`.
        """
        while True:
            left = min(silence_s, deadline - time.monotonic())
            try:
                line = self._lines.get(timeout=max(left, 0.0))
            except queue.Empty:
                raise TimeoutError from None
            if line is None:
                return
            if line.endswith(b"\n"):
                yield line

    def exit_code(self) -> int:
        """The child's exit code; a child that closed its output and stays is ended."""
        try:
            return self._process.wait(timeout=_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def stderr(self) -> str:
        """The end of what it complained about."""
        size = self._stderr.seek(0, 2)
        self._stderr.seek(max(0, size - _STDERR_BYTES))
        return self._stderr.read().decode(errors="replace")


@contextmanager
def conversation(command: Sequence[str], said: bytes) -> Iterator[Conversation]:
    """Start `command`, tell it `said`, and listen; it is gone at the end, however that comes about."""
    with tempfile.TemporaryFile() as stderr:
        process = _start(command, stderr)
        lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        assert process.stdin is not None
        assert process.stdout is not None
        threads = [
            threading.Thread(target=_tell, args=(process.stdin, said), daemon=True),
            threading.Thread(target=_listen, args=(process.stdout, lines), daemon=True),
        ]
        for thread in threads:
            thread.start()
        try:
            yield Conversation(process, lines, stderr)
        finally:
            process.kill()
            process.wait()
            for thread in threads:
                thread.join(_GRACE_S)


def _start(command: Sequence[str], stderr: IO[bytes]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr)
    except OSError as error:
        raise DeviceError(
            f"cannot start {command[0]} ({error.strerror}); install OpenSSH's client (apt-get install openssh-client)"
        ) from None


def _tell(stdin: IO[bytes], said: bytes) -> None:
    try:
        with stdin:
            stdin.write(said)
    except OSError:
        return  # it went away: the listening side says so


def _listen(stdout: IO[bytes], lines: queue.SimpleQueue[bytes | None]) -> None:
    with stdout:
        for line in stdout:
            lines.put(line)
    lines.put(None)


def message_of(line: bytes, marker: str, who: str) -> dict[str, Any]:
    """What a script of ours said behind its marker; empty for a line that is not its own (a login greeting).

    Args:
        who: sent the line, for the `DeviceError` where it cannot be read.
    """
    text = line.decode(errors="replace")
    if not text.startswith(marker):
        return {}
    try:
        message = json.loads(text[len(marker) :])
    except ValueError as error:
        raise DeviceError(f"{who} sent a line that cannot be read: {error}") from None
    if not isinstance(message, dict):
        raise DeviceError(f"{who} sent a line that cannot be read")
    return message
