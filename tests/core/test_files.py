"""A file is written whole or not at all."""

import errno
import os
from pathlib import Path

import pytest

from hawqsearch.core.files import write_atomic
from hawqsearch.errors import InputError


@pytest.mark.parametrize("content", ["naïve\n", b"\x00\xff", ""])
def test_writes_what_it_is_given(tmp_path: Path, content: bytes | str) -> None:
    write_atomic(tmp_path / "file", content)
    assert (tmp_path / "file").read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert os.listdir(tmp_path) == ["file"]


def test_full_disk_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("old")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"No space left on device; free some or choose another folder"):
        write_atomic(tmp_path / "file", "new")
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "old"


def test_ctrl_c_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "file", "new")
    assert os.listdir(tmp_path) == []


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "none" / "file", tmp_path / "file" / "below", tmp_path):
        with pytest.raises(InputError, match=f"cannot write {place}") as caught:
            write_atomic(place, "new")
        assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == ["file"]
