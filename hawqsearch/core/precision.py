"""Number formats, and the pair of them that a layer computes in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from hawqsearch.errors import InputError, UnknownNameError

__all__ = ["FP32", "Format", "Precision"]

_BITS: Final = MappingProxyType(
    {"fp32": 32, "tf32": 32, "fp16": 16, "bf16": 16, "fp8e4m3": 8, "int16": 16}
    | {f"int{b}": b for b in range(2, 9)}
)
_NAME: Final = re.compile(r"w(?P<weight>[2-8])a(?:(?P<static>8)|(?P<dynamic>8d)|(?P<wide>i16)|(?P<none>16))")
_WHOLE: Final = ("fp32", "tf32", "fp16", "bf16", "fp8e4m3")
"""Formats that weights and inputs share; `tf32` is stored as fp32 and multiplied with 10 bits of mantissa."""


@dataclass(frozen=True, slots=True, order=True)
class Format:
    """One number format: `fp32`, `int8`, `int4` …"""

    name: str

    def __post_init__(self) -> None:
        if self.name not in _BITS:
            raise InputError(f"unknown number format {self.name!r}; known: {', '.join(_BITS)}")

    def __str__(self) -> str:
        return self.name

    @property
    def bits(self) -> int:
        """Bits of one code point."""
        return _BITS[self.name]

    @property
    def is_float(self) -> bool:
        """Whether values are stored as they are, without a scale."""
        return self.name in _WHOLE and self.bits > 8


@dataclass(frozen=True, slots=True, order=True)
class Precision:
    """Weight format x format of the layer's *input*; `parse` is the inverse of `str`.

    `w8a8` has static int8 inputs, `w8a8d` dynamic ones, `w4a16` quantizes weights only (inputs
    stay in the runtime's float), `w8ai16` has 16-bit integer inputs, `fp32` quantizes nothing;
    `tf32`, `fp16`, `bf16` and `fp8e4m3` name the format of weights and inputs alike.
    """

    weight: Format
    activation: Format
    dynamic: bool = False

    def __post_init__(self) -> None:
        if self.weight.name in _WHOLE and self.activation != self.weight:
            raise InputError(f"float weights go with float activations only, got {self!r}")
        if self.dynamic and self.activation.name != "int8":
            raise InputError(f"only int8 activations can be dynamic, got {self.activation}")

    def __str__(self) -> str:
        if self.weight.name in _WHOLE:
            return self.weight.name
        suffix = {"int8": "8d" if self.dynamic else "8", "int16": "i16", "fp32": "16"}[self.activation.name]
        return f"w{self.weight.bits}a{suffix}"

    @classmethod
    def parse(cls, text: str) -> Precision:
        """The precision that `text` names; raises `UnknownNameError` with the nearest otherwise."""
        if text in _WHOLE:
            return cls(Format(text), Format(text))
        match = _NAME.fullmatch(text)
        if match is None:
            raise UnknownNameError("precision", text, _names())
        wide, none = match["wide"], match["none"]
        activation = "int16" if wide else "fp32" if none else "int8"
        return cls(Format(f"int{match['weight']}"), Format(activation), dynamic=match["dynamic"] is not None)

    @property
    def is_float(self) -> bool:
        """Whether nothing is quantized."""
        return self.weight.is_float

    @property
    def is_simulated(self) -> bool:
        """Whether `quant` computes what it does to a network: fp32, and integer weights with float or static int8
        inputs."""
        whole = self.weight.name == "fp32" or self.weight.name not in _WHOLE
        return whole and self.activation.name in ("fp32", "int8") and not self.dynamic

    @property
    def quantizes_input(self) -> bool:
        """Whether the layer's input tensor gets a quantizer."""
        return not self.activation.is_float


def _names() -> tuple[str, ...]:
    return ("fp32", *(f"w{bits}a{tail}" for bits in range(2, 9) for tail in ("8", "8d", "i16", "16")))


FP32: Final = Precision(Format("fp32"), Format("fp32"))
