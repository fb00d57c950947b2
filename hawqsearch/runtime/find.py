"""A runtime by its name."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from hawqsearch.errors import UnknownNameError

if TYPE_CHECKING:
    from hawqsearch.runtime.interface import Runtime

__all__ = ["RUNTIMES", "find_runtime"]

RUNTIMES: Final[Mapping[str, str]] = MappingProxyType(
    {"onnxruntime": "hawqsearch.runtime.onnxruntime_cpu:OnnxRuntime"}
)
"""Name -> class; imported when it is asked for."""


def find_runtime(name: str) -> Runtime:
    """The runtime of that name; raises `UnknownNameError` with the nearest."""
    if name not in RUNTIMES:
        raise UnknownNameError("runtime", name, RUNTIMES)
    module, _, attribute = RUNTIMES[name].partition(":")
    runtime: Runtime = getattr(importlib.import_module(module), attribute)()
    return runtime
