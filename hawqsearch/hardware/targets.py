"""Targets as files: which kernels a runtime has, and whether this machine is one of them."""

from __future__ import annotations

import importlib.resources
import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from hawqsearch.core.cost import QUANTITIES
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.model import JOIN_OPS, WEIGHTED_OPS
from hawqsearch.core.precision import Precision
from hawqsearch.core.target import Kernel, Scheme, Target
from hawqsearch.errors import DeviceError, FileFormatError, InputError, UnknownNameError

__all__ = ["check_machine", "cpu_flags", "cpu_name", "find_target", "read_target", "target_names"]

_KEYS: Final = frozenset(
    {"name", "summary", "runtime", "device", "requires", "excludes", "metered", "scheme", "kernel"}
)
NATIVE: Final = "native"
_KERNEL_KEYS: Final = frozenset({"ops", "precisions", "timed_as", "requantizes", "storage_bits", "note"})
_OPS: Final = WEIGHTED_OPS | JOIN_OPS


def target_names() -> tuple[str, ...]:
    """Targets that ship with the package."""
    folders = (p for p in importlib.resources.files("hw_profiles").iterdir() if (p / "target.toml").is_file())
    return tuple(sorted(p.name for p in folders))


def find_target(name: str) -> Target:
    """The target of that name, `native` for this machine's; raises `UnknownNameError` with the nearest."""
    if name == NATIVE:
        return _native()
    plain = re.split("[:@]", name, maxsplit=1)[0]
    if plain not in target_names():
        raise UnknownNameError("target", plain, target_names())
    target = read_target(Path(str(importlib.resources.files("hw_profiles") / plain / "target.toml")))
    variant = name[len(plain) :].removeprefix(":")
    if variant and target.device != "tables":
        raise InputError(f"{plain} has no variants such as {variant!r}; name it alone")
    return replace(target, name=name, variant=variant)


def _native() -> Target:
    """The target that describes this machine; raises `InputError` where none does."""
    flags = cpu_flags()
    for name in target_names():
        target = find_target(name)
        if target.device == "local" and target.requires and _runs(target, flags):
            return target
    raise InputError(
        "no target with measured latency describes this machine: it has none of avx512_vnni, avx_vnni, avx2; "
        "name a target (`hawqsearch targets`)"
    )


def read_target(path: Path) -> Target:
    """The target that a TOML file describes; raises `FileFormatError` where it is not one."""
    try:
        table = tomllib.loads(path.read_text())
        _check_keys(table, _KEYS, path)
        return Target(
            name=table["name"],
            summary=table["summary"],
            runtime=table.get("runtime"),
            scheme=Scheme(**table.get("scheme", {})),
            kernels=_kernels(table["kernel"], path),
            device=table.get("device", "local"),
            requires=tuple(table.get("requires", ())),
            excludes=tuple(table.get("excludes", ())),
            metered=_metered(table, path),
        )
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FileFormatError(f"{path} is not a TOML file: {error}") from None
    except (KeyError, TypeError) as error:
        raise FileFormatError(
            f"{path} is not a target file: {error}; see hw_profiles/x86-vnni/target.toml"
        ) from None


def check_machine(target: Target) -> None:
    """Raise `DeviceError` where this machine cannot run the target's kernels."""
    flags = cpu_flags()
    if _runs(target, flags):
        return
    if target.runtime == "torch":
        raise DeviceError(
            f"{target.name} has no profile of this network; run `hawqsearch profile --target {target.name}` "
            "on a machine whose GPU PyTorch sees"
        )
    others = [n for n in target_names() if (t := find_target(n)).requires and _runs(t, flags)]
    hint = f"use --target {others[0]} here" if others else "no target describes it"
    wanted = f"with {' or '.join(target.requires)}" if not flags & set(target.requires) else ""
    unwanted = f"without {', '.join(target.excludes)}" if flags & set(target.excludes) else ""
    needs = " and ".join(filter(None, (wanted, unwanted)))
    raise DeviceError(f"{target.name} needs a processor {needs}, which is not here; {hint}")


def _runs(target: Target, flags: frozenset[str]) -> bool:
    has = not target.requires or bool(flags & set(target.requires))
    return has and not flags & set(target.excludes)


def cpu_flags() -> frozenset[str]:
    """What the kernel says this processor can do; empty where it says nothing."""
    return frozenset(_cpuinfo("flags").split())


def cpu_name() -> str:
    """The processor's own name."""
    return _cpuinfo("model name") or "unknown processor"


def _cpuinfo(field: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    found = (line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == field)
    return next(found, "")


def _kernels(tables: list[dict[str, Any]], path: Path) -> FrozenDict[str, FrozenDict[str, Kernel]]:
    kernels: dict[str, dict[str, Kernel]] = {}
    for table in tables:
        _check_keys(table, _KERNEL_KEYS, path)
        for op in table["ops"]:
            if op not in _OPS:
                raise FileFormatError(f"{path}: {UnknownNameError('operator', op, _OPS)}")
            for name in table["precisions"]:
                if name in kernels.setdefault(op, {}):
                    raise FileFormatError(f"{path} lists {name} on {op} twice; keep one")
                kernels[op][name] = _kernel(table, name, path)
    return FrozenDict({op: FrozenDict(found) for op, found in kernels.items()})


def _kernel(table: Mapping[str, Any], name: str, path: Path) -> Kernel:
    try:
        precision = Precision.parse(name)
        timed_as = str(Precision.parse(table.get("timed_as", name)))
    except InputError as error:
        raise FileFormatError(f"{path}: {error}") from None
    return Kernel(
        timed_as=timed_as,
        requantizes=table.get("requantizes", False),
        storage_bits=table.get("storage_bits", precision.weight.bits),
        note=table.get("note", ""),
    )


def _metered(table: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    for quantity in table.get("metered", ()):
        if quantity not in QUANTITIES:
            raise FileFormatError(f"{path}: {UnknownNameError('quantity', quantity, QUANTITIES)}")
    return tuple(table.get("metered", ()))


def _check_keys(table: Mapping[str, Any], known: frozenset[str], path: Path) -> None:
    for key in table:
        if key not in known:
            raise FileFormatError(f"{path}: {UnknownNameError('key', key, known)}")
