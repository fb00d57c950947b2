"""Spaces as files: which network, its weights, its data, and the precisions allowed."""

from __future__ import annotations

import importlib
import importlib.resources
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.precision import Precision
from hawqsearch.core.space import SearchSpace
from hawqsearch.errors import FileFormatError, InputError, UnknownNameError

if TYPE_CHECKING:
    import torch

    from hawqsearch.core.data import Splits

__all__ = [
    "DEFAULT",
    "SpaceFile",
    "data_folder",
    "find_space",
    "find_weights",
    "load_model",
    "load_splits",
    "load_untrained",
    "missing_files",
    "space_names",
]

DEFAULT: Final = "digits"
_TEXTS: Final = ("name", "summary", "model", "weights", "data", "metric")
_KEYS: Final = frozenset({*_TEXTS, "files", "input", "precisions", "ties", "pins"})
_UNTRAINED_IMAGES: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceFile:
    """A space as its TOML file says it.

    Args:
        path: the file; weights are looked for beside it.
        model, data: `module:callable`; `model()` is a module, `data(folder or None)` its splits.
        weights: a file name, or `package:file` for one that travels in a package.
        files: what `data` reads below the data folder; empty where the data travels with the package.
        input: shape of one example, of a space without weights and data: its latency is all that can be told.
    """

    path: Path
    name: str
    summary: str
    model: str
    weights: str
    data: str
    metric: str
    space: SearchSpace
    files: tuple[str, ...] = ()
    input: tuple[int, ...] = ()

    @property
    def is_shapes_only(self) -> bool:
        """Whether it has no weights and no data."""
        return bool(self.input)


def space_names() -> tuple[str, ...]:
    """Names of the spaces that ship with the package."""
    return tuple(
        sorted(p.name.removesuffix(".toml") for p in _shipped().iterdir() if p.name.endswith(".toml"))
    )


def find_space(name: str) -> SpaceFile:
    """The space of that name, or in that TOML file; raises `UnknownNameError` or `FileFormatError`."""
    path = Path(name)
    if path.suffix != ".toml":
        if name not in space_names():
            raise UnknownNameError("space", name, space_names())
        path = Path(str(_shipped())) / f"{name}.toml"
    return read_space(path)


def read_space(path: Path) -> SpaceFile:
    """The space that a TOML file describes."""
    try:
        table = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(
            f"there is no space file {path}; `hawqsearch spaces` lists those that ship"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FileFormatError(f"{path} is not a TOML file: {error}") from None
    for key in table:
        if key not in _KEYS:
            raise FileFormatError(f"{path}: {UnknownNameError('key', key, _KEYS)}")
    shape = _input(table, path)
    for key in ("model", "precisions", *(() if shape else ("weights", "data"))):
        if key not in table:
            raise FileFormatError(f"{path} has no {key!r}; see search_spaces/digits.toml for a whole one")
    return SpaceFile(
        path=path,
        name=str(table.get("name", path.stem)),
        summary=str(table.get("summary", "")),
        model=str(table["model"]),
        weights=str(table.get("weights", "")),
        data=str(table.get("data", "")),
        metric=str(table.get("metric", "top-1")),
        space=_space(table, path),
        files=tuple(map(str, table.get("files", ()))),
        input=shape,
    )


def _input(table: Mapping[str, Any], path: Path) -> tuple[int, ...]:
    shape = table.get("input", [])
    if not isinstance(shape, list) or not all(type(side) is int and side > 0 for side in shape):
        raise FileFormatError(f"{path}: input is {shape!r}; write the shape of one example: [3, 224, 224]")
    if shape and ("weights" in table or "data" in table):
        raise FileFormatError(f"{path}: a space has weights and data, or an input and neither; remove one")
    return tuple(shape)


def data_folder(directory: Path | None) -> Path:
    """Where data and weights that do not ship are looked for."""
    import platformdirs

    if directory is not None:
        return directory
    named = os.environ.get("HAWQSEARCH_DATA")
    return Path(named) if named else platformdirs.user_data_path("hawqsearch")


def find_weights(space: SpaceFile, directory: Path | None = None) -> Path:
    """The file that holds the trained weights; raises `InputError` where there is none."""
    _check_trained(space)
    package, _, file = space.weights.rpartition(":")
    if package:
        return Path(str(importlib.resources.files(package))) / file
    places = (space.path.parent, data_folder(directory))
    for place in places:
        if (place / file).exists():
            return place / file
    raise InputError(
        f"no {file} in {' or '.join(map(str, places))}; name it with --weights FILE, "
        "or its folder with --data DIR or HAWQSEARCH_DATA"
    )


def missing_files(space: SpaceFile, directory: Path | None = None) -> tuple[str, ...]:
    """Files of the data that are not in the data folder."""
    folder = data_folder(directory)
    return tuple(name for name in space.files if not (folder / name).exists())


def load_model(
    space: SpaceFile, *, weights: Path | None = None, directory: Path | None = None
) -> torch.nn.Module:
    """The trained network in evaluation mode; raises `InputError` where weights are missing or do not fit."""
    _check_trained(space)
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = weights if weights is not None else find_weights(space, directory)
    model: torch.nn.Module = _callable(space.model, space.path)()
    try:
        model.load_state_dict(load_file(path))
    except FileNotFoundError:
        raise InputError(f"there are no weights at {path}; name a safetensors file with --weights") from None
    except SafetensorError as error:
        raise FileFormatError(f"{path} is not a whole safetensors file: {error}") from None
    except RuntimeError as error:
        problem = " ".join(str(error).split())[:200]
        raise InputError(f"the weights in {path} do not fit {space.model}: {problem}") from None
    return model.eval()


def load_splits(space: SpaceFile, directory: Path | None = None) -> Splits:
    """The data of a space; raises `InputError` where it has none."""
    _check_trained(space)
    splits: Splits = _callable(space.data, space.path)(directory)
    return splits


def load_untrained(space: SpaceFile, *, seed: int) -> tuple[torch.nn.Module, Splits]:
    """The network of a space of shapes only, with random weights, and random examples: to be timed, never judged."""
    import numpy as np
    import torch

    from hawqsearch.core.data import Split, Splits

    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        model: torch.nn.Module = _callable(space.model, space.path)()
    rng = np.random.default_rng(seed)

    def split(n: int) -> Split:
        inputs = rng.standard_normal((n, *space.input)).astype(np.float32)
        return Split(inputs=inputs, labels=np.zeros(n, np.int64), groups=np.arange(n))

    splits = Splits(calibration=split(_UNTRAINED_IMAGES), search=split(1), test=split(1))
    return model.eval(), splits


def _check_trained(space: SpaceFile) -> None:
    if space.is_shapes_only:
        raise InputError(
            f"{space.name} is untrained, and has no data: `hawqsearch profile` times it; for more name its weights "
            "and data in a space file of your own"
        )


def _shipped() -> importlib.resources.abc.Traversable:
    return importlib.resources.files("search_spaces")


def _space(table: Mapping[str, Any], path: Path) -> SearchSpace:
    try:
        return SearchSpace(
            precisions=tuple(Precision.parse(text) for text in table["precisions"]),
            pins=FrozenDict({name: Precision.parse(text) for name, text in table.get("pins", {}).items()}),
            ties=tuple(tuple(group) for group in table.get("ties", [])),
        )
    except InputError as error:
        raise FileFormatError(f"{path}: {error}") from None


def _callable(reference: str, path: Path) -> Callable[..., Any]:
    module, _, name = reference.partition(":")
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"{path}: cannot load {reference!r} ({error}); write it as module:callable"
        ) from None
    return found
