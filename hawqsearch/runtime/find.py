"""A runtime by its name."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib.util import find_spec
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from hawqsearch.errors import MissingDependencyError, UnknownNameError

if TYPE_CHECKING:
    from hawqsearch.runtime.interface import Runtime

__all__ = ["RUNTIMES", "check_installed", "find_runtime"]

RUNTIMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "onnxruntime": "hawqsearch.runtime.onnxruntime_cpu:OnnxRuntime",
        "openvino": "hawqsearch.runtime.openvino_cpu:OpenVino",
    }
)
"""Name, which is also that of its package -> class; imported when it is asked for."""


def check_installed(name: str) -> None:
    """Raise `UnknownNameError` or `MissingDependencyError` where there is no runtime of that name; imports none."""
    if name not in RUNTIMES:
        raise UnknownNameError("runtime", name, RUNTIMES)
    if find_spec(name) is None:
        raise MissingDependencyError(f"{name} is not installed; pip install 'hawqsearch[{name}]'")


def find_runtime(name: str) -> Runtime:
    """The runtime of that name; raises as `check_installed` does."""
    check_installed(name)
    module, _, attribute = RUNTIMES[name].partition(":")
    runtime: Runtime = getattr(importlib.import_module(module), attribute)()
    return runtime
