"""What `profile` prints: a row per kernel and per change of precision."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from hawqsearch.cli.output import number, print_table
from hawqsearch.core.hardware import WIDE_SHARE, KernelKey
from hawqsearch.core.profile_notes import document_of as whole_document

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hawqsearch.core.hardware import ChangeKey, Energy, HardwareProfile, Measurement
    from hawqsearch.core.whole import WholeFit

__all__ = ["document_of", "key_cells", "print_profile", "remarks"]


_SHOWN: Final = 6
"""Wide rows that are named on stderr; `--json` and the file have all of them."""


def document_of(profile: HardwareProfile, *, space: str, seconds: float) -> dict[str, Any]:
    """The profile as `--json` prints it."""
    return {
        "schema_version": 1,
        "space": space,
        "target": profile.target,
        "rig": asdict(profile.rig),
        "origin": profile.origin,
        "kernels": _rows(profile.kernels),
        "changes": _rows(profile.changes),
        "wide": {
            "share": WIDE_SHARE,
            "n_rows": len(profile.kernels) + len(profile.changes),
            "rows": [key_cells(key) for key in profile.wide],
        },
        "conditions": [asdict(c) | {"troubles": list(c.troubles)} for c in profile.conditions],
        "whole": [_whole(fit) for fit in profile.whole],
        "seconds": seconds,
    }


def remarks(profile: HardwareProfile) -> tuple[str, ...]:
    """What makes the profile less sure than it looks, one line each."""
    found = [line for c in profile.conditions for line in c.troubles]
    if profile.wide:
        rows = len(profile.kernels) + len(profile.changes)
        named = [" ".join(key_cells(key).values()) for key in profile.wide]
        more = f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
        found.append(
            f"{len(named)} of {rows} rows are wider than {100 * WIDE_SHARE:g} % (half of the 95 % interval): "
            f"{', '.join(named[:_SHOWN])}{more}"
        )
    return tuple(dict.fromkeys(found))


def print_profile(profile: HardwareProfile, *, space: str) -> None:
    """Two tables. `median_ms` of what onnxruntime's profiler timed is the mean of the middle half of the runs."""
    middle = "middle half, ms" if profile.rig.runtime.startswith("onnxruntime") else "median, ms"
    _print_rows(("kernel", middle), _rows(profile.kernels), f"kernels of {space} on {profile.rig}")
    _print_rows(("tensor", middle), _rows(profile.changes), "changes of precision between two kernels")
    for fit in profile.whole:
        sys.stdout.write(f"{fit}\n")
    for conditions in profile.conditions:
        sys.stdout.write(f"conditions at {conditions.utc}: {conditions}\n")


def key_cells(key: KernelKey | ChangeKey) -> dict[str, str]:
    """What a row is of: `signature` (a change's is its tensor's shape) and `precision` (or the change)."""
    if isinstance(key, KernelKey):
        return {"signature": str(key.signature), "precision": key.precision}
    return {"signature": "x".join(map(str, key.shape)), "precision": key.change.value}


def _whole(fit: WholeFit) -> dict[str, Any]:
    """The residuals of one network."""
    document = whole_document(fit)
    errors = {"sum_error": fit.sum_error, "corrected_error": fit.corrected_error}
    runs = [
        cells | {"sum_error": run.sum_error, "corrected_error": run.corrected_error}
        for cells, run in zip(document["runs"], fit.runs, strict=True)
    ]
    return document | errors | {"runs": runs}


def _rows(rows: Mapping[KernelKey, Measurement] | Mapping[ChangeKey, Measurement]) -> list[dict[str, Any]]:
    return [key_cells(key) | _numbers(row) for key, row in rows.items()]


def _numbers(row: Measurement) -> dict[str, Any]:
    quartiles = {"quartile1_ms": row.low_ms, "quartile3_ms": row.high_ms}
    times = {"median_ms": row.median_ms, **quartiles, "half_width": row.half_width}
    return {**times, "n": row.n, "date": row.date, "origin": row.origin, **_energy(row.energy)}


def _energy(energy: Energy | None) -> dict[str, Any]:
    """Keys that are always there; null where nothing was metered."""
    return {
        "energy_mj": None if energy is None else energy.median_mj,
        "energy_quartile1_mj": None if energy is None else energy.low_mj,
        "energy_quartile3_mj": None if energy is None else energy.high_mj,
        "energy_n": None if energy is None else energy.n,
        "energy_counter": None if energy is None else energy.counter,
    }


def _print_rows(names: tuple[str, str], rows: list[dict[str, Any]], title: str) -> None:
    what, middle = names
    columns = [what, "precision", middle, "quartiles, ms", "95 %, +-", "n", "origin"]
    metered = any(r["energy_mj"] is not None for r in rows)
    columns += ["median, mJ", "quartiles, mJ"] * metered
    cells = [
        [
            r["signature"],
            r["precision"],
            number(r["median_ms"], 3),
            f"{r['quartile1_ms']:.3g} to {r['quartile3_ms']:.3g}",
            "-" if r["half_width"] is None else f"{100 * r['half_width']:.1f} %",
            str(r["n"]),
            r["origin"],
            *_energy_cells(r) * metered,
        ]
        for r in rows
    ]
    print_table(columns, cells, title=title)


def _energy_cells(row: dict[str, Any]) -> list[str]:
    if row["energy_mj"] is None:
        return ["-", "-"]
    quartiles = f"{row['energy_quartile1_mj']:.3g} to {row['energy_quartile3_mj']:.3g}"
    return [number(row["energy_mj"], 3), quartiles]
