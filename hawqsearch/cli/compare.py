"""`compare`: configurations side by side with fp32 and all-int8, measured on the real runtime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hawqsearch.cli import options
from hawqsearch.cli.compare_report import document_of, print_rows
from hawqsearch.cli.output import Bars, print_json
from hawqsearch.core.bitconfig_file import read_bitconfig
from hawqsearch.core.precision import Precision
from hawqsearch.core.space import SearchSpace
from hawqsearch.errors import InputError
from hawqsearch.hardware.board_profile import check_tables
from hawqsearch.hardware.targets import check_machine, find_target
from hawqsearch.spaces import DEFAULT, find_space

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hawqsearch.core.bitconfig import BitConfig

__all__ = ["run"]


def run(
    configs: Annotated[
        list[Path], typer.Argument(metavar="CONFIG...", help="config.json files, or run folders.")
    ],
    target: options.Target,
    space: options.Space = DEFAULT,
    runtime: options.Runtime = None,
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
    machine, file = find_target(target, runtime), find_space(space)
    if machine.on_gpu:
        raise InputError(
            f"whole networks are not timed on {machine.name}; compare on a target of a processor"
        )
    if machine.runtime is not None:
        check_machine(machine)
        check_tables(machine, threads=threads, batch=batch)
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
        print_json(document_of(rows, file, target))
    else:
        print_rows(rows, file)


def _space(configs: Mapping[str, BitConfig]) -> SearchSpace:
    """Every precision that a row has, fp32 and w8a8 among them."""
    names = dict.fromkeys(layer.precision for c in configs.values() for layer in c.layers.values())
    return SearchSpace(precisions=tuple(map(Precision.parse, {"fp32": None, "w8a8": None} | names)))
