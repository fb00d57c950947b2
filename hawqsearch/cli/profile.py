"""`profile`: what every kernel and precision change of a network takes on this machine."""

from __future__ import annotations

import csv
import io
import time
from typing import TYPE_CHECKING, Any

from hawqsearch.cli import options
from hawqsearch.cli.output import Bars, number, print_json, print_table, say
from hawqsearch.core.files import write_atomic
from hawqsearch.errors import InputError
from hawqsearch.hardware.targets import check_machine, find_target
from hawqsearch.spaces import DEFAULT, find_space

if TYPE_CHECKING:
    from hawqsearch.core.hardware import HardwareProfile, Measurement

__all__ = ["run"]


def run(
    target: options.Target,
    space: options.Space = DEFAULT,
    out: options.OutFile = None,
    as_json: options.Json = False,
    threads: options.Threads = 1,
    batch: options.Batch = 1,
    data: options.Data = None,
    weights: options.Weights = None,
    precisions: options.Precisions = None,
    cache_dir: options.CacheDir = None,
    no_cache: options.NoCache = False,
) -> None:
    """Parse, measure, print."""
    start = time.perf_counter()
    machine, file = find_target(target), find_space(space)
    if machine.runtime is None:
        raise InputError(
            f"{target} has no device: nothing to measure; `hawqsearch doctor` lists what can be measured here"
        )
    check_machine(machine)
    asked = options.chosen_precisions(file.space, precisions)
    cache = options.open_cache(cache_dir, no_cache)

    from hawqsearch import pipeline  # torch and the runtime, once the input is known to be good
    from hawqsearch.hardware.ort import OrtBackend

    context = pipeline.Context(cache=cache, progress=Bars(quiet=as_json))
    network = options.open_network(
        file, machine, space=asked, weights=weights, data=data, batch=batch, context=context
    )
    rig = pipeline.local_rig(machine, threads=threads, batch=batch)
    profile = pipeline.profile(network, rig, OrtBackend(), context=context)
    kernels, changes = _rows(profile)
    if out is not None:
        write_atomic(out, _csv([*kernels, *changes]))
    if as_json:
        print_json(
            {
                "schema_version": 1,
                "space": file.name,
                "target": target,
                "origin": profile.origin,
                "kernels": kernels,
            }
            | {"changes": changes, "seconds": time.perf_counter() - start}
        )
        return
    _print_rows("kernel", kernels, f"kernels of {file.name} on {profile.rig}")
    _print_rows("tensor", changes, "changes of precision between two kernels")
    say(
        f"measured {profile.date}; rows that were measured before come from the cache, --no-cache measures all anew"
    )


def _rows(profile: HardwareProfile) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
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


def _csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _print_rows(what: str, rows: list[dict[str, Any]], title: str) -> None:
    columns = [what, "precision", "median, ms", "quartiles, ms", "n"]
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
