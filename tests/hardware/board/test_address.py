"""Nothing that a host, a path or an interpreter may contain reaches a shell or passes for an option."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hawqsearch.errors import InputError
from hawqsearch.hardware.board.address import check_host, check_interpreter, option_path
from hawqsearch.hardware.board.connection import Connection
from hawqsearch.hardware.board.ssh import SshBackend

MEANINGFUL = set(" \t\n\r\0;&|<>()$`\\\"'*?[]#~!{}^,=")


@pytest.mark.parametrize(
    "host",
    ["board", "pi@192.168.1.7", "pi@raspberrypi.local", "my_alias", "fe80::1%eth0", "u@2001:db8::7", "a.b."],
)
def test_hosts(host: str) -> None:
    assert Connection(host=host).command("true")[-2:] == [host, "true"]


@pytest.mark.parametrize(
    "host",
    [
        "",
        "-oProxyCommand=id",
        "pi@-oProxyCommand=id",
        "-l@board",
        "pi@board;id",
        "pi@board id",
        "$(id)@board",
        "pi@`id`",
        "pi@board\n",
        "a@b@c",
        "pi:secret@board",
        "ssh://board",
        "board:22",
        "@board",
        "pi@",
        "böard",
        "b-",
        "%h",
    ],
)
def test_hosts_that_are_none(host: str) -> None:
    with pytest.raises(InputError, match="as a host"):
        SshBackend(host=host)


@given(st.text(max_size=30))
def test_whatever_passes_has_no_meaning_to_a_shell(text: str) -> None:
    for check in (check_host, check_interpreter):
        try:
            passed = check(text)
        except InputError:
            continue
        assert passed == text
        assert not set(passed) & MEANINGFUL
        assert passed[0] != "-"
        assert passed.isascii()


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_ports_that_are_none(port: int) -> None:
    with pytest.raises(InputError, match="ports are 1 to 65535"):
        SshBackend(host="board", port=port)


@pytest.mark.parametrize("python", ["", "-c", "python3 -c id", "python3;id", "$(id)", "~/python", "py\nthon"])
def test_interpreters_that_are_none(python: str) -> None:
    with pytest.raises(InputError, match="as the board's Python"):
        SshBackend(host="board", python=python)


def test_host_keys_are_checked_and_nothing_is_asked() -> None:
    command = Connection(host="board", port=2222).command("true")
    assert "-oStrictHostKeyChecking=yes" in command
    assert "-oBatchMode=yes" in command
    assert command[-3:] == ["--", "board", "true"]


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no identity file"):
        Connection(host="board", identity=tmp_path / "none").command("true")
    with pytest.raises(InputError, match="there is no file of known hosts"):
        Connection(host="board", known_hosts=tmp_path).command("true")


@pytest.mark.parametrize("name", ["a'b", 'a"b', "a$HOME", "a\\b", "a\nb"])
def test_file_names_that_ssh_cannot_be_told(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(InputError, match="plainer name"):
        option_path(tmp_path / name, "identity file")
