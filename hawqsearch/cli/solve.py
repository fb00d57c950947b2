"""`hawqsearch solve`: the search alone, on a `hawqsearch.problem` file or a table that others published."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from hawqsearch import plugins
from hawqsearch.cli import options
from hawqsearch.cli.output import number, print_json, print_table, say
from hawqsearch.core.budget import Budget
from hawqsearch.core.cost import QUANTITIES, Cost
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.problem import SearchProblem
from hawqsearch.core.problem_file import read_problem, write_problem
from hawqsearch.core.result import SearchResult
from hawqsearch.errors import BudgetError
from hawqsearch.hardware.published import find_published, published_problem, read_published
from hawqsearch.hardware.targets import target_names

__all__ = ["run"]


def run(
    problem: Annotated[
        Path,
        typer.Argument(
            help="A hawqsearch.problem file (JSON), or a published table: its CSV file, or TARGET/NAME "
            "as `hawqsearch targets TARGET` lists it."
        ),
    ],
    budget: Annotated[
        str | None,
        typer.Option("--budget", help='Limits, in the place of the file\'s on what they bound: "4ms" …'),
    ] = None,
    strategy: Annotated[str, typer.Option(help="ilp, greedy, uniform, …")] = "ilp",
    time: options.Time = 60.0,
    seed: Annotated[int, typer.Option(help="Of whatever is random in the strategy.")] = 0,
    save: Annotated[
        Path | None, typer.Option("--save", help="Also write the problem, limits and all, to this JSON file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Solve the problem and print the answer with its bound."""
    search = plugins.build("strategies", strategy, time_limit_s=time, seed=seed)
    bounds = None if budget is None else Budget.parse(budget)
    asked, origin = _open(problem, bounds)
    if save is not None:
        write_problem(asked, save)
    result = search.search(asked)
    if as_json:
        print_json(_document(result, origin))
    else:
        _print_tables(asked, result)
        if origin is not None:
            say(f"costs and scores: {origin}")


def _open(name: Path, budget: Budget | None) -> tuple[SearchProblem, str | None]:
    """The problem within `budget`, and where its numbers come from if that is known."""
    if name.suffix == ".csv" or _is_published(name):
        table = read_published(name) if name.suffix == ".csv" else find_published(*name.parts)
        limits = FrozenDict[str, float]() if budget is None else budget.limits(Cost(), table.n_weights)
        return published_problem(table, limits), table.origin
    asked = read_problem(name)
    if budget is None:
        return asked, None
    if any(term.quantity == "weight_bits" for term in budget.terms):
        raise BudgetError(
            f"budget {budget} bounds bits per weight, and a problem file does not count weights"
        )
    return replace(asked, limits=FrozenDict({**asked.limits, **budget.limits(Cost(), 0)})), None


def _is_published(name: Path) -> bool:
    """Whether it reads like TARGET/NAME of a target that ships, and is no file."""
    return not name.exists() and not name.suffix and str(name.parent) in target_names()


def _document(result: SearchResult, origin: str | None) -> dict[str, object]:
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
        "origin": origin,
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
