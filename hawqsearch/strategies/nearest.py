"""Which of a layer's precisions is nearest to one that it lacks."""

from __future__ import annotations

import math
from collections.abc import Mapping

from hawqsearch.core.precision import Precision
from hawqsearch.core.problem import Choice
from hawqsearch.errors import InputError

__all__ = ["bits_of", "nearest"]


def bits_of(name: str) -> tuple[int, int] | None:
    """(weight bits, activation bits) of a precision's name, None where the name is no precision."""
    try:
        precision = Precision.parse(name)
    except InputError:
        return None
    return precision.weight.bits, precision.activation.bits


def nearest(wanted: str, options: Mapping[str, Choice]) -> str:
    """`wanted` itself, else the option of the nearest bits, else the one of least score.

    Activation bits count before weight bits, because they decide which kernel runs and so which edges are
    paid; of two options as near, the one with more bits. Names that are no precision count only where all are
    such.
    """
    if wanted in options:
        return wanted
    bits = bits_of(wanted)
    parsed = {name: found for name in options if (found := bits_of(name)) is not None}
    if bits is None or not parsed:
        return min(options, key=lambda name: options[name].score)
    return min(parsed, key=lambda name: _distance(bits, parsed[name]))


def _distance(wanted: tuple[int, int], found: tuple[int, int]) -> tuple[float, float, int]:
    weight, activation = (abs(math.log2(f / w)) for f, w in zip(found, wanted, strict=True))
    return activation, weight, -found[0]
