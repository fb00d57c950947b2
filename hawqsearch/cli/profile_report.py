"""What `profile` prints: a row per kernel and per change of precision."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from hawqsearch.cli.output import number, print_table
from hawqsearch.core.hardware import KernelKey

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hawqsearch.core.hardware import ChangeKey, HardwareProfile, Measurement

__all__ = ["document_of", "key_cells", "print_profile"]


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
        "seconds": seconds,
    }


def print_profile(profile: HardwareProfile, *, space: str) -> None:
    """Two tables. `median_ms` of what onnxruntime's profiler timed is the mean of the middle half of the runs."""
    middle = "middle half, ms" if profile.rig.runtime.startswith("onnxruntime") else "median, ms"
    _print_rows(("kernel", middle), _rows(profile.kernels), f"kernels of {space} on {profile.rig}")
    _print_rows(("tensor", middle), _rows(profile.changes), "changes of precision between two kernels")


def key_cells(key: KernelKey | ChangeKey) -> dict[str, str]:
    """What a row is of: `signature` (a change's is its tensor's shape) and `precision` (or the change)."""
    if isinstance(key, KernelKey):
        return {"signature": str(key.signature), "precision": key.precision}
    return {"signature": "x".join(map(str, key.shape)), "precision": key.change.value}


def _rows(rows: Mapping[KernelKey, Measurement] | Mapping[ChangeKey, Measurement]) -> list[dict[str, Any]]:
    return [key_cells(key) | _numbers(row) for key, row in rows.items()]


def _numbers(row: Measurement) -> dict[str, Any]:
    quartiles = {"quartile1_ms": row.low_ms, "quartile3_ms": row.high_ms}
    return {"median_ms": row.median_ms, **quartiles, "n": row.n, "date": row.date, "origin": row.origin}


def _print_rows(names: tuple[str, str], rows: list[dict[str, Any]], title: str) -> None:
    what, middle = names
    columns = [what, "precision", middle, "quartiles, ms", "n", "origin"]
    cells = [
        [
            r["signature"],
            r["precision"],
            number(r["median_ms"], 3),
            f"{r['quartile1_ms']:.3g} to {r['quartile3_ms']:.3g}",
            str(r["n"]),
            r["origin"],
        ]
        for r in rows
    ]
    print_table(columns, cells, title=title)
