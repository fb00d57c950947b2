"""What `profile` prints: a row per kernel and per change of precision."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from hawqsearch.cli.output import number, print_table
from hawqsearch.core.hardware import KernelKey

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hawqsearch.core.hardware import ChangeKey, Energy, HardwareProfile, Measurement

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
    times = {"median_ms": row.median_ms, **quartiles, "n": row.n, "date": row.date, "origin": row.origin}
    return {**times, **_energy(row.energy)}


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
    columns = [what, "precision", middle, "quartiles, ms", "n", "origin"]
    metered = any(r["energy_mj"] is not None for r in rows)
    columns += ["median, mJ", "quartiles, mJ"] * metered
    cells = [
        [
            r["signature"],
            r["precision"],
            number(r["median_ms"], 3),
            f"{r['quartile1_ms']:.3g} to {r['quartile3_ms']:.3g}",
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
