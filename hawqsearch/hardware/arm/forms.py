"""Machine code -> forms of instructions: the mnemonic and the kinds of its operands, registers forgotten.

`fmla v16.4s, v4.4s, v8.s[0]` has the form `fmla`, `v.4s v.4s v.s[i]`; `ldr q0, [x0], #16` is `ldr`, `q []!`.
"""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any, Final

from hawqsearch.errors import MissingDependencyError

__all__ = ["Form", "Instruction", "decode", "form_of", "loops"]

_WORD: Final = 4
_TARGET: Final = re.compile(r"#(0x[0-9a-f]+)$")
_SHIFT: Final = re.compile(r"(lsl|lsr|asr|ror|msl|[us]xt[bhwx])\b.*")
_VECTOR: Final = re.compile(r"v\d+\.(\w+?)(\[\d+\])?")
_SCALAR: Final = re.compile(r"([xwqdshb])(?:\d+|zr)")
_LIST: Final = re.compile(r"v\d+\.(\w+)")


@dataclass(frozen=True, slots=True)
class Form:
    """A mnemonic and the kinds of its operands, joined by spaces."""

    mnemonic: str
    operands: str


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction, decoded: as text, and its form. Branch targets are relative to it."""

    mnemonic: str
    operands: str
    form: Form


def decode(code: bytes) -> list[Instruction]:
    """The instructions of a block; one that cannot be decoded has the mnemonic `unknown`."""
    return [_decode(code[i : i + _WORD]) for i in range(0, len(code), _WORD)]


def loops(code: bytes) -> bool:
    """Whether the block ends in a branch to its own beginning."""
    last = _decode(code[-_WORD:])
    target = _TARGET.search(last.operands) if last.mnemonic[0] in "bct" else None
    return target is not None and (int(target[1], 16) + len(code) - _WORD) % 2**64 == 0


@cache
def _decode(word: bytes) -> Instruction:
    found = next(_decoder().disasm_lite(word, 0), None)
    mnemonic, operands = (found[2], found[3]) if found else ("unknown", "")
    return Instruction(mnemonic, operands, form_of(mnemonic, operands))


def form_of(mnemonic: str, operands: str) -> Form:
    """The form of an instruction that is written out."""
    kinds = [_kind(part.strip()) for part in _split(operands)]
    memory = next((i for i, kind in enumerate(kinds) if kind.startswith("[")), None)
    if memory is not None and memory < len(kinds) - 1:
        kinds = [*kinds[:memory], "[]!"]  # the address is changed afterwards
    return Form(mnemonic, " ".join(kinds))


def _split(operands: str) -> list[str]:
    """Operands apart: commas within brackets do not part them."""
    parts, depth, start = [], 0, 0
    for index, letter in enumerate(operands):
        depth += (letter in "[{") - (letter in "]}")
        if letter == "," and depth == 0:
            parts.append(operands[start:index])
            start = index + 1
    return [*parts, operands[start:]] if operands else []


def _kind(operand: str) -> str:
    if operand.startswith("["):
        offset = "r" if re.search(r", [xw](\d|zr)", operand) else ""
        return f"[{offset}]" + ("!" if operand.endswith("!") else "")
    if operand.startswith("{"):
        registers = _LIST.findall(operand)
        return f"{{{len(registers)}.{registers[0]}}}" + ("[i]" if "}[" in operand else "")
    if operand in ("sp", "wsp"):
        return "x"
    if shift := _SHIFT.fullmatch(operand):
        return shift[1]
    if vector := _VECTOR.fullmatch(operand):
        return f"v.{vector[1]}" + ("[i]" if vector[2] else "")
    if scalar := _SCALAR.fullmatch(operand):
        return scalar[1]
    return "#" if operand[:1] in "#0123456789" else operand


@cache
def _decoder() -> Any:
    if find_spec("capstone") is None:
        raise MissingDependencyError("decoding Arm code needs capstone: pip install 'hawqsearch[arm]'")
    capstone: Any = importlib.import_module("capstone")
    return capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM)
