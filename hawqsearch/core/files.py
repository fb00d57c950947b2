"""Writing a file whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path
from types import MappingProxyType
from typing import Final

from hawqsearch.errors import InputError

__all__ = ["write_atomic"]

_REMEDIES: Final = MappingProxyType(
    {
        errno.ENOSPC: "free some or choose another folder",
        errno.EDQUOT: "free some or choose another folder",
        errno.ENOENT: "create its folder first",
        errno.ENOTDIR: "create its folder first",
        errno.EISDIR: "name a file, not a folder",
        errno.EACCES: "choose a folder that you may write to",
        errno.EROFS: "choose a folder that you may write to",
    }
)


def write_atomic(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Write `content` to a temporary name beside `path`, then rename: no reader sees half a file.

    Raises:
        InputError: it cannot be written; nothing is left behind and an older file stays as it was.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    data = content.encode() if isinstance(content, str) else content
    try:
        _write_and_rename(temporary, target, data)
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "choose another place")
        raise InputError(f"cannot write {target}: {error.strerror}; {remedy}") from error
    finally:
        _remove(temporary)


def _write_and_rename(temporary: Path, target: Path, data: bytes) -> None:
    with temporary.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(target)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return  # its folder is gone or closed to us: there is nothing to clean
