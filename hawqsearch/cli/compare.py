"""`compare`: configurations side by side with fp32 and all-int8, measured on the real runtime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hawqsearch.cli import options
from hawqsearch.cli.output import Bars, number, print_json, print_table
from hawqsearch.core.bitconfig_file import read_bitconfig
from hawqsearch.core.precision import Precision
from hawqsearch.core.space import SearchSpace
from hawqsearch.errors import InputError
from hawqsearch.hardware.targets import check_machine, find_target
from hawqsearch.spaces import DEFAULT, find_space

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hawqsearch.comparison import Compared
    from hawqsearch.core.bitconfig import BitConfig
    from hawqsearch.spaces import SpaceFile

__all__ = ["run"]


def run(
    configs: Annotated[
        list[Path], typer.Argument(metavar="CONFIG...", help="config.json files, or run folders.")
    ],
    target: options.Target,
    space: options.Space = DEFAULT,
    as_json: options.Json = False,
    seed: options.Seed = 0,
    threads: options.Threads = 1,
    batch: options.Batch = 1,
    data: options.Data = None,
    weights: options.Weights = None,
    cache_dir: options.CacheDir = None,
    no_cache: options.NoCache = False,
) -> None:
    """Parse, measure, print."""
    machine, file = find_target(target), find_space(space)
    if machine.runtime is not None:
        check_machine(machine)
    named = {str(path): read_bitconfig(path / "config.json" if path.is_dir() else path) for path in configs}
    if len(named) < len(configs):
        raise InputError("a configuration is named twice; name each once")
    for config in named.values():
        config.check_kernels(machine)
    cache = options.open_cache(cache_dir, no_cache)

    from hawqsearch import pipeline  # torch and the runtime, once the input is known to be good
    from hawqsearch.comparison import compare

    context = pipeline.Context(cache=cache, progress=Bars(quiet=as_json), seed=seed)
    network = options.open_network(
        file, machine, space=_space(named), weights=weights, data=data, batch=batch, context=context
    )
    rows = compare(network, named, threads=threads, context=context)
    if as_json:
        print_json(_document(rows, file, target))
    else:
        _print(rows, file)


def _space(configs: Mapping[str, BitConfig]) -> SearchSpace:
    """Every precision that a row has, fp32 and w8a8 among them."""
    names = dict.fromkeys(layer.precision for c in configs.values() for layer in c.layers.values())
    return SearchSpace(precisions=tuple(map(Precision.parse, {"fp32": None, "w8a8": None} | names)))


def _document(rows: list[Compared], file: SpaceFile, target: str) -> dict[str, Any]:
    metric = {"name": file.metric, "unit": "fraction", "split": "second half of search", "n": rows[0].n}
    return {
        "schema_version": 1,
        "space": file.name,
        "target": target,
        "metric": metric,
        "configurations": {row.name: row.as_json() for row in rows},
    }


def _print(rows: list[Compared], file: SpaceFile) -> None:
    times = ["measured, ms", "95 % interval", "of fp32's"]
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
