"""The tables of simulated work as CSV: kernels, changes of precision, whole networks; and the rig."""

from __future__ import annotations

import csv
import datetime
import io
import json
import math
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from hawqsearch.core.files import write_atomic
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.hardware import Change, ChangeKey, KernelKey, Signature
from hawqsearch.errors import FileFormatError, UnknownNameError
from hawqsearch.hardware.arm.cores import KERNEL_SETS, cores

__all__ = [
    "CHANGES",
    "KERNELS",
    "NO_WORK",
    "RIG",
    "SCALES",
    "WHOLE",
    "SimulatedRig",
    "WholeKey",
    "Work",
    "columns",
    "merge",
    "read_changes",
    "read_kernels",
    "read_rig",
    "read_scales",
    "read_whole",
    "write_rig",
    "write_scales",
]

KERNELS: Final = "kernels.csv"
CHANGES: Final = "changes.csv"
WHOLE: Final = "whole.csv"
RIG: Final = "rig.toml"
SCALES: Final = "scales.json"

_KERNEL_FIELDS: Final = (
    "op",
    "input",
    "output",
    "weight",
    "stride",
    "padding",
    "dilation",
    "groups",
    "activation",
    "precision",
)
_CHANGE_FIELDS: Final = ("shape", "change")
_WHOLE_FIELDS: Final = ("network", "structure", "config")

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Work:
    """Column of a table (`instructions_<kernel set>`, `cycles_<core>`) -> how much of it."""

    amounts: FrozenDict[str, float]

    def joined(self, more: Mapping[str, float]) -> Work:
        """With the columns of `more`."""
        return Work(FrozenDict({**self.amounts, **more}))


NO_WORK: Final = Work(FrozenDict())


@dataclass(frozen=True, slots=True)
class WholeKey:
    """A configuration of a network; `structure` hashes its shapes and wiring."""

    network: str
    structure: str
    config: FrozenDict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedRig:
    """What the tables were made with, and what every run costs, however small the model."""

    runtime: str
    date: str
    run: Work

    @classmethod
    def today(cls, runtime: str, run: Work) -> SimulatedRig:
        """With today's date."""
        return cls(runtime=runtime, date=datetime.datetime.now(datetime.UTC).date().isoformat(), run=run)


def columns() -> tuple[str, ...]:
    """Columns of amounts, in order."""
    return (*(f"instructions_{s}" for s in KERNEL_SETS), *(core.column for core in cores().values()))


# ---------------------------------------------------------------- reading


def read_kernels(path: Path) -> dict[KernelKey, Work]:
    """Rows of `kernels.csv`; raises `FileFormatError` naming the line that cannot be read."""
    return _read(path, _KERNEL_FIELDS, _kernel_key)


def read_changes(path: Path) -> dict[ChangeKey, Work]:
    """Rows of `changes.csv`."""
    return _read(path, _CHANGE_FIELDS, lambda row: ChangeKey(_shape(row["shape"]), Change(row["change"])))


def read_whole(path: Path) -> dict[WholeKey, Work]:
    """Rows of `whole.csv`."""
    return _read(path, _WHOLE_FIELDS, _whole_key)


def read_rig(path: Path) -> SimulatedRig:
    """What the tables beside `path` were made with."""
    try:
        table = tomllib.loads(path.read_text())
        run = Work(FrozenDict({c: float(table["run"][c]) for c in columns()}))
        return SimulatedRig(runtime=table["runtime"], date=table["date"], run=run)
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise FileFormatError(f"{path} does not say what the tables were made with: {error!r}") from None


def read_scales(path: Path) -> dict[str, tuple[float, ...]]:
    """What a predictor learned from the tables (see `HardwareProfile`); nothing where that is not there."""
    try:
        if not path.exists():
            return {}
        return {str(kind): tuple(map(float, found)) for kind, found in json.loads(path.read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise FileFormatError(f"{path} does not hold a predictor's scales: {error!r}") from None


def write_scales(path: Path, scales: Mapping[str, tuple[float, ...]]) -> None:
    """The inverse of `read_scales`."""
    rounded = {kind: [round(value, 4) for value in found] for kind, found in sorted(scales.items())}
    write_atomic(path, json.dumps(rounded) + "\n")


def _read(path: Path, fields: tuple[str, ...], key_of: Callable[[Mapping[str, str]], K]) -> dict[K, Work]:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise FileFormatError(f"cannot read {path}: {error}") from None
    rows = csv.DictReader(io.StringIO(text))
    wanted = (*fields, *columns())
    for name in rows.fieldnames or ():
        if name not in wanted:
            raise FileFormatError(f"{path}: {UnknownNameError('column', name, wanted)}")
    if tuple(rows.fieldnames or ()) != wanted:
        raise FileFormatError(f"{path} has not the columns {', '.join(wanted)}")
    found: dict[K, Work] = {}
    for number, row in enumerate(rows, start=2):
        try:
            found[key_of(row)] = Work(FrozenDict({c: _amount(row[c]) for c in columns()}))
        except (ValueError, TypeError, AttributeError) as error:
            raise FileFormatError(f"{path}, line {number}: {error}") from None
    return found


def _amount(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{text} is no amount of work")
    return value


def _kernel_key(row: Mapping[str, str]) -> KernelKey:
    signature = Signature(
        op=row["op"],
        input_shape=_shape(row["input"]),
        output_shape=_shape(row["output"]),
        weight_shape=_shape(row["weight"]),
        stride=_shape(row["stride"]),
        padding=_shape(row["padding"]),
        dilation=_shape(row["dilation"]),
        groups=int(row["groups"]),
        activation=row["activation"] or None,
    )
    return KernelKey(signature, row["precision"])


def _whole_key(row: Mapping[str, str]) -> WholeKey:
    return WholeKey(row["network"], row["structure"], FrozenDict(json.loads(row["config"])))


def _shape(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("x")) if text else ()


# ---------------------------------------------------------------- writing


def merge(folder: Path, works: Mapping[object, Work]) -> None:
    """Put `works` into the tables of `folder`; a network's rows replace those it had, others stay."""
    kernels = {k: w for k, w in works.items() if isinstance(k, KernelKey)}
    changes = {k: w for k, w in works.items() if isinstance(k, ChangeKey)}
    wholes = {k: w for k, w in works.items() if isinstance(k, WholeKey)}
    networks = {key.network for key in wholes}
    kept = {k: w for k, w in _known(folder / WHOLE, read_whole).items() if k.network not in networks}
    _write(folder / KERNELS, _KERNEL_FIELDS, _kernel_cells, _known(folder / KERNELS, read_kernels) | kernels)
    _write(folder / CHANGES, _CHANGE_FIELDS, _change_cells, _known(folder / CHANGES, read_changes) | changes)
    _write(folder / WHOLE, _WHOLE_FIELDS, _whole_cells, kept | wholes)


def write_rig(path: Path, rig: SimulatedRig) -> None:
    """The inverse of `read_rig`."""
    lines = [f"runtime = {json.dumps(rig.runtime)}", f"date = {json.dumps(rig.date)}", ""]
    lines += ["[run]  # what every run costs, however small the model"]
    lines += [f"{column} = {round(rig.run.amounts[column])}" for column in columns()]
    write_atomic(path, "\n".join(lines) + "\n")


def _known(path: Path, read: Callable[[Path], dict[K, Work]]) -> dict[K, Work]:
    return read(path) if path.exists() else {}


def _write(
    path: Path, fields: tuple[str, ...], cells_of: Callable[[K], Iterator[object]], rows: Mapping[K, Work]
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*fields, *columns()])
    lines = [
        [*map(str, cells_of(k)), *(str(round(w.amounts[c])) for c in columns())] for k, w in rows.items()
    ]
    writer.writerows(sorted(lines) if fields != _WHOLE_FIELDS else lines)
    write_atomic(path, text.getvalue())


def _kernel_cells(key: KernelKey) -> Iterator[object]:
    s = key.signature
    yield s.op
    for shape in (s.input_shape, s.output_shape, s.weight_shape, s.stride, s.padding, s.dilation):
        yield _by(shape)
    yield from (s.groups, s.activation or "", key.precision)


def _change_cells(key: ChangeKey) -> Iterator[object]:
    yield from (_by(key.shape), key.change.value)


def _whole_cells(key: WholeKey) -> Iterator[object]:
    yield from (key.network, key.structure, json.dumps(dict(key.config), separators=(",", ":")))


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
