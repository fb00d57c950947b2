"""Profiles of machines that ship with a target: what `--profile` takes by name."""

from __future__ import annotations

import importlib.resources
from pathlib import Path

from hawqsearch.core.target import Target
from hawqsearch.errors import InputError
from hawqsearch.hardware.published import is_published

__all__ = ["find_machine", "machine_names"]


def machine_names(target: Target) -> tuple[str, ...]:
    """Of the machines that were measured for `target`."""
    if target.device == "tables":
        return ()  # simulated cores are the target's variants
    return tuple(sorted(p.stem for p in _folder(target).glob("*.csv") if not is_published(p)))


def find_machine(target: Target, name: str) -> Path:
    """The profile file called `name`: a path, or one that ships with `target`.

    Raises `InputError` where there is neither.
    """
    path, known = Path(name), machine_names(target)
    if path.exists() or name not in known:
        if not path.exists() and path.suffix != ".csv" and known:
            raise InputError(
                f"there is no file {name}, and no machine of that name was measured for {target.name}; "
                f"there is {', '.join(known)}"
            )
        return path
    return _folder(target) / f"{name}.csv"


def _folder(target: Target) -> Path:
    return Path(str(importlib.resources.files("hw_profiles") / target.name / "profiles"))
