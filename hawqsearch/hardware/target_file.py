"""A target as a TOML file: what it may say, and one line on what is wrong where it says something else."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from hawqsearch.core.cost import QUANTITIES
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.model import JOIN_OPS, WEIGHTED_OPS
from hawqsearch.core.precision import Precision
from hawqsearch.core.target import Kernel, Scheme, Target
from hawqsearch.errors import FileFormatError, InputError, UnknownNameError
from hawqsearch.runtime.find import RUNTIMES

__all__ = ["read_target"]

_KEYS: Final = frozenset(
    {
        "name",
        "summary",
        "runtime",
        "functions",
        "device",
        "requires",
        "excludes",
        "metered",
        "scheme",
        "kernel",
    }
)
_KERNEL_KEYS: Final = frozenset(
    {"ops", "precisions", "timed_as", "requantizes", "storage_bits", "note", "source"}
)
_SCHEME_KEYS: Final = frozenset(field.name for field in fields(Scheme))
_OPS: Final = WEIGHTED_OPS | JOIN_OPS
_DEVICES: Final = ("local", "tables")
_OWN_BACKEND: Final = "torch"
"""The runtime whose kernels `hardware.cuda` times: it loads no files."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def read_target(path: Path) -> Target:
    """The target that a TOML file describes.

    Raises:
        InputError: the file cannot be read.
        FileFormatError: it is not a target; one line that says where and why.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; name a target.toml or its folder") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FileFormatError(f"{path} is not a TOML file: {error}") from None
    try:
        return _target(table)
    except InputError as error:
        raise FileFormatError(f"{path}: {error}") from None


def _target(table: Mapping[str, Any]) -> Target:
    _check_keys(table, _KEYS)
    runtime, metered = _text(table, "runtime", ""), _texts(table, "metered", required=False)
    _check_runtime(runtime, metered)
    name, device = _text(table, "name"), _text(table, "device", "local")
    if not _NAME.fullmatch(name):
        raise FileFormatError(f"name {name!r} must be of letters, digits, dots, dashes and underscores")
    if device not in _DEVICES:
        raise UnknownNameError("device", device, _DEVICES)
    return Target(
        name=name,
        summary=_text(table, "summary"),
        runtime=runtime or None,
        scheme=_scheme(table.get("scheme", {})),
        kernels=_kernels(table.get("kernel")),
        device=device,
        functions=_flag(table, "functions", default=True),
        requires=_texts(table, "requires", required=False),
        excludes=_texts(table, "excludes", required=False),
        metered=metered,
    )


def _check_runtime(runtime: str, metered: tuple[str, ...]) -> None:
    if runtime and runtime not in (*RUNTIMES, _OWN_BACKEND):
        raise UnknownNameError("runtime", runtime, (*RUNTIMES, _OWN_BACKEND))
    for quantity in metered:
        if quantity == "energy_mj":
            raise FileFormatError("energy is metered by a machine, not by a target; leave energy_mj out")
        if quantity not in QUANTITIES:
            raise UnknownNameError("quantity", quantity, QUANTITIES)
    if ("latency_ms" in metered) != bool(runtime):
        raise FileFormatError("latency_ms is metered where there is a runtime, and only there")


def _scheme(table: Mapping[str, Any]) -> Scheme:
    if not isinstance(table, dict):
        raise FileFormatError("scheme is a table: [scheme]")
    _check_keys(table, _SCHEME_KEYS)
    for key, value in table.items():
        if key == "weight_code_bits":
            _check_bits(key, value, 2, 8)
        elif not isinstance(value, bool):
            raise FileFormatError(f"{key} is {value!r}; write true or false")
    return Scheme(**table)


def _kernels(tables: object) -> FrozenDict[str, FrozenDict[str, Kernel]]:
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise FileFormatError("kernels are tables: [[kernel]], one or more")
    kernels: dict[str, dict[str, Kernel]] = {}
    for table in tables:
        _check_keys(table, _KERNEL_KEYS)
        for op in _texts(table, "ops"):
            if op not in _OPS:
                raise UnknownNameError("operator", op, _OPS)
            for name in _texts(table, "precisions"):
                if name in kernels.setdefault(op, {}):
                    raise FileFormatError(f"it lists {name} on {op} twice; keep one")
                kernels[op][name] = _kernel(table, name)
    for op in sorted(_OPS):
        _check_operator(op, kernels.get(op, {}))
    return FrozenDict({op: FrozenDict(found) for op, found in kernels.items()})


def _check_operator(op: str, kernels: Mapping[str, Kernel]) -> None:
    """Every operator runs in fp32, and what is timed as another precision is timed as one that there is."""
    if "fp32" not in kernels:
        raise FileFormatError(f"it has no fp32 kernel of {op}; list one, every operator needs it")
    for name, kernel in kernels.items():
        if kernel.timed_as not in kernels:
            raise FileFormatError(f"{name} on {op} is timed as {kernel.timed_as}, which it does not list")


def _kernel(table: Mapping[str, Any], name: str) -> Kernel:
    precision = Precision.parse(name)
    requantizes = _flag(table, "requantizes", default=False)
    if requantizes and not precision.quantizes_input:
        raise FileFormatError(f"{name} does not quantize activations, so its kernel requantizes none")
    storage_bits = table.get("storage_bits", precision.weight.bits)
    _check_bits("storage_bits", storage_bits, precision.weight.bits, 32)
    return Kernel(
        timed_as=str(Precision.parse(_text(table, "timed_as", name))),
        requantizes=requantizes,
        storage_bits=storage_bits,
        note=_text(table, "note", ""),
        source=_text(table, "source", ""),
    )


def _flag(table: Mapping[str, Any], key: str, *, default: bool) -> bool:
    value = table.get(key, default)
    if not isinstance(value, bool):
        raise FileFormatError(f"{key} is {value!r}; write true or false")
    return value


def _check_bits(key: str, value: object, least: int, most: int) -> None:
    if type(value) is not int or not least <= value <= most:
        raise FileFormatError(f"{key} is {value!r}; write a whole number from {least} to {most}")


def _text(table: Mapping[str, Any], key: str, default: str | None = None) -> str:
    value = table.get(key, default)
    if value is None:
        raise FileFormatError(f"it has no {key!r}; see hw_profiles/x86-vnni/target.toml")
    if not isinstance(value, str):
        raise FileFormatError(f"{key} is {value!r}; write it in quotes")
    return value


def _texts(table: Mapping[str, Any], key: str, *, required: bool = True) -> tuple[str, ...]:
    value = table.get(key, [] if not required else None)
    if value is None:
        raise FileFormatError(f"it has no {key!r}; see hw_profiles/x86-vnni/target.toml")
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise FileFormatError(f"{key} is {value!r}; write a list of names in quotes")
    if required and not value:
        raise FileFormatError(f"{key} is empty; name one at least")
    return tuple(value)


def _check_keys(table: Mapping[str, Any], known: frozenset[str]) -> None:
    for key in table:
        if key not in known:
            raise UnknownNameError("key", key, known)
