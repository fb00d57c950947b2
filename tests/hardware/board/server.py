"""A real sshd on loopback, with keys and configuration of its own; nothing of the user's is read or written."""

from __future__ import annotations

import getpass
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from hawqsearch.hardware.board.ssh import SshBackend

SSHD = Path("/usr/sbin/sshd")
NO_SSHD = "no /usr/sbin/sshd: apt-get install openssh-server to test boards over ssh"
CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
SetEnv TMPDIR={folder}/tmp
"""


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def keygen(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)


@dataclass
class Sshd:
    """The server; `temporary` is where its sessions put their temporary folders, `bin` has
    room for a Python that is none."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def temporary(self) -> Path:
        return self.folder / "tmp"

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    def start(self) -> None:
        command = [str(SSHD), "-D", "-e", "-f", str(self.folder / "sshd_config")]
        with (self.folder / "sshd.log").open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log, stdin=subprocess.DEVNULL)
        until = time.monotonic() + 10
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise RuntimeError((self.folder / "sshd.log").read_text())

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def kill_sessions(self) -> int:
        """End the server's processes that carry connections, and only these; how many there were."""
        assert self.process is not None
        sessions = [pid for pid in descendants(self.process.pid) if command_of(pid).startswith("sshd")]
        for pid in sessions:
            os.kill(pid, signal.SIGKILL)
        return len(sessions)

    def backend(self, **changes: object) -> SshBackend:
        settings: dict[str, object] = {
            "host": f"{getpass.getuser()}@127.0.0.1",
            "port": self.port,
            "identity": self.folder / "user_key",
            "known_hosts": self.folder / "known_hosts",
            "python": sys.executable,
            "connect_timeout_s": 5,
            "timeout_s": 60.0,
            "silence_s": 20.0,
            "pause_s": 0.05,
            "rounds": 3,
            "warm_up": 1,
            "burst": 2,
        }
        return SshBackend(**(settings | changes))  # type: ignore[arg-type]


def descendants(parent: int) -> list[int]:
    """Processes below `parent`, children before grandchildren."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    try:
        direct = [int(pid) for pid in children.read_text().split()]
    except OSError:
        return []
    return direct + [pid for child in direct for pid in descendants(child)]


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
