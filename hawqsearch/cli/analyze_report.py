"""What `analyze` prints: sensitivities with their error bars, in network order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hawqsearch.cli.output import print_table

if TYPE_CHECKING:
    from hawqsearch.core.sensitivity import QuantizerChoice, Score, SensitivityTable
    from hawqsearch.pipeline import Network

__all__ = ["document_of", "print_tables"]

_PAIRS: Final = 20
"""Most interactions that are shown: the largest."""


def document_of(network: Network, table: SensitivityTable) -> dict[str, Any]:
    """The table as JSON has it."""

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


def print_tables(found: dict[str, Any]) -> None:
    """Layers, tensors and the largest interactions, from what `document_of` returns."""
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
