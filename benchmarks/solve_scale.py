"""How long a proven optimum takes: 200 layers of 6 precisions, two budgets, priced edges.

python benchmarks/solve_scale.py [--layers 200] [--seeds 10]

Scores fall by four per bit and span four decades over the layers; every change between float and integer on
an edge costs time. `chain`: each layer feeds the next. `residual`: every other layer also feeds the one after,
and its conversion is paid once. Both budgets lie at 35 % of the range between the least and the most.
"""

from __future__ import annotations

import argparse
import csv
import random

from rig import study_folder, write_run

from hawqsearch.core.cost import Cost
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.problem import Choice, Edge, EdgePrice, SearchProblem
from hawqsearch.core.result import SearchResult
from hawqsearch.strategies.greedy import GreedySearch
from hawqsearch.strategies.ilp import IlpSearch

BITS = {"w8a8": 8, "w6a8": 6, "w5a8": 5, "w4a8": 4, "w2a8": 2, "fp32": 32}
INTEGER = frozenset(BITS) - {"fp32"}
CONVERSION = Cost(latency_ms=0.002, size_bytes=0.0, energy_mj=0.0, bops=0.0, weight_bits=0.0)
COLUMNS = (
    *("shape", "layers", "precisions", "seed", "status", "score", "bound", "gap", "seconds"),
    *("runner_up", "runner_up_seconds", "greedy", "greedy_seconds"),
)


def main() -> None:
    arguments = _arguments()
    folder = study_folder("solve-scale")
    with (folder / "solve.csv").open("w", newline="") as file:
        rows = csv.DictWriter(file, COLUMNS)
        rows.writeheader()
        for shape in ("chain", "residual"):
            for seed in range(arguments.seeds):
                row = measured(shape, arguments.layers, seed)
                rows.writerow(row)
                print(
                    shape,
                    seed,
                    row["status"],
                    f"{row['seconds']:.2f} s, greedy {row['greedy']:.4g}",
                    flush=True,
                )
    write_run(folder, ("hawqsearch", "highspy", "pulp"), layers=arguments.layers, seeds=arguments.seeds)


def measured(shape: str, layers: int, seed: int) -> dict[str, object]:
    """One row: the exact answer and the greedy one."""
    problem = network(shape, layers, seed)
    exact, greedy = IlpSearch().search(problem), GreedySearch().search(problem)
    return {
        "shape": shape,
        "layers": layers,
        "precisions": len(BITS),
        "seed": seed,
        "status": exact.status.value,
        "score": exact.score,
        "bound": exact.bound,
        "gap": exact.gap,
        "seconds": round(exact.seconds, 4),
        "runner_up": None if exact.runner_up is None else exact.runner_up.score,
        "runner_up_seconds": round(exact.runner_up_seconds, 4),
        **_greedy(greedy),
    }


def _greedy(result: SearchResult) -> dict[str, object]:
    return {"greedy": result.score, "greedy_seconds": round(result.seconds, 4)}


def network(shape: str, layers: int, seed: int) -> SearchProblem:
    """A generated problem whose two budgets bind."""
    source = random.Random(f"{shape} {seed}")
    names = [f"layer{i}" for i in range(layers)]
    choices = {name: _layer(source) for name in names}
    return SearchProblem(
        choices=FrozenDict(choices),
        edges=tuple(_edge(shape, names, i) for i in range(layers - 1)),
        limits=FrozenDict({quantity: _limit(choices, quantity) for quantity in ("latency_ms", "size_bytes")}),
    )


def _layer(source: random.Random) -> FrozenDict[str, Choice]:
    hurt, time_ms, weights = (10 ** source.uniform(*span) for span in ((-6, -2), (-3, -1), (3, 6)))
    return FrozenDict(
        {
            name: Choice(
                0.0 if name == "fp32" else hurt * 4.0 ** (8 - bits) * source.uniform(0.8, 1.2),
                Cost(
                    latency_ms=time_ms * (0.3 + 0.7 * bits / 32) * source.uniform(0.9, 1.1),
                    size_bytes=weights * bits / 8,
                ),
            )
            for name, bits in BITS.items()
        }
    )


def _edge(shape: str, names: list[str], i: int) -> Edge:
    further = (names[i + 2],) if shape == "residual" and i % 2 == 0 and i + 2 < len(names) else ()
    into, out_of = (INTEGER, frozenset({"fp32"})), (frozenset({"fp32"}), INTEGER)
    prices = tuple(EdgePrice(sources=s, targets=t, cost=CONVERSION) for s, t in (into, out_of))
    return Edge(source=names[i], targets=(names[i + 1], *further), prices=prices)


def _limit(choices: dict[str, FrozenDict[str, Choice]], quantity: str) -> float:
    costs = [[c.cost.get(quantity) or 0.0 for c in options.values()] for options in choices.values()]
    return sum(0.65 * min(values) + 0.35 * max(values) for values in costs)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--layers", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=10)
    return parser.parse_args()


if __name__ == "__main__":
    main()
