"""How a board is reached: one `ssh` command line, and what its failures mean."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hawqsearch.errors import DeviceError
from hawqsearch.hardware.board.address import check_host, check_port, option_path

__all__ = ["Connection", "LineDroppedError"]

_ALWAYS: Final = (
    "-T",  # no terminal
    "-a",  # no agent forwarding
    "-x",  # no X11
    "-oBatchMode=yes",  # fail instead of asking for a password
    "-oStrictHostKeyChecking=yes",
    "-oClearAllForwardings=yes",
    "-oPermitLocalCommand=no",
    "-oServerAliveInterval=5",
    "-oServerAliveCountMax=3",
    "-oConnectionAttempts=1",
    "-oLogLevel=ERROR",
)
_KEY: Final = re.compile(r"host key verification failed|host identification has changed", re.IGNORECASE)
_CHANGED: Final = re.compile(r"host identification has changed", re.IGNORECASE)
_REFUSED: Final = re.compile(r"permission denied|too many authentication failures", re.IGNORECASE)
_SILENT: Final = re.compile(
    r"connect to host|timed out|connection refused|no route|unreachable|could not resolve|banner exchange",
    re.IGNORECASE,
)


class LineDroppedError(DeviceError):
    """The connection ended before the work did; another may succeed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Where the board is, and what proves that it is the one and that we may enter.

    Args:
        host: `board` or `user@board`, or an alias of the ssh configuration.
        port: None for the ssh configuration's.
        identity: private key file; None for those that ssh would try.
        known_hosts: file of accepted host keys; None for ssh's own.
        connect_timeout_s: how long the board may take to greet.
    """

    host: str
    port: int | None = None
    identity: Path | None = None
    known_hosts: Path | None = None
    connect_timeout_s: int = 10

    def __post_init__(self) -> None:
        check_host(self.host)
        if self.port is not None:
            check_port(self.port)

    def command(self, remote: str) -> list[str]:
        """The argument list that runs `remote`, a constant, on the board."""
        return ["ssh", *_ALWAYS, *self._options(), "--", self.host, remote]

    def failure(self, stderr: str) -> DeviceError:
        """What `ssh` meant with its exit code 255 and these words."""
        if _KEY.search(stderr):
            return DeviceError(self._about_key(stderr))
        if _REFUSED.search(stderr):
            return DeviceError(
                f"{self.host} refused the key; add yours to its ~/.ssh/authorized_keys (ssh-copy-id), "
                "or name the right one with --identity"
            )
        said = _last_line(stderr)
        if _SILENT.search(stderr):
            return LineDroppedError(
                f"{self.host} does not answer ({said}); is it on, is the port right, does `{self.by_hand}` work?"
            )
        return LineDroppedError(f"the line to {self.host} dropped ({said})")

    @property
    def by_hand(self) -> str:
        """What a person types to get to the board."""
        return " ".join(["ssh", *([f"-p {self.port}"] if self.port is not None else []), self.host])

    def _options(self) -> list[str]:
        options = [f"-oConnectTimeout={self.connect_timeout_s}"]
        if self.port is not None:
            options.append(f"-p{self.port}")
        if self.identity is not None:
            options += ["-i", option_path(self.identity, "identity file"), "-oIdentitiesOnly=yes"]
        if self.known_hosts is not None:
            path = option_path(self.known_hosts, "file of known hosts")
            options += [f'-oUserKnownHostsFile="{path}"', "-oGlobalKnownHostsFile=/dev/null"]
        return options

    def _about_key(self, stderr: str) -> str:
        if _CHANGED.search(stderr):
            return (
                f"the host key of {self.host} is not the one known: another board, a reinstalled one, or "
                "someone in between; if it is yours, forget the old key with ssh-keygen -R"
            )
        return (
            f"the host key of {self.host} is not known; run `{self.by_hand}` once, compare the "
            "fingerprint with the board's, and accept it"
        )


def _last_line(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return lines[-1] if lines else "no word from ssh"
