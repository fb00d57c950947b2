"""A `HardwareProfile` as one CSV file: every row says by itself what it is of and what it was made on.

`precision` holds a kernel's precision or a change's direction; a change has its tensor's shape as `input`. `rows` is
how many the file has, so that one that was cut short is known for it. Shapes are written 1x8x16x16. Columns of energy
are there where something was metered (see `energy_columns`), `half_width` where a row's interval is known. What it was
measured under, and whole networks, stand above the table (see `profile_notes`).
"""

from __future__ import annotations

import csv
import datetime
import io
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

from hawqsearch.core.energy_columns import ENERGY_COLUMNS, check_energy_columns, energy_cells, energy_of
from hawqsearch.core.files import write_atomic
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.hardware import (
    ORIGINS,
    Change,
    ChangeKey,
    HardwareProfile,
    KernelKey,
    Measurement,
    Rig,
    Signature,
)
from hawqsearch.core.model import JOIN_OPS, WEIGHTED_OPS
from hawqsearch.core.precision import Precision
from hawqsearch.core.profile_notes import Notes, read_notes, split_notes
from hawqsearch.errors import FileFormatError, InputError, UnknownNameError

__all__ = ["check_rig", "expired", "merge", "read_profile", "write_profile"]

_VERSION: Final = 1
_RIG: Final = ("target", "device", "runtime", "threads", "batch")
_KERNEL: Final = ("weight", "stride", "padding", "dilation", "groups", "activation")
_COLUMNS: Final = (
    *("schema_version", "rows", *_RIG, "kind", "op", "input", "output", *_KERNEL, "precision"),
    *("median_ms", "quartile1_ms", "quartile3_ms", "n", "date", "origin"),
)
_HALF_WIDTH: Final = "half_width"
_KINDS: Final = ("kernel", "change")
_NOT_OF_CHANGES: Final = ("op", "output", *_KERNEL)
_ACTIVATIONS: Final = ("", "relu", "relu6")
_NUMBER: Final = re.compile(r"[0-9]+", re.ASCII)
_SHAPE: Final = re.compile(r"[0-9]+(x[0-9]+)*", re.ASCII)

KeyT = TypeVar("KeyT", KernelKey, ChangeKey)
ValueT = TypeVar("ValueT")


# ---------------------------------------------------------------- two profiles


def merge(first: HardwareProfile, second: HardwareProfile) -> HardwareProfile:
    """Rows of both; of a row that is in both the newer, on the same day `second`'s.

    Energy stays where the newer row was only timed. Conditions are those of both, a network's residuals `second`'s.

    Raises `InputError` where they are of different targets or rigs.
    """
    check_rig(first, second.rig)
    if first.target != second.target:
        raise InputError(f"a profile of {first.target} and one of {second.target} do not merge")
    return replace(
        first,
        date=max(first.date, second.date),
        kernels=_newer(first.kernels, second.kernels),
        changes=_newer(first.changes, second.changes),
        conditions=tuple(dict.fromkeys((*first.conditions, *second.conditions))),
        whole=tuple({fit.network: fit for fit in (*first.whole, *second.whole)}.values()),
        scales=FrozenDict({**first.scales, **second.scales}),
    )


def expired(profile: HardwareProfile, runtime: str) -> bool:
    """Whether it was made with another version of the runtime: kernels change from one to the next."""
    return profile.rig.runtime != runtime


def check_rig(profile: HardwareProfile, rig: Rig) -> None:
    """Raise `InputError` where `profile` is of another machine, runtime, batch or number of threads than `rig`."""
    if profile.rig == rig:
        return
    if expired(profile, rig.runtime) and profile.rig == replace(rig, runtime=profile.rig.runtime):
        why = "the runtime's version changed"
    elif profile.rig.device == rig.device:
        why = "the profile is of other settings"
    else:
        why = "the profile is of another machine"
    raise InputError(
        f"{why}: it is of {profile.rig}, and this is {rig}; measure this one into a file of its own"
    )


def _newer(
    first: Mapping[KeyT, Measurement], second: Mapping[KeyT, Measurement]
) -> FrozenDict[KeyT, Measurement]:
    return FrozenDict(
        {**first, **{k: m if k not in first else _newest(first[k], m) for k, m in second.items()}}
    )


def _newest(first: Measurement, second: Measurement) -> Measurement:
    newer, older = (second, first) if second.date >= first.date else (first, second)
    timed_only = newer.energy is None and newer.origin == "measured"
    return replace(newer, energy=older.energy) if timed_only else newer


# ---------------------------------------------------------------- writing


def write_profile(path: str | os.PathLike[str], profile: HardwareProfile) -> None:
    """Write `profile` to `path`, whole or not at all; raises `InputError` where it has no rows or cannot be written."""
    n = len(profile.kernels) + len(profile.changes)
    if n == 0:
        raise InputError(f"the profile of {profile.rig} has no rows; nothing is written to {path}")
    text = io.StringIO(newline="")
    text.write(Notes(profile.conditions, profile.whole, profile.scales).dump())
    widths = (_HALF_WIDTH,) if any(row.half_width is not None for row in profile.rows.values()) else ()
    columns = (*_COLUMNS, *widths, *(ENERGY_COLUMNS if profile.counters else ()))
    rows = csv.DictWriter(text, fieldnames=columns, restval="", lineterminator="\n")
    rows.writeheader()
    common = {"schema_version": _VERSION, "rows": n, "target": profile.target} | _rig_cells(profile.rig)
    for kernel, row in profile.kernels.items():
        rows.writerow(common | {"kind": "kernel"} | _kernel_cells(kernel) | _measurement_cells(row))
    for change, row in profile.changes.items():
        cells = {"kind": "change", "input": _by(change.shape), "precision": change.change.value}
        rows.writerow(common | cells | _measurement_cells(row))
    write_atomic(path, text.getvalue())


def _rig_cells(rig: Rig) -> dict[str, object]:
    return {"device": rig.device, "runtime": rig.runtime, "threads": rig.threads, "batch": rig.batch}


def _kernel_cells(key: KernelKey) -> dict[str, object]:
    s = key.signature
    shapes = {
        "input": s.input_shape,
        "output": s.output_shape,
        "weight": s.weight_shape,
        "stride": s.stride,
        "padding": s.padding,
        "dilation": s.dilation,
    }
    cells: dict[str, object] = {name: _by(shape) for name, shape in shapes.items()}
    return {
        "op": s.op,
        **cells,
        "groups": s.groups,
        "activation": s.activation or "",
        "precision": key.precision,
    }


def _measurement_cells(row: Measurement) -> dict[str, object]:
    times = {"median_ms": row.median_ms, "quartile1_ms": row.low_ms, "quartile3_ms": row.high_ms}
    return {
        **{k: repr(float(v)) for k, v in times.items()},
        "n": row.n,
        "date": row.date,
        "origin": row.origin,
        **({} if row.half_width is None else {_HALF_WIDTH: repr(float(row.half_width))}),
        **energy_cells(row.energy),
    }


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


# ---------------------------------------------------------------- reading


def read_profile(path: str | os.PathLike[str]) -> HardwareProfile:
    """The profile in a file.

    Raises:
        InputError: there is no such file, or it cannot be read.
        FileFormatError: it is cut short, of a later version or of two rigs, or a row makes no sense.
    """
    text = _text(Path(path))
    with _within(path):
        lines, table = split_notes(text)
        notes = read_notes(lines)
        rows = _rows(table, above=len(lines))
        kernels: dict[KernelKey, Measurement] = {}
        changes: dict[ChangeKey, Measurement] = {}
        for line, row in rows:
            with _within(f"line {line}"):
                _check_same_rig(row, rows[0][1])
                if row["kind"] == "kernel":
                    _put(kernels, _kernel_key(row), row)
                else:
                    _put(changes, _change_key(row), row)
        first = rows[0][1]
        return HardwareProfile(
            target=first["target"],
            rig=_rig(first),
            date=max(m.date for m in (*kernels.values(), *changes.values())),
            kernels=FrozenDict(kernels),
            changes=FrozenDict(changes),
            conditions=notes.conditions,
            whole=notes.whole,
            scales=notes.scales,
        )


@contextmanager
def _within(place: str | os.PathLike[str]) -> Iterator[None]:
    """Within, what is wrong is raised as a `FileFormatError` that says where."""
    try:
        yield
    except InputError as error:
        raise FileFormatError(f"{place}: {error}") from error


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except OSError as error:
        raise InputError(
            f"cannot read {path}: {error.strerror}; name a file that `hawqsearch profile --out` wrote"
        ) from error
    except UnicodeDecodeError:
        raise FileFormatError(
            f"{path} is not a text file; name one that `hawqsearch profile --out` wrote"
        ) from None


def _rows(text: str, *, above: int) -> list[tuple[int, dict[str, str]]]:
    """Line number -> the row that ends there; the file is whole and of a version that is known.

    Args:
        above: lines of the file before `text`.
    """
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        rows = [(reader.line_num + above, row) for row in reader]
    except csv.Error as error:
        raise FileFormatError(f"not whole CSV ({error}); was it cut short? write it again") from None
    _check_header(reader.fieldnames or (), rows)
    for line, row in rows:
        if None in row.values() or None in row:
            raise FileFormatError(
                f"line {line} has not {len(reader.fieldnames or ())} cells; was it cut short? write it again"
            )
    stated = _count(rows[0][1], "rows")
    if len(rows) != stated or not text.endswith("\n"):
        raise FileFormatError(f"it has {len(rows)} of its {stated} rows; was it cut short? write it again")
    return rows


def _check_header(names: Iterable[str], rows: list[tuple[int, dict[str, str]]]) -> None:
    names = list(names)
    if "schema_version" not in names:
        raise FileFormatError(
            "not a profile: it has no column schema_version; `hawqsearch profile --out` writes one"
        )
    if not rows:
        raise FileFormatError("it has no rows; was it cut short? write it again")
    stated = rows[0][1]["schema_version"]
    if stated != str(_VERSION):
        raise FileFormatError(
            f"schema_version is {stated!r}, this release reads {_VERSION}; upgrade hawqsearch"
        )
    for name in names:
        if name not in (*_COLUMNS, *ENERGY_COLUMNS, _HALF_WIDTH):
            raise FileFormatError(str(UnknownNameError("column", name, _COLUMNS)))
    for name in _COLUMNS:
        if names.count(name) != 1:
            raise FileFormatError(f"it has column {name} {names.count(name)} times; it must be there once")
    if names.count(_HALF_WIDTH) > 1:
        raise FileFormatError(f"it has column {_HALF_WIDTH} twice; it must be there once")
    check_energy_columns(names)


def _check_same_rig(row: Mapping[str, str], first: Mapping[str, str]) -> None:
    for name in ("schema_version", "rows", *_RIG):
        if row[name] != first[name]:
            raise FileFormatError(
                f"{name} is {row[name]!r}, and {first[name]!r} above; a file is of one rig, keep others apart"
            )


def _put(rows: dict[KeyT, Measurement], key: KeyT, row: Mapping[str, str]) -> None:
    if key in rows:
        raise FileFormatError("this kernel or change is listed twice; keep one")
    rows[key] = _measurement(row)


def _rig(row: Mapping[str, str]) -> Rig:
    threads, batch = (_cell(row, name, _positive) for name in ("threads", "batch"))
    return Rig(device=row["device"], runtime=row["runtime"], threads=threads, batch=batch)


def _kernel_key(row: Mapping[str, str]) -> KernelKey:
    if row["op"] not in WEIGHTED_OPS | JOIN_OPS:
        raise UnknownNameError("operator", row["op"], WEIGHTED_OPS | JOIN_OPS)
    if row["activation"] not in _ACTIVATIONS:
        raise UnknownNameError("activation", row["activation"], _ACTIVATIONS)
    signature = Signature(
        op=row["op"],
        input_shape=_cell(row, "input", _shape),
        output_shape=_cell(row, "output", _shape),
        weight_shape=_cell(row, "weight", _shape),
        stride=_cell(row, "stride", _shape),
        padding=_cell(row, "padding", _shape),
        dilation=_cell(row, "dilation", _shape),
        groups=_cell(row, "groups", _positive),
        activation=row["activation"] or None,
    )
    return KernelKey(signature, str(Precision.parse(row["precision"])))


def _change_key(row: Mapping[str, str]) -> ChangeKey:
    if row["kind"] not in _KINDS:
        raise UnknownNameError("kind", row["kind"], _KINDS)
    for name in _NOT_OF_CHANGES:
        if row[name]:
            raise FileFormatError(f"a change of precision has no {name}, got {row[name]!r}")
    if row["precision"] not in set(Change):
        raise UnknownNameError("change", row["precision"], list(Change))
    return ChangeKey(_cell(row, "input", _shape), Change(row["precision"]))


def _measurement(row: Mapping[str, str]) -> Measurement:
    if row["origin"] not in ORIGINS:
        raise UnknownNameError("origin", row["origin"], ORIGINS)
    energy = energy_of(row)
    if energy is not None and row["origin"] != "measured":
        raise FileFormatError(f"energy is metered or absent, and this row is {row['origin']}")
    return Measurement(
        median_ms=_cell(row, "median_ms", _time),
        low_ms=_cell(row, "quartile1_ms", _time),
        high_ms=_cell(row, "quartile3_ms", _time),
        n=_count(row, "n"),
        date=_cell(row, "date", lambda text: datetime.date.fromisoformat(text).isoformat()),
        origin=row["origin"],
        energy=energy,
        half_width=_cell(row, _HALF_WIDTH, _share) if row.get(_HALF_WIDTH) else None,
    )


def _count(row: Mapping[str, str], name: str) -> int:
    return _cell(row, name, _whole)


def _cell(row: Mapping[str, str], name: str, parse: Callable[[str], ValueT]) -> ValueT:
    try:
        return parse(row[name])
    except ValueError as error:
        raise FileFormatError(f"{name} is {row[name][:40]!r}: {error}") from None


def _whole(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise ValueError("it must be a whole number")
    return int(text)


def _positive(text: str) -> int:
    value = _whole(text)
    if value == 0:
        raise ValueError("it must be at least 1")
    return value


def _shape(text: str) -> tuple[int, ...]:
    if text and not _SHAPE.fullmatch(text):
        raise ValueError("a shape is written 1x8x16x16")
    return tuple(map(int, text.split("x"))) if text else ()


def _share(text: str) -> float:
    value = float(text)
    if not math.isfinite(value) or value < 0:
        raise ValueError("a share is finite and not negative")
    return value


def _time(text: str) -> float:
    value = float(text)
    if not math.isfinite(value) or value < 0:
        raise ValueError("a time is finite and not negative")
    return value
