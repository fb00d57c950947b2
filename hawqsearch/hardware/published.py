"""Per-layer costs that others published, as a search problem: latencies of origin `published`, nothing of ours.

A table is a CSV file in a target's `profiles/` folder. Lines that begin with `#` come first, one of them `# origin:
published: …`; then one row per layer and precision.
"""

from __future__ import annotations

import csv
import importlib.resources
import itertools
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hawqsearch.core.cost import Cost
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.problem import Choice, SearchProblem
from hawqsearch.errors import FileFormatError, InputError, UnknownNameError

__all__ = [
    "PublishedTable",
    "find_published",
    "is_published",
    "published_names",
    "published_problem",
    "read_published",
]

_COLUMNS: Final = (
    "layer",
    "tie",
    "weights",
    "macs",
    "precision",
    "bits",
    "latency_ms",
    "hessian_trace",
    "perturbation",
)
_ORIGIN: Final = "# origin: published: "


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedTable:
    """Layers with the choices that were published.

    Args:
        origin: `published: <device>, <source>`.
        choices: layer -> precision -> score (mean trace of the Hessian times squared weight perturbation:
            HAWQ-V2, Dong et al. 2020, eq. 4) and cost.
        ties: groups of layers that make the same choice.
        n_weights: of all layers together.
    """

    origin: str
    choices: FrozenDict[str, FrozenDict[str, Choice]]
    ties: tuple[tuple[str, ...], ...]
    n_weights: int


def published_names(target: str) -> tuple[str, ...]:
    """Published tables that ship with a target."""
    folder = importlib.resources.files("hw_profiles") / target / "profiles"
    if not folder.is_dir():
        return ()
    files = (Path(str(path)) for path in folder.iterdir())
    return tuple(sorted(p.stem for p in files if p.suffix == ".csv" and is_published(p)))


def find_published(target: str, name: str) -> PublishedTable:
    """The published table of that name; raises `UnknownNameError` with the nearest."""
    known = published_names(target)
    if not known:
        raise InputError(f"unknown published table {name!r}; {target} has none")
    if name not in known:
        raise UnknownNameError("published table", name, known)
    return read_published(
        Path(str(importlib.resources.files("hw_profiles") / target / "profiles" / f"{name}.csv"))
    )


def read_published(path: str | os.PathLike[str]) -> PublishedTable:
    """The table in a CSV file; raises `FileFormatError` that says where and why it is none."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise FileFormatError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise FileFormatError(f"{path} is not a text file") from None
    head = [line for line in lines if line.startswith("#")]
    origins = [line.removeprefix("# origin: ") for line in head if line.startswith(_ORIGIN)]
    if len(origins) != 1:
        raise FileFormatError(f"{path} does not say where it comes from; it needs one line {_ORIGIN!r}")
    try:
        reader = csv.DictReader(lines[len(head) :], strict=True)
        columns, rows = tuple(reader.fieldnames or ()), list(enumerate(reader, start=len(head) + 2))
    except csv.Error as error:
        raise FileFormatError(f"{path} is not whole CSV ({error}); was it cut short?") from None
    if columns != _COLUMNS:
        raise FileFormatError(
            f"{path} has columns {', '.join(columns) or 'none'}; it needs {', '.join(_COLUMNS)}"
        )
    return _table(path, origins[0], rows)


def published_problem(table: PublishedTable, limits: Mapping[str, float] = FrozenDict()) -> SearchProblem:
    """The allocation problem of a published table within `limits` (quantity -> upper bound)."""
    return SearchProblem(choices=table.choices, ties=table.ties, limits=FrozenDict(limits))


def is_published(path: Path) -> bool:
    """Whether the file at `path` begins as such a table does."""
    try:
        with path.open(encoding="utf-8") as file:
            return any(line.startswith(_ORIGIN) for line in itertools.islice(file, 20))
    except (OSError, UnicodeDecodeError):
        return False


def _table(
    path: str | os.PathLike[str], origin: str, rows: Iterable[tuple[int, dict[str, str]]]
) -> PublishedTable:
    choices: dict[str, dict[str, Choice]] = {}
    ties: dict[str, dict[str, None]] = {}
    weights: dict[str, int] = {}
    for line, row in rows:
        if None in row or None in row.values():
            raise FileFormatError(f"{path}, line {line}: it has not {len(_COLUMNS)} cells; was it cut short?")
        try:
            layer, precision, choice = _choice(row)
        except ValueError as error:
            raise FileFormatError(f"{path}, line {line}: {error}") from None
        if weights.setdefault(layer, _count(row, "weights")) != _count(row, "weights"):
            raise FileFormatError(f"{path}, line {line}: {layer} has {weights[layer]} weights above")
        if precision in choices.setdefault(layer, {}):
            raise FileFormatError(f"{path}, line {line}: {layer} {precision} is listed twice")
        choices[layer][precision] = choice
        if row["tie"]:
            ties.setdefault(row["tie"], {})[layer] = None
    return PublishedTable(
        origin=origin,
        choices=FrozenDict({layer: FrozenDict(found) for layer, found in choices.items()}),
        ties=tuple(tuple(group) for group in ties.values()),
        n_weights=sum(weights.values()),
    )


def _choice(row: Mapping[str, str]) -> tuple[str, str, Choice]:
    weights, macs, bits = (_count(row, column) for column in ("weights", "macs", "bits"))
    cost = Cost(
        latency_ms=_number(row, "latency_ms"),
        size_bytes=weights * bits / 8,
        bops=float(macs * bits * bits),
        weight_bits=float(weights * bits),
    )
    score = _number(row, "hessian_trace") * _number(row, "perturbation")
    return row["layer"], row["precision"], Choice(score, cost)


def _number(row: Mapping[str, str], column: str) -> float:
    value = float(row[column])
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{column} is {row[column]}; it must be finite and not negative")
    return value


def _count(row: Mapping[str, str], column: str) -> int:
    value = _number(row, column)
    if not value.is_integer():
        raise ValueError(f"{column} is {row[column]}; it must be a whole number")
    return int(value)
