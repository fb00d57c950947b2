"""What `compare` prints: a row per configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hawqsearch.cli.output import number, print_table

if TYPE_CHECKING:
    from hawqsearch.comparison import Compared
    from hawqsearch.spaces import SpaceFile

__all__ = ["document_of", "print_rows"]


def document_of(rows: list[Compared], file: SpaceFile, target: str) -> dict[str, Any]:
    """What `compare --json` prints."""
    metric = {"name": file.metric, "unit": "fraction", "split": "second half of search", "n": rows[0].n}
    return {
        "schema_version": 1,
        "space": file.name,
        "target": target,
        "metric": metric,
        "configurations": {row.name: row.as_json() for row in rows},
    }


def print_rows(rows: list[Compared], file: SpaceFile) -> None:
    """A table with fp32 and all-int8 first."""
    word = (rows[0].latency.origin or "measured").partition(":")[0]
    times = [f"{word}, ms", "95 % interval", "of fp32's"]
    origin = rows[0].latency.origin or "no device: nothing was timed"
    print_table(
        ["configuration", *times, f"{file.metric}, %", "loss, nats", "loss above fp32's", "size, bytes"],
        [_cells(row) for row in rows],
        title=f"{rows[0].n} examples of the search split's second half; {origin}",
    )


def _cells(row: Compared) -> list[str]:
    latency = row.latency
    known = latency.low_ms is not None and latency.high_ms is not None
    return [
        row.name,
        number(latency.latency_ms, 4),
        f"{latency.low_ms:.4g} to {latency.high_ms:.4g}" if known else "-",
        number(latency.ratio, 3),
        f"{100 * row.accuracy.value:.2f} ± {100 * row.accuracy.stderr:.2f}",
        f"{row.loss.value:.4g} ± {row.loss.stderr:.1g}",
        f"{row.versus_fp32.value:+.2g} ± {row.versus_fp32.stderr:.1g}",
        number(row.size_bytes, 9),
    ]
