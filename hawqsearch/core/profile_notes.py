"""What a profile file says above its table, one line each: `# {"conditions": {...}}`, `# {"whole": {...}}` and
`# {"scales": {...}}`.

A profile without any is as good a file; readers of CSV skip such lines (`pandas.read_csv(..., comment="#")`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from types import MappingProxyType
from typing import Any, Final, NoReturn, TypeVar

from hawqsearch.core.conditions import Conditions
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.whole import WholeFit, WholeRun
from hawqsearch.errors import FileFormatError, UnknownNameError

__all__ = ["Notes", "conditions_of", "document_of", "read_notes", "split_notes", "whole_of"]

_MARK: Final = "# "
_KINDS: Final = ("conditions", "whole", "scales")
_SIGNED: Final = frozenset({"drift"})
_PLAIN: Final = MappingProxyType({"str": str, "bool": bool})
ValueT = TypeVar("ValueT")


@dataclass(frozen=True, slots=True)
class Notes:
    """What the lines say; see `HardwareProfile`."""

    conditions: tuple[Conditions, ...] = ()
    whole: tuple[WholeFit, ...] = ()
    scales: FrozenDict[str, tuple[float, ...]] = FrozenDict({})  # noqa: RUF009  (frozen)

    def dump(self) -> str:
        """The lines, each with its end."""
        found: list[dict[str, Any]] = [{"conditions": asdict(c)} for c in self.conditions]
        found += [{"whole": document_of(w)} for w in self.whole]
        if self.scales:
            found.append(
                {"scales": {kind: [round(v, 4) for v in values] for kind, values in self.scales.items()}}
            )
        return "".join(f"{_MARK}{json.dumps(line, allow_nan=False)}\n" for line in found)


def split_notes(text: str) -> tuple[list[str], str]:
    """The lines above the table, and the rest."""
    lines = []
    while text.startswith("#"):
        line, end, text = text.partition("\n")
        if not end:
            raise FileFormatError("there is no table below its notes; was it cut short? write it again")
        lines.append(line)
    return lines, text


def read_notes(lines: list[str]) -> Notes:
    """What `lines` say; raises `FileFormatError` where one makes no sense."""
    conditions, whole = [], []
    scales: dict[str, tuple[float, ...]] = {}
    for number, line in enumerate(lines, start=1):
        try:
            kind, document = _note(line)
            if kind == "conditions":
                conditions.append(conditions_of(document))
            elif kind == "scales":
                scales.update(_scales(document))
            else:
                whole.append(whole_of(document))
        except FileFormatError as error:
            raise FileFormatError(f"line {number}: {error}") from None
    return Notes(tuple(conditions), tuple(whole), FrozenDict(scales))


def document_of(whole: WholeFit) -> dict[str, Any]:
    """As JSON; the inverse of `whole_of`."""
    runs = [
        {f.name: getattr(run, f.name) for f in fields(run)} | {"config": dict(run.config)}
        for run in whole.runs
    ]
    plain = {"network": whole.network, "fixed_ms": whole.fixed_ms, "spread": whole.spread}
    return plain | {"scales": dict(whole.scales), "runs": runs}


def whole_of(document: object) -> WholeFit:
    """The residuals in a JSON value; raises `FileFormatError` where it is none."""
    cells = _object(document, "whole")
    runs = cells.get("runs")
    if not isinstance(runs, list) or not runs:
        raise FileFormatError("whole: runs must be a list with a run in it")
    scales = _object(cells.get("scales"), "scales")
    return _built(
        WholeFit,
        cells
        | {
            "scales": FrozenDict({name: _number(f"scales.{name}", value) for name, value in scales.items()}),
            "runs": tuple(_run(run) for run in runs),
        },
    )


def conditions_of(document: object) -> Conditions:
    """The conditions in a JSON value; raises `FileFormatError` where it is none."""
    cells = _object(document, "conditions")
    cores = cells.get("cores")
    return _built(Conditions, cells | ({"cores": tuple(cores)} if isinstance(cores, list) else {}))


def _scales(document: object) -> dict[str, tuple[float, ...]]:
    found = {}
    for kind, values in _object(document, "scales").items():
        if not isinstance(values, list):
            raise FileFormatError(f"scales.{kind} must be a list of numbers, got {repr(values)[:40]}")
        found[kind] = tuple(_signed(f"scales.{kind}", value) for value in values)
    return found


def _run(document: object) -> WholeRun:
    cells = _object(document, "run")
    config = _object(cells.get("config"), "config")
    if not all(isinstance(precision, str) for precision in config.values()):
        raise FileFormatError("config: a precision is a text")
    run = _built(WholeRun, cells | {"config": FrozenDict(config)})
    if run.measured_ms == 0:
        raise FileFormatError("measured_ms is 0: a network takes time")
    return run


def _note(line: str) -> tuple[str, object]:
    try:
        found = json.loads(line.removeprefix("#"), parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise FileFormatError("not whole JSON behind its #; was it cut short? write it again") from None
    cells = _object(found, "note")
    for name in cells:
        if name not in _KINDS:
            raise FileFormatError(str(UnknownNameError("note", name, _KINDS)))
    if len(cells) != 1:
        raise FileFormatError(f"a note is about one thing: {', '.join(_KINDS)}")
    return next(iter(cells.items()))


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise FileFormatError(f"{what} must be an object, got {repr(value)[:40]}")
    return value


def _built(kind: type[ValueT], cells: Mapping[str, Any]) -> ValueT:
    """A `kind` of `cells`, each of the type that the field has."""
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    for name, value in cells.items():
        if name not in known:
            raise FileFormatError(str(UnknownNameError("key", name, known)))
        _check(name, value, str(known[name].type))
    for name, f in known.items():
        if name not in cells and f.default is MISSING:
            raise FileFormatError(f"{name} is missing")
    return kind(**cells)


def _check(name: str, value: object, wanted: str) -> None:
    """Raise `FileFormatError` where `value` is not what the field's annotation says; parts were built before."""
    plain = wanted.removesuffix(" | None")
    if value is None and plain != wanted:
        return
    if plain == "float":
        _number(name, value)
    elif plain == "int":
        _count(name, value)
    elif plain == "tuple[int, ...]":
        for item in value if isinstance(value, tuple) else (value,):
            _count(name, item)
    elif plain in _PLAIN and not isinstance(value, _PLAIN[plain]):
        raise FileFormatError(f"{name} is {repr(value)[:40]}: it must be a {plain}")


def _number(name: str, value: object) -> float:
    number = _signed(name, value)
    if number < 0 and name not in _SIGNED:
        raise FileFormatError(f"{name} is {value}: it is not negative")
    return number


def _signed(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise FileFormatError(f"{name} is {repr(value)[:40]}: it must be a number")
    return float(value)


def _count(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise FileFormatError(f"{name} is {repr(value)[:40]}: it must be a whole number")
