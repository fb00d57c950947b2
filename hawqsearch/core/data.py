"""Labelled examples, split so that calibration, search and final test share none."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hawqsearch.errors import InputError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Split", "Splits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Examples of one split.

    Args:
        inputs: float32 (n, …), one example per row, as the network takes them.
        labels: int64 (n,).
        groups: int64 (n,): the source that an example was made from. Examples of one source are
            not independent, so standard errors are clustered by it. All different where each
            example is its own source.
    """

    inputs: np.ndarray
    labels: np.ndarray
    groups: np.ndarray

    def __post_init__(self) -> None:
        n = len(self.inputs)
        if len(self.labels) != n or len(self.groups) != n:
            raise InputError(
                f"a split's inputs, labels and groups differ in length: "
                f"{n}, {len(self.labels)}, {len(self.groups)}"
            )

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, rows: slice) -> Split:
        return Split(inputs=self.inputs[rows], labels=self.labels[rows], groups=self.groups[rows])

    @property
    def sha256(self) -> str:
        """Hash of shapes and contents: what a run file records of its data."""
        digest = hashlib.sha256()
        for array in (self.inputs, self.labels, self.groups):
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Splits:
    """The three splits that a search reads; none may be empty or share a source with another.

    `calibration` makes the tables, the first half of `search` is what strategies learn on and
    its second half makes the final choice, `test` is read once per reported row.
    """

    calibration: Split
    search: Split
    test: Split

    def __post_init__(self) -> None:
        for name in ("calibration", "search", "test"):
            if len(getattr(self, name)) == 0:
                raise InputError(f"the {name} split is empty; give it at least one example")
