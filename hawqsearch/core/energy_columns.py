"""The columns of a profile file that hold energy; a file has all of them, or none where nothing was metered."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from hawqsearch.core.hardware import Energy
from hawqsearch.errors import FileFormatError

__all__ = ["ENERGY_COLUMNS", "check_energy_columns", "energy_cells", "energy_of"]

_MJ: Final = ("energy_mj", "energy_quartile1_mj", "energy_quartile3_mj")
ENERGY_COLUMNS: Final = (*_MJ, "energy_n", "energy_counter")


def energy_cells(energy: Energy | None) -> dict[str, object]:
    """A row's cells; none where nothing was metered."""
    if energy is None:
        return {}
    values = (energy.median_mj, energy.low_mj, energy.high_mj)
    numbers = {name: repr(float(value)) for name, value in zip(_MJ, values, strict=True)}
    return {**numbers, "energy_n": energy.n, "energy_counter": energy.counter}


def energy_of(row: Mapping[str, str]) -> Energy | None:
    """The energy in a row's cells, None where all are empty or there are none.

    Raises `FileFormatError` where some are empty, or a number is no energy.
    """
    cells = {name: row.get(name, "") for name in ENERGY_COLUMNS}
    if not any(cells.values()):
        return None
    for name, cell in cells.items():
        if not cell:
            raise FileFormatError(f"{name} is empty; energy is there with all its columns, or with none")
    median, low, high = (_energy(name, cells[name]) for name in _MJ)
    return Energy(
        median_mj=median,
        low_mj=low,
        high_mj=high,
        n=_count(cells["energy_n"]),
        counter=cells["energy_counter"],
    )


def check_energy_columns(names: Sequence[str]) -> None:
    """Raise `FileFormatError` where a header has some of the columns, or one twice."""
    found = [name for name in names if name in ENERGY_COLUMNS]
    if found and sorted(found) != sorted(ENERGY_COLUMNS):
        raise FileFormatError(
            f"of the columns of energy it has {', '.join(found)}; it must have {', '.join(ENERGY_COLUMNS)} or none"
        )


def _energy(name: str, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        raise FileFormatError(f"{name} is {cell[:40]!r}: it must be a number") from None
    if not math.isfinite(value) or value < 0:
        raise FileFormatError(f"{name} is {cell[:40]!r}: an energy is finite and not negative")
    return value


def _count(cell: str) -> int:
    if not (cell.isascii() and cell.isdigit()):
        raise FileFormatError(f"energy_n is {cell[:40]!r}: it must be a whole number")
    return int(cell)
