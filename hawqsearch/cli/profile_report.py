"""What `profile` prints: a row per kernel and per change of precision."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from hawqsearch.cli.output import number, print_table

if TYPE_CHECKING:
    from hawqsearch.core.hardware import HardwareProfile, Measurement

__all__ = ["csv_of", "print_rows", "rows_of"]


def rows_of(profile: HardwareProfile) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Kernels and changes as JSON and CSV have them."""
    kernels = [
        {"signature": str(k.signature), "precision": k.precision} | _numbers(m)
        for k, m in profile.kernels.items()
    ]
    changes = [
        {"signature": "x".join(map(str, k.shape)), "precision": k.change.value} | _numbers(m)
        for k, m in profile.changes.items()
    ]
    return kernels, changes


def _numbers(row: Measurement) -> dict[str, Any]:
    quartiles = {"quartile1_ms": row.low_ms, "quartile3_ms": row.high_ms}
    return {"median_ms": row.median_ms, **quartiles, "n": row.n, "date": row.date, "origin": row.origin}


def csv_of(rows: list[dict[str, Any]]) -> str:
    """The rows as a CSV file."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def print_rows(what: str, rows: list[dict[str, Any]], title: str) -> None:
    """A table of rows; `what` names their signatures. `median_ms` is the mean of the middle half of the runs."""
    columns = [what, "precision", "middle half, ms", "quartiles, ms", "n"]
    cells = [
        [
            r["signature"],
            r["precision"],
            number(r["median_ms"], 3),
            f"{r['quartile1_ms']:.3g} to {r['quartile3_ms']:.3g}",
            str(r["n"]),
        ]
        for r in rows
    ]
    print_table(columns, cells, title=title)
