"""`search`: the precision of every layer within a budget."""

from __future__ import annotations

from typing import Annotated

import typer

from hawqsearch.cli import options
from hawqsearch.cli.output import Bars, print_json
from hawqsearch.cli.search_report import print_outcome
from hawqsearch.core.budget import Budget, check_metered
from hawqsearch.core.outcome import Outcome
from hawqsearch.core.profile_file import read_profile
from hawqsearch.core.request import check_request
from hawqsearch.errors import InfeasibleError, InputError, InterruptedRunError
from hawqsearch.hardware.board_profile import check_stands_for, check_tables
from hawqsearch.hardware.energy.available import missing_energy
from hawqsearch.hardware.machines import find_machine
from hawqsearch.hardware.published import is_published
from hawqsearch.hardware.targets import check_machine, find_target
from hawqsearch.plugins import build, load
from hawqsearch.run_folder import RunFolder, default_run_folder
from hawqsearch.spaces import DEFAULT, find_space

__all__ = ["run"]


def run(
    target: options.Target,
    budget: Annotated[str, typer.Option("--budget", help='"5ms", "5ms, 2MiB", "60%", "25% size" …')],
    space: options.Space = DEFAULT,
    strategy: options.Strategy = "ilp",
    analyzer: options.Analyzer = "kl",
    runtime: options.Runtime = None,
    interactions: Annotated[bool, typer.Option(help="Let the solver see pairs of choices.")] = False,
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile",
            help="What `profile … --out` wrote of a board, a GPU or a machine that is not here; or the name of one "
            "that ships with the target.",
        ),
    ] = None,
    energy: Annotated[
        bool, typer.Option("--energy", help="Meter energy too, as a budget in mJ does by itself.")
    ] = False,
    out: options.Out = None,
    json: options.Json = False,
    seed: options.Seed = 0,
    threads: options.Threads = 1,
    batch: options.Batch = 1,
    time: options.Time = 60.0,
    data: options.Data = None,
    weights: options.Weights = None,
    precisions: options.Precisions = None,
    cache_dir: options.CacheDir = None,
    no_cache: options.NoCache = False,
) -> None:
    """Parse, search, print."""
    parsed, machine, file = Budget.parse(budget), find_target(target, runtime), find_space(space)
    machine_file = None if profile is None else find_machine(machine, profile)
    if machine_file is not None and is_published(machine_file):
        raise InputError(
            f"{profile} is a table that others published of a network of theirs; hawqsearch solve {profile} takes it"
        )
    board = None if machine_file is None else read_profile(machine_file)
    missing = missing_energy(machine, board) if energy or parsed.bounds("energy_mj") else None
    check_metered(parsed, machine, missing_energy=missing)
    if missing is not None:
        raise InputError(f"energy was asked for, but {missing}")
    load("strategies", strategy), load("analyzers", analyzer)
    if board is not None:
        check_stands_for(board, machine, threads=threads, batch=batch)
    elif machine.runtime is not None:
        check_machine(machine)
        check_tables(machine, threads=threads, batch=batch)
    asked = options.chosen_precisions(file.space, precisions)
    check_request(asked, machine, parsed)
    cache = options.open_cache(cache_dir, no_cache)
    inputs: dict[str, object] = {
        "target": target,
        "budget": budget,
        "space": space,
        "strategy": strategy,
        "analyzer": analyzer,
    }
    inputs |= {"interactions": interactions, "seed": seed, "threads": threads, "batch": batch}
    inputs |= {"precisions": precisions, "weights": weights and str(weights), "data": data and str(data)}
    if runtime is not None:
        inputs["runtime"] = runtime
    if profile is not None:
        inputs["profile"] = profile
    if energy:
        inputs["energy"] = True
    folder = RunFolder.open(out or default_run_folder(file.name, machine.name), inputs)

    from hawqsearch.api import Options, search  # torch and the runtime, once the input is known to be good
    from hawqsearch.pipeline import Context

    try:
        with folder.kept():
            model, splits = options.open_space(file, weights, data)
            outcome = search(
                model,
                splits,
                target=machine,
                budget=parsed,
                options=Options(
                    space=asked,
                    analyzer=build("analyzers", analyzer, seed=seed),
                    strategy=build("strategies", strategy, seed=seed, time_limit_s=time),
                    interactions=interactions,
                    board=board,
                    energy=energy,
                    threads=threads,
                    batch=batch,
                    metric=file.metric,
                    out=folder,
                ),
                context=Context(cache=cache, progress=Bars(quiet=json), seed=seed),
            )
    except (InfeasibleError, InterruptedRunError) as error:
        if json and isinstance(error.outcome, Outcome):
            print_json(error.outcome.as_json())
        raise
    print_json(outcome.as_json()) if json else print_outcome(outcome)
