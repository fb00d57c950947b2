"""Options that verbs share (DESIGN section 6), and what they open."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hawqsearch.cache import Cache, default_folder
from hawqsearch.core.precision import Precision
from hawqsearch.core.space import SearchSpace
from hawqsearch.errors import InputError

if TYPE_CHECKING:
    import torch

    from hawqsearch.core import target as core_target
    from hawqsearch.core.data import Splits
    from hawqsearch.pipeline import Context, Network
    from hawqsearch.spaces import SpaceFile

__all__ = [
    "Analyzer",
    "Batch",
    "CacheDir",
    "Data",
    "Json",
    "NoCache",
    "Out",
    "OutFile",
    "Precisions",
    "Runtime",
    "Seed",
    "Space",
    "Strategy",
    "Target",
    "Threads",
    "Time",
    "Weights",
    "open_cache",
    "open_network",
    "open_space",
]


def _seconds(text: str | float) -> float:
    """A duration: a number of seconds, or one with its unit (`30s`, `2min`, `1h`)."""
    match = re.fullmatch(r"([0-9]*\.?[0-9]+)\s*(s|min|h)?", str(text).strip())
    if match is None or not float(match[1]):
        raise typer.BadParameter(f"{text!r} is no duration; write 90, 30s or 2min")
    return float(match[1]) * {None: 1.0, "s": 1.0, "min": 60.0, "h": 3600.0}[match[2]]


Target = Annotated[str, typer.Option("--target", help="Device; `hawqsearch targets` lists them.")]
Runtime = Annotated[
    str | None,
    typer.Option("--runtime", help="Instead of the target's default: openvino (on x86)."),
]
Space = Annotated[str, typer.Option("--space", help="Name or TOML file; `hawqsearch spaces` lists them.")]
Strategy = Annotated[str, typer.Option("--strategy", help="How to search: ilp, greedy, uniform …")]
Analyzer = Annotated[str, typer.Option("--analyzer", help="How to measure sensitivity: kl, interaction.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Seed = Annotated[int, typer.Option("--seed", help="Of everything random.")]
Threads = Annotated[int, typer.Option("--threads", min=1, help="Threads of the runtime that is measured.")]
Batch = Annotated[int, typer.Option("--batch", min=1, help="Rows per inference.")]
Time = Annotated[
    float,
    typer.Option(
        "--time",
        parser=_seconds,
        metavar="TIME",
        help="Most that one answer may take: 90, 30s, 2min.",
    ),
]
Data = Annotated[Path | None, typer.Option("--data", help="Folder with the space's data and weights.")]
Weights = Annotated[
    Path | None, typer.Option("--weights", help="Safetensors file with the network's weights.")
]
Precisions = Annotated[
    str | None, typer.Option("--precisions", help="Instead of the space's: w8a8,w4a8,fp32 …")
]
CacheDir = Annotated[Path | None, typer.Option("--cache-dir", help="Where results of stages are kept.")]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Compute everything anew, keep nothing.")]
OutFile = Annotated[Path | None, typer.Option("--out", help="Also write it to this file.")]
Out = Annotated[Path | None, typer.Option("--out", help="Run folder; one that exists is resumed.")]


def chosen_precisions(space: SearchSpace, precisions: str | None) -> SearchSpace:
    """The space, or the same with the precisions that the user typed; these are then explicit."""
    if precisions is None:
        return space
    parsed = tuple(dict.fromkeys(Precision.parse(text.strip()) for text in precisions.split(",")))
    return SearchSpace(precisions=parsed, pins=space.pins, ties=space.ties, explicit=True)


def open_space(file: SpaceFile, weights: Path | None, data: Path | None) -> tuple[torch.nn.Module, Splits]:
    """The network and the data of a space; raises `InputError` where either cannot be had."""
    from hawqsearch.spaces import load_model, load_splits

    return load_model(file, weights=weights, directory=data), load_splits(file, data)


def open_network(
    file: SpaceFile,
    target: core_target.Target,
    *,
    space: SearchSpace,
    weights: Path | None,
    data: Path | None,
    batch: int,
    context: Context,
    to_time: bool = False,
) -> Network:
    """The network of a space file, traced and calibrated for `target`, with the choices of `space`.

    Args:
        to_time: it is only timed, so that a space of shapes only will do; see `pipeline.open_network`.
    """
    from hawqsearch import pipeline
    from hawqsearch.spaces import load_untrained

    if to_time and file.is_shapes_only:
        context.progress.note(f"{file.name} is untrained: its weights and inputs are random")
        model, splits = load_untrained(file, seed=context.seed)
    else:
        model, splits = open_space(file, weights, data)
    return pipeline.open_network(model, splits, target, space, batch=batch, context=context, to_time=to_time)


def open_cache(cache_dir: Path | None, no_cache: bool) -> Cache:
    """The cache that the options name, checked to be writable."""
    if no_cache and cache_dir is not None:
        raise InputError("--no-cache and --cache-dir exclude each other; give one")
    cache = Cache(None if no_cache else cache_dir or default_folder())
    cache.check_writable()
    return cache
