"""`analyze`: how much every quantizer of a network hurts, with error bars."""

from __future__ import annotations

import json

from hawqsearch.cli import options
from hawqsearch.cli.analyze_report import document_of, print_tables
from hawqsearch.cli.output import Bars, print_json
from hawqsearch.core.files import write_atomic
from hawqsearch.core.request import check_request
from hawqsearch.hardware.targets import find_target
from hawqsearch.plugins import build, load
from hawqsearch.spaces import DEFAULT, find_space

__all__ = ["run"]


def run(
    space: options.Space = DEFAULT,
    target: options.Target = "generic",
    analyzer: options.Analyzer = "kl",
    out: options.OutFile = None,
    as_json: options.Json = False,
    seed: options.Seed = 0,
    time: options.Time = 60.0,
    data: options.Data = None,
    weights: options.Weights = None,
    precisions: options.Precisions = None,
    cache_dir: options.CacheDir = None,
    no_cache: options.NoCache = False,
) -> None:
    """Parse, analyze, print."""
    machine, file = find_target(target), find_space(space)
    load("analyzers", analyzer)
    asked = options.chosen_precisions(file.space, precisions)
    check_request(asked, machine)
    cache = options.open_cache(cache_dir, no_cache)

    from hawqsearch import pipeline  # torch, once the input is known to be good

    context = pipeline.Context(cache=cache, progress=Bars(quiet=as_json), seed=seed)
    network = options.open_network(
        file, machine, space=asked, weights=weights, data=data, batch=1, context=context
    )
    method = build("analyzers", analyzer, seed=seed, time_limit_s=time)
    table = pipeline.analyze(network, method, context=context)
    document = {"schema_version": 1, "space": file.name, "target": target, **document_of(network, table)}
    if out is not None:
        write_atomic(out, json.dumps(document, indent=1, allow_nan=False) + "\n")
    print_json(document) if as_json else print_tables(document)
