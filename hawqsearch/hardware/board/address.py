"""What may be said to `ssh`: names and paths that can mean only one thing to every program they pass through."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from hawqsearch.errors import InputError

__all__ = ["check_host", "check_interpreter", "check_port", "option_path"]

_USER: Final = r"[A-Za-z_][A-Za-z0-9_.-]{0,63}"
_NAME: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252}[A-Za-z0-9_.])?"
_IPV6: Final = r"[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?:\.[0-9]{1,3}){0,3}(?:%[A-Za-z0-9_.-]{1,15})?"
_HOST: Final = re.compile(rf"(?:{_USER}@)?(?:{_NAME}|{_IPV6})", re.ASCII)
_INTERPRETER: Final = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./+-]*", re.ASCII)
_MEANINGFUL: Final = re.compile(r"[\x00-\x1f\x7f\"'\\$]")


def check_host(text: str) -> str:
    """`text` where it is `host` or `user@host`: a name, an alias of the ssh configuration, or an address."""
    if not _HOST.fullmatch(text):
        raise InputError(
            f"cannot use {text!r} as a host; write user@board or board (letters, digits, '.', '-', '_'), "
            "and put anything else under a `Host` alias in ~/.ssh/config"
        )
    return text


def check_port(port: int) -> int:
    """`port` where there is such a port."""
    if not 1 <= port <= 65535:
        raise InputError(f"port {port} does not exist; ports are 1 to 65535")
    return port


def check_interpreter(text: str) -> str:
    """`text` where it is the name or path of a program."""
    if not _INTERPRETER.fullmatch(text):
        raise InputError(
            f"cannot use {text!r} as the board's Python; write python3 or a plain path like "
            "/home/user/venv/bin/python"
        )
    return text


def option_path(path: Path, what: str) -> str:
    """`path` as a value of an ssh option, which splits at blanks and expands `%` and `$`.

    Raises:
        InputError: there is no such file, or its name means something to ssh that cannot be escaped.
    """
    absolute = path.expanduser().absolute()
    if not absolute.is_file():
        raise InputError(f"there is no {what} {path}")
    if _MEANINGFUL.search(str(absolute)):
        raise InputError(f"ssh cannot be told the path {str(path)!r}; give the {what} a plainer name")
    return str(absolute).replace("%", "%%")
