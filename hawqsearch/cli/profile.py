"""`profile`: what every kernel and precision change of a network takes on this machine."""

from __future__ import annotations

import time

from hawqsearch.cli import options
from hawqsearch.cli.output import Bars, print_json, say
from hawqsearch.cli.profile_report import csv_of, print_rows, rows_of
from hawqsearch.core.files import write_atomic
from hawqsearch.errors import InputError
from hawqsearch.hardware.targets import check_machine, find_target
from hawqsearch.spaces import DEFAULT, find_space

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
    kernels, changes = rows_of(profile)
    if out is not None:
        write_atomic(out, csv_of([*kernels, *changes]))
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
    print_rows("kernel", kernels, f"kernels of {file.name} on {profile.rig}")
    print_rows("tensor", changes, "changes of precision between two kernels")
    say(
        f"measured {profile.date}; rows that were measured before come from the cache, --no-cache measures all anew"
    )
