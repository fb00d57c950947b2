"""Name -> "module:Class" of everything that plugs in: built-ins and entry points. Imports none of them."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any, Final

from hawqsearch.errors import UnknownNameError

__all__ = ["BUILT_IN", "build", "load", "names"]

BUILT_IN: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "strategies": MappingProxyType(
            {
                "ilp": "hawqsearch.strategies.ilp:IlpSearch",
                "greedy": "hawqsearch.strategies.greedy:GreedySearch",
                "uniform": "hawqsearch.strategies.uniform:UniformSearch",
                "first_last": "hawqsearch.strategies.first_last:FirstLastSearch",
                "random": "hawqsearch.strategies.random_search:RandomSearch",
                "size_ranked": "hawqsearch.strategies.size_ranked:SizeRankedSearch",
                "exhaustive": "hawqsearch.strategies.exhaustive:ExhaustiveSearch",
            }
        ),
        "analyzers": MappingProxyType(
            {
                "kl": "hawqsearch.sensitivity.kl:KlAnalyzer",
                "interaction": "hawqsearch.sensitivity.interaction:InteractionAnalyzer",
            }
        ),
        "backends": MappingProxyType(
            {
                "local": "hawqsearch.hardware.local:LocalBackend",
                "ssh": "hawqsearch.hardware.board.ssh:SshBackend",
                "qemu": "hawqsearch.hardware.arm.backend:QemuBackend",
                "cuda": "hawqsearch.hardware.cuda.backend:CudaBackend",
                "cuda-ssh": "hawqsearch.hardware.cuda.ssh:CudaSshBackend",
            }
        ),
        "exporters": MappingProxyType({}),
    }
)
_SINGULAR: Final = MappingProxyType(
    {"strategies": "strategy", "analyzers": "analyzer", "backends": "backend", "exporters": "exporter"}
)


def names(kind: str) -> tuple[str, ...]:
    """Every name of a kind (`strategies`, `analyzers`, `backends`, `exporters`), built-ins first."""
    return tuple(dict.fromkeys([*_built_in(kind), *_installed(kind)]))


def load(kind: str, name: str) -> Any:
    """The class behind `name`; a built-in wins over an entry point of the same name.

    Raises:
        UnknownNameError: nothing of that kind answers to `name`.
    """
    if name in _built_in(kind):
        module, _, attribute = BUILT_IN[kind][name].partition(":")
        return getattr(importlib.import_module(module), attribute)
    installed = _installed(kind)
    if name not in installed:
        raise UnknownNameError(_SINGULAR[kind], name, names(kind))
    return installed[name].load()


def build(kind: str, name: str, **offered: object) -> Any:
    """An instance of `load(kind, name)`, given those of `offered` that its dataclass has a field for."""
    plugin = load(kind, name)
    has = {field.name for field in fields(plugin)} if is_dataclass(plugin) else set()
    return plugin(**{key: value for key, value in offered.items() if key in has})


def _built_in(kind: str) -> Mapping[str, str]:
    if kind not in BUILT_IN:
        raise UnknownNameError("kind of plug-in", kind, BUILT_IN)
    return BUILT_IN[kind]


def _installed(kind: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=f"hawqsearch.{kind}")}
