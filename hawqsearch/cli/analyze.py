"""`analyze`: how much every quantizer of a network hurts, with error bars."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hawqsearch.cli import options
from hawqsearch.cli.output import Bars, print_json, print_table
from hawqsearch.core.files import write_atomic
from hawqsearch.hardware.targets import find_target
from hawqsearch.plugins import build, load
from hawqsearch.spaces import DEFAULT, find_space

if TYPE_CHECKING:
    from hawqsearch.core.sensitivity import QuantizerChoice, Score, SensitivityTable
    from hawqsearch.pipeline import Network

__all__ = ["run"]

_PAIRS = 20


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
    cache = options.open_cache(cache_dir, no_cache)

    from hawqsearch import pipeline  # torch, once the input is known to be good

    context = pipeline.Context(cache=cache, progress=Bars(quiet=as_json), seed=seed)
    network = options.open_network(
        file, machine, space=asked, weights=weights, data=data, batch=1, context=context
    )
    method = build("analyzers", analyzer, seed=seed, time_limit_s=time)
    table = pipeline.analyze(network, method, context=context)
    document = {"schema_version": 1, "space": file.name, "target": target, **_document(network, table)}
    if out is not None:
        write_atomic(out, json.dumps(document, indent=1, allow_nan=False) + "\n")
    print_json(document) if as_json else _print_tables(document)


def _document(network: Network, table: SensitivityTable) -> dict[str, Any]:
    def of(kind: str, names: list[str]) -> dict[str, dict[str, dict[str, float]]]:
        found = {
            n: {c.format: _cell(s) for c, s in table.scores.items() if (c.kind, c.name) == (kind, n)}
            for n in names
        }
        return {name: cells for name, cells in found.items() if cells}

    pairs = sorted(table.pairs, key=lambda pair: -abs(pair.score))[:_PAIRS]
    return {
        "analyzer": table.analyzer,
        "quantity": table.quantity,
        "n_examples": table.n_examples,
        "n_groups": table.n_groups,
        "layers": of("weight", [n.name for n in network.spec.layers]),
        "activations": of("activation", [t.name for t in network.spec.tensors]),
        "pairs": [{"first": _named(p.first), "second": _named(p.second), "score": p.score} for p in pairs]
        or None,
        "seconds": table.seconds,
    }


def _cell(score: Score) -> dict[str, float]:
    return {"value": score.value, "stderr": score.stderr}


def _named(choice: QuantizerChoice) -> dict[str, str]:
    return {"kind": choice.kind, "name": choice.name, "format": choice.format}


def _print_tables(found: dict[str, Any]) -> None:
    unit = ", nats" if found["quantity"] in ("kl", "loss") else ""
    on = f"{found['n_examples']} examples of {found['n_groups']} sources"
    told = f"{found['quantity']}{unit}, by {found['analyzer']} on {on}"
    for kind, key in (("layer", "layers"), ("tensor", "activations")):
        formats = list(dict.fromkeys(f for cells in found[key].values() for f in cells))
        rows = [[name, *(_shown(cells.get(f)) for f in formats)] for name, cells in found[key].items()]
        print_table([kind, *formats], rows, title=f"{told}: each {kind} alone")
    if found["pairs"]:
        rows = [[_pair(p["first"]), _pair(p["second"]), f"{p['score']:+.2g}"] for p in found["pairs"]]
        print_table(["choice", "with", "more than the sum"], rows, title="largest interactions")


def _shown(cell: dict[str, float] | None) -> str:
    return "-" if cell is None else f"{cell['value']:.2g} ± {cell['stderr']:.1g}"


def _pair(choice: dict[str, str]) -> str:
    return f"{choice['name']} {choice['format']}"
