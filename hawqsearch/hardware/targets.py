"""Targets as files: which kernels a runtime has, and whether this machine is one of them."""

from __future__ import annotations

import importlib.resources
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Final

from hawqsearch.core.target import Target
from hawqsearch.errors import DeviceError, FileFormatError, InputError, UnknownNameError
from hawqsearch.hardware.arm.cores import parse_core
from hawqsearch.hardware.cuda.presence import missing_gpu
from hawqsearch.hardware.machines import machine_names
from hawqsearch.hardware.processor import cpu_flags
from hawqsearch.hardware.target_file import read_target
from hawqsearch.runtime.find import RUNTIMES, check_installed

__all__ = ["check_machine", "find_target", "read_target", "runtimes_of", "target_names"]

NATIVE: Final = "native"
FILE: Final = "target.toml"


def target_names() -> tuple[str, ...]:
    """Targets that ship with the package."""
    folders = (p for p in importlib.resources.files("hw_profiles").iterdir() if (p / "target.toml").is_file())
    return tuple(sorted(p.name for p in folders))


def runtimes_of(target: Target) -> tuple[str, ...]:
    """What the target can be run by, the default first.

    Of one that ships, `target.toml` says what is true of its default, `<runtime>.toml` beside it of another.
    """
    plain = _plain(target.name)
    if plain not in target_names():
        return () if target.runtime is None else (target.runtime,)
    default = read_target(_shipped(plain)).runtime
    others = (r for r in RUNTIMES if _shipped(plain).with_name(f"{r}.toml").is_file())
    return () if default is None else (default, *others)


def find_target(name: str, runtime: str | None = None) -> Target:
    """The target of that name, `native` for this machine's, or that of a path: a folder with a `target.toml`, or such
    a file.

    Args:
        runtime: instead of the target's default.

    Raises:
        InputError: the target does not have that runtime, or it is not installed.
        UnknownNameError: no target has that name; it says which are near.
        FileFormatError: the file at that path is not a target.
    """
    target = _find(name)
    if runtime is None or runtime == target.runtime:
        return target
    return _run_by(target, runtime)


def _run_by(target: Target, runtime: str) -> Target:
    """A target that ships, with another runtime than its default."""
    has = runtimes_of(target)
    if runtime not in has and runtime in RUNTIMES:
        told = f"it has {' and '.join(has)}" if has else "it has none"
        raise InputError(f"{target.name} is not run by {runtime}; {told}")
    check_installed(runtime)
    other = read_target(_shipped(_plain(target.name)).with_name(f"{runtime}.toml"))
    return replace(other, name=target.name, variant=target.variant)


def _plain(name: str) -> str:
    """Without the variant."""
    return re.split("[:@]", name, maxsplit=1)[0]


def _find(name: str) -> Target:
    """The target with its default runtime."""
    if name == NATIVE:
        return _native()
    if _is_path(name):
        return _own(Path(name))
    plain = _plain(name)
    if plain not in target_names():
        if (Path(name) / FILE).is_file():
            raise InputError(f"unknown target {name!r}; for the folder of that name write ./{name}")
        raise UnknownNameError("target", plain, target_names())
    target = read_target(_shipped(plain))
    variant = name[len(plain) :].removeprefix(":")
    if not variant:
        return target
    if target.device != "tables":
        raise InputError(f"{plain} has no variants such as {variant!r}; name it alone")
    parse_core(variant)  # a core or a clock that there is not is told before any work
    return replace(target, name=name, variant=variant)


def _is_path(name: str) -> bool:
    return "/" in name or os.sep in name or name.endswith(".toml") or name in (".", "..")


def _own(path: Path) -> Target:
    """The target in a user's own file."""
    file = path / FILE if path.is_dir() else path
    target = read_target(file)
    if target.name in (*target_names(), NATIVE):
        if target.name != NATIVE and target == read_target(_shipped(target.name)):
            return target
        raise FileFormatError(f"{file}: the name {target.name} is of a target that ships; choose another")
    if target.device != "local":
        raise FileFormatError(
            f"{file}: device {target.device!r} is for targets whose tables ship; leave it out"
        )
    return target


def _shipped(name: str) -> Path:
    return Path(str(importlib.resources.files("hw_profiles") / name / FILE))


def _native() -> Target:
    """The target that describes this machine; raises `InputError` where none does."""
    flags = cpu_flags()
    for name in target_names():
        target = find_target(name)
        if target.device == "local" and target.requires and not target.on_gpu and _runs(target, flags):
            return target
    raise InputError(
        "no target with measured latency describes this machine: it has none of avx512_vnni, avx_vnni, avx2; "
        "name a target (`hawqsearch targets`)"
    )


def check_machine(target: Target) -> None:
    """Raise `DeviceError` where this machine cannot run the target's kernels."""
    if target.on_gpu:
        _check_gpu(target)
        return
    flags = cpu_flags()
    if _runs(target, flags):
        return
    others = [n for n in target_names() if (t := find_target(n)).requires and _runs(t, flags)]
    hint = f"use --target {others[0]} here" if others else "no target describes it"
    wanted = f"with {' or '.join(target.requires)}" if not flags & set(target.requires) else ""
    unwanted = f"without {', '.join(target.excludes)}" if flags & set(target.excludes) else ""
    needs = " and ".join(filter(None, (wanted, unwanted)))
    priced = "".join(f", or search with --profile {name}" for name in machine_names(target)[:1])
    raise DeviceError(f"{target.name} needs a processor {needs}, which is not here; {hint}{priced}")


def _check_gpu(target: Target) -> None:
    why = missing_gpu()
    if why is not None:
        raise DeviceError(
            f"{target.name} needs an NVIDIA GPU, and {why}; measure one with `hawqsearch profile "
            f"--target {target.name} --out gpu.csv` where it is, or "
            "here with --host user@machine, and search with --profile gpu.csv"
        )


def _runs(target: Target, flags: frozenset[str]) -> bool:
    has = not target.requires or bool(flags & set(target.requires))
    return has and not flags & set(target.excludes)
