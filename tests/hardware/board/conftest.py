"""The server that the tests of boards talk to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hardware.board.server import CONFIG, NO_SSHD, SSHD, Sshd, keygen


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    if not SSHD.exists():
        pytest.skip(NO_SSHD)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd refuses to start as root without it
    server = Sshd(tmp_path)
    server.temporary.mkdir()
    server.bin.mkdir()
    keygen(tmp_path / "host_key")
    keygen(tmp_path / "user_key")
    (tmp_path / "authorized_keys").write_text((tmp_path / "user_key.pub").read_text())
    host_key = (tmp_path / "host_key.pub").read_text()
    (tmp_path / "known_hosts").write_text(f"[127.0.0.1]:{server.port} {host_key}")
    (tmp_path / "sshd_config").write_text(CONFIG.format(port=server.port, folder=tmp_path))
    server.start()
    yield server
    server.stop()
