"""`profile-diff`: two profiles row by row, and what only one of them has."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from hawqsearch.cli import options
from hawqsearch.cli.output import number, print_json, print_table
from hawqsearch.cli.profile_report import key_cells
from hawqsearch.core.hardware import HardwareProfile
from hawqsearch.core.profile_diff import ProfileDifference, SharedRow, difference
from hawqsearch.core.profile_file import read_profile

__all__ = ["run"]


def run(
    first: Annotated[Path, typer.Argument(metavar="A.csv", help="What `profile --out` wrote.")],
    second: Annotated[Path, typer.Argument(metavar="B.csv", help="The one to hold against it.")],
    as_json: options.Json = False,
) -> None:
    """Read, compare, print."""
    a, b = read_profile(first), read_profile(second)
    found = difference(a, b)
    if as_json:
        print_json(_document(found, {"first": (first, a), "second": (second, b)}))
    else:
        _print(found, a, b)


def _document(found: ProfileDifference, files: dict[str, tuple[Path, HardwareProfile]]) -> dict[str, Any]:
    read = {
        name: {"file": str(path), "target": profile.target, "origin": profile.origin}
        | {"n_rows": len(profile.kernels) + len(profile.changes)}
        for name, (path, profile) in files.items()
    }
    return {
        "schema_version": 1,
        **read,
        "median_ratio": found.median_ratio,
        "rows": [_row(row) for row in found.shared],
        "only_first": [key_cells(key) for key in found.only_first],
        "only_second": [key_cells(key) for key in found.only_second],
    }


def _row(row: SharedRow) -> dict[str, Any]:
    times = {"first_ms": row.first.median_ms, "second_ms": row.second.median_ms}
    a, b = row.first.energy, row.second.energy
    energies = {
        "first_mj": None if a is None else a.median_mj,
        "second_mj": None if b is None else b.median_mj,
        "energy_ratio": row.energy_ratio,
    }
    return {**key_cells(row.key), **times, "ratio": row.ratio, "overlap": row.overlap, **energies}


def _print(found: ProfileDifference, a: HardwareProfile, b: HardwareProfile) -> None:
    rows = [_row(row) for row in found.shared]
    energies = ("first_mj", "second_mj", "energy_ratio") if a.counters or b.counters else ()
    cells = [
        [
            r["signature"],
            r["precision"],
            *(number(r[name], 3) for name in ("first_ms", "second_ms", "ratio")),
            "yes" if r["overlap"] else "no",
            *(number(r[name], 3) for name in energies),
        ]
        for r in rows
    ]
    columns = ["kernel or tensor", "precision", "A, ms", "B, ms", "B/A", "quartiles overlap"]
    columns += ["A, mJ", "B, mJ", "B/A of energy"] if energies else []
    print_table(columns, cells, title=f"A: {a.origin}\nB: {b.origin}")
    apart = sum(not r["overlap"] for r in rows)
    sys.stdout.write(
        f"{len(rows)} rows in both, median B/A {number(found.median_ratio, 3)}, {apart} with quartiles apart\n"
    )
    for name, keys in (("A", found.only_first), ("B", found.only_second)):
        if keys:
            sys.stdout.write(f"{len(keys)} only in {name}:\n")
        for key in keys:
            sys.stdout.write("  {signature} {precision}\n".format(**key_cells(key)))
