"""What the rest of the package asks of a runtime."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeAlias

import numpy as np

__all__ = ["Arithmetic", "Feed", "KernelRun", "Runtime", "Session"]

Feed: TypeAlias = dict[str, np.ndarray]
"""Input name -> array."""


class Arithmetic(StrEnum):
    """What a kernel that multiplies by weights computes in."""

    INT8 = "int8"
    FLOAT = "float"


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelRun:
    """One node of the executed graph: its operator, and the time of each run in ms."""

    name: str
    op: str
    times_ms: tuple[float, ...]

    @property
    def median_ms(self) -> float:
        """Median over runs."""
        return float(np.median(self.times_ms))


class Session(Protocol):
    """A model that is loaded."""

    def run(self, feed: Feed) -> list[np.ndarray]:
        """The outputs, in the model's order."""
        ...

    def kernels(self, *, skip_runs: int = 0) -> list[KernelRun]:
        """Nodes in the order they ran, without their first `skip_runs` runs; ends a session that was opened
        `profiled`; another has none to tell."""
        ...


class Runtime(Protocol):
    """A runtime of this machine."""

    @property
    def name(self) -> str:
        """As target files write it."""
        ...

    @property
    def version(self) -> str:
        """Name and version, as profiles and run files record it."""
        ...

    @property
    def fuses(self) -> bool:
        """Whether a quantizer runs in the kernel that writes the tensor, and not as a node of its own."""
        ...

    def open(
        self, model: bytes, *, threads: int = 1, signed_activations: bool = False, profiled: bool = False
    ) -> AbstractContextManager[Session]:
        """A session on `threads` threads; raises `DeviceError` where the runtime refuses the model.

        Args:
            signed_activations: int8 codes of activations are -128..127.
            profiled: every run is timed node by node.
        """
        ...

    def kernels_ran(self, model: bytes, feed: Feed, *, signed_activations: bool = False) -> Mapping[str, str]:
        """Node of the file -> operator that ran it, under names that begin with the node's layer."""
        ...

    def arithmetic(self, op: str) -> Arithmetic | None:
        """What an operator that `KernelRun` or `kernels_ran` tells of computes in; None where it has no weights."""
        ...
