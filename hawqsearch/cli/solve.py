"""`hawqsearch solve`: the search alone, on a `hawqsearch.problem` file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hawqsearch import plugins
from hawqsearch.cli.output import number, print_json, print_table
from hawqsearch.core.cost import QUANTITIES
from hawqsearch.core.problem import SearchProblem
from hawqsearch.core.problem_file import read_problem
from hawqsearch.core.result import SearchResult

__all__ = ["run"]


def run(
    problem: Annotated[Path, typer.Argument(help="A hawqsearch.problem file (JSON).")],
    strategy: Annotated[str, typer.Option(help="ilp, greedy, uniform, …")] = "ilp",
    time: Annotated[float, typer.Option(help="Seconds that the solver may take.")] = 60.0,
    seed: Annotated[int, typer.Option(help="Of whatever is random in the strategy.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Solve the problem and print the answer with its bound."""
    search = plugins.build("strategies", strategy, time_limit_s=time, seed=seed)
    asked = read_problem(problem)
    result = search.search(asked)
    if as_json:
        print_json(_document(result))
    else:
        _print_tables(asked, result)


def _document(result: SearchResult) -> dict[str, object]:
    other = result.runner_up
    return {
        "status": result.status.value,
        "score": result.score,
        "bound": result.bound,
        "gap": result.gap,
        "strategy": result.strategy,
        "layers": dict(result.config),
        "cost": {quantity: result.cost.get(quantity) for quantity in QUANTITIES},
        "runner_up": None if other is None else {"score": other.score, "layers": dict(other.config)},
        "seconds": result.seconds,
        "runner_up_seconds": result.runner_up_seconds,
    }


def _print_tables(problem: SearchProblem, result: SearchResult) -> None:
    certificate = f"bound {number(result.bound)}, gap {number(result.gap, 2)}, {result.seconds:.2f} s"
    costs = [(q, number(result.cost.get(q)), number(problem.limits.get(q))) for q in QUANTITIES]
    print_table(
        ("quantity", "cost", "limit"),
        [row for row in costs if row[1:] != ("-", "-")],
        title=f"{result.status}: score {number(result.score)}, {certificate} ({result.strategy})",
    )
    other = result.runner_up
    columns = (
        ("layer", "precision") if other is None else ("layer", "precision", f"next, {number(other.score)}")
    )
    rows = [(n, p) if other is None else (n, p, other.config[n]) for n, p in result.config.items()]
    print_table(columns, rows)
