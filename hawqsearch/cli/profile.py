"""`profile`: what every kernel and precision change of a network takes on a target."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hawqsearch.cli import options
from hawqsearch.cli.output import Bars, print_json, say
from hawqsearch.cli.profile_report import document_of, print_profile, remarks
from hawqsearch.cli.profile_source import Asked, open_source
from hawqsearch.core.profile_file import check_rig, merge, read_profile, write_profile
from hawqsearch.errors import InputError
from hawqsearch.hardware.board.lost import BoardLostError
from hawqsearch.hardware.targets import find_target
from hawqsearch.spaces import DEFAULT, find_space

if TYPE_CHECKING:
    from hawqsearch.core.hardware import HardwareProfile, Rig

__all__ = ["run"]


def run(
    target: options.Target,
    space: options.Space = DEFAULT,
    runtime: options.Runtime = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="CSV file; rows of the same rig that are in it stay there.")
    ] = None,
    as_json: options.Json = False,
    backend: Annotated[str | None, typer.Option("--backend", help="local, qemu (arm-neon) or cuda.")] = None,
    host: Annotated[str | None, typer.Option("--host", help="Board to measure over ssh: user@board.")] = None,
    port: Annotated[int | None, typer.Option("--port", help="Of the board's ssh.")] = None,
    identity: Annotated[Path | None, typer.Option("--identity", help="Private key for the board.")] = None,
    python: Annotated[
        str | None,
        typer.Option("--python", help="The board's Python that has onnxruntime, a name or a path."),
    ] = None,
    energy: Annotated[
        bool,
        typer.Option(
            "--energy",
            help="Meter energy too, after the times: takes a counter and minutes. A budget in mJ makes `search` do so.",
        ),
    ] = False,
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
    machine, file = find_target(target, runtime), find_space(space)
    asked = options.chosen_precisions(file.space, precisions)
    cache = options.open_cache(cache_dir, no_cache)
    place = Asked(
        backend=backend, host=host, port=port, identity=identity, python=python, threads=threads, batch=batch
    )
    source = open_source(machine, place)
    earlier = _earlier(out, machine.name, source.rig)
    meter = source.energy() if energy else None

    from hawqsearch import metering, pipeline, residuals  # torch and the runtime, once the input is good

    context = pipeline.Context(cache=cache, progress=Bars(quiet=as_json))
    for note in source.notes:
        context.progress.note(note)
    network = options.open_network(
        file, machine, space=asked, weights=weights, data=data, batch=batch, context=context, to_time=True
    )
    try:
        found = source.profile(network, context)
    except BoardLostError as lost:
        raise _kept(lost, out, earlier) from lost
    _write(out, found, earlier)
    if source.times_whole:
        found = residuals.with_whole(network, source.rig, found, context=context)
        _write(out, found, earlier)
    if meter is not None:
        found = metering.meter_parts(network, found, meter, context=context)
        _write(out, found, earlier)
    for remark in remarks(found):
        say(remark)
    if as_json:
        print_json(document_of(found, space=file.name, seconds=time.perf_counter() - start))
        return
    print_profile(found, space=file.name)
    say(f"{found.origin}; {source.word}")


def _earlier(out: Path | None, target: str, rig: Rig) -> HardwareProfile | None:
    """What `out` holds already; raises `InputError` where that is of another rig or no profile, or where it has no
    folder: before anything is measured."""
    if out is None:
        return None
    if not out.parent.is_dir():
        raise InputError(f"cannot write {out}: there is no folder {out.parent}; create it first")
    if not out.exists():
        return None
    earlier = read_profile(out)
    if earlier.target != target:
        raise InputError(f"{out} is of {earlier.target}, not of {target}; name another file")
    check_rig(earlier, rig)
    return earlier


def _write(out: Path | None, found: HardwareProfile, earlier: HardwareProfile | None) -> None:
    if out is not None:
        write_profile(out, found if earlier is None else merge(earlier, found))


def _kept(lost: BoardLostError, out: Path | None, earlier: HardwareProfile | None) -> BoardLostError:
    """The error, told with the file that what was measured is now in."""
    if out is None or not (lost.partial.kernels or lost.partial.changes):
        return lost
    _write(out, lost.partial, earlier)
    return BoardLostError(f"{lost}; see {out}", lost.partial)
