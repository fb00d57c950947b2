"""Options that verbs share (DESIGN section 6), and what they open."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hawqsearch.cache import Cache, default_folder
from hawqsearch.core.precision import Precision
from hawqsearch.core.space import SearchSpace
from hawqsearch.errors import InputError

if TYPE_CHECKING:
    import torch

    from hawqsearch.core.data import Splits
    from hawqsearch.spaces import SpaceFile

__all__ = [
    "Analyzer",
    "Batch",
    "CacheDir",
    "Data",
    "Json",
    "NoCache",
    "Out",
    "Precisions",
    "Seed",
    "Space",
    "Strategy",
    "Target",
    "Threads",
    "Time",
    "Weights",
    "open_cache",
    "open_space",
]

Target = Annotated[str, typer.Option("--target", help="Device; `hawqsearch targets` lists them.")]
Space = Annotated[str, typer.Option("--space", help="Name or TOML file; `hawqsearch spaces` lists them.")]
Strategy = Annotated[str, typer.Option("--strategy", help="How to search: ilp, greedy, uniform …")]
Analyzer = Annotated[str, typer.Option("--analyzer", help="How to measure sensitivity: kl, interaction.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Seed = Annotated[int, typer.Option("--seed", help="Of everything random.")]
Threads = Annotated[int, typer.Option("--threads", min=1, help="Threads of the runtime that is measured.")]
Batch = Annotated[int, typer.Option("--batch", min=1, help="Rows per inference.")]
Time = Annotated[float, typer.Option("--time", help="Seconds that the solver may take for one answer.")]
Data = Annotated[Path | None, typer.Option("--data", help="Folder with the space's data and weights.")]
Weights = Annotated[
    Path | None, typer.Option("--weights", help="Safetensors file with the network's weights.")
]
Precisions = Annotated[
    str | None, typer.Option("--precisions", help="Instead of the space's: w8a8,w4a8,fp32 …")
]
CacheDir = Annotated[Path | None, typer.Option("--cache-dir", help="Where results of stages are kept.")]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Compute everything anew, keep nothing.")]
Out = Annotated[Path | None, typer.Option("--out", help="Run folder; one that exists is resumed.")]


@dataclass(frozen=True, slots=True)
class OpenSpace:
    """A space with its network and data loaded."""

    file: SpaceFile
    space: SearchSpace
    model: torch.nn.Module
    splits: Splits


def chosen_precisions(space: SearchSpace, precisions: str | None) -> SearchSpace:
    """The space, or the same with the precisions that the user typed; these are then explicit."""
    if precisions is None:
        return space
    parsed = tuple(dict.fromkeys(Precision.parse(text.strip()) for text in precisions.split(",")))
    return SearchSpace(precisions=parsed, pins=space.pins, ties=space.ties, explicit=True)


def open_space(file: SpaceFile, precisions: str | None, weights: Path | None, data: Path | None) -> OpenSpace:
    """Load the network and the data of a space; raises `InputError` where either cannot be had."""
    from hawqsearch.spaces import load_model, load_splits

    space = chosen_precisions(file.space, precisions)
    return OpenSpace(file, space, load_model(file, weights=weights, directory=data), load_splits(file, data))


def open_cache(cache_dir: Path | None, no_cache: bool) -> Cache:
    """The cache that the options name, checked to be writable."""
    if no_cache and cache_dir is not None:
        raise InputError("--no-cache and --cache-dir exclude each other; give one")
    cache = Cache(None if no_cache else cache_dir or default_folder())
    cache.check_writable()
    return cache
