"""What plugs in: one method each. The object is its own configuration; strategies are in `core.result`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

from hawqsearch.core.hardware import ChangeKey, Energy, HardwareProfile, KernelKey, Rig
from hawqsearch.core.sensitivity import QuantizerChoice, Score, SensitivityTable
from hawqsearch.core.target import Target

if TYPE_CHECKING:
    from hawqsearch.core.data import Split
    from hawqsearch.quant.calibrated import CalibratedModel

__all__ = ["EnergyBackend", "MeasureBackend", "SensitivityAnalyzer"]


class SensitivityAnalyzer(Protocol):
    """Says how much each quantizer choice hurts; `gives_pairs` tells whether it scores pairs too."""

    @property
    def name(self) -> str:
        """What the command line calls it."""
        ...

    @property
    def gives_pairs(self) -> bool:
        """Whether its table has interactions."""
        ...

    def analyze(
        self,
        calibrated: CalibratedModel,
        split: Split,
        choices: tuple[QuantizerChoice, ...],
        *,
        known: Mapping[QuantizerChoice, Score] = ...,
        on_score: Callable[[QuantizerChoice, Score], object] = ...,
    ) -> SensitivityTable:
        """Scores of `choices` on `split`; those in `known` need not be measured again."""
        ...


class MeasureBackend(Protocol):
    """Times kernels and precision changes on a device."""

    def measure(
        self,
        target: Target,
        rig: Rig,
        kernels: Iterable[KernelKey],
        changes: Iterable[ChangeKey],
        *,
        on_round: Callable[[int], object] = ...,
    ) -> HardwareProfile:
        """A profile of every kernel and change; `on_round` is called with the rounds just done."""
        ...

    @property
    def n_rounds(self) -> int:
        """How many rounds `measure` takes."""
        ...


class EnergyBackend(Protocol):
    """Meters kernels and precision changes that were timed before."""

    @property
    def counter(self) -> str:
        """What is read, as profiles name it."""
        ...

    def meter(
        self,
        target: Target,
        rig: Rig,
        times_ms: Mapping[KernelKey | ChangeKey, float],
        *,
        on_row: Callable[[KernelKey | ChangeKey, Energy], object],
    ) -> None:
        """Hand the energy of every kernel and change to `on_row` as soon as it is known."""
        ...
