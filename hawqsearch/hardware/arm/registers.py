"""Which registers an instruction reads and writes, from its text: enough for the order in which a core may issue.

Condition flags are the register `nzcv`; `w3` and `x3` are one register, `s3`, `d3`, `q3` and `v3.4s` another.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["Access", "access_of"]

_REGISTER: Final = re.compile(r"\b(?:([xw])(\d+)|([vqdshb])(\d+)(?=$|[^\w])|(sp|wsp))")
_MEMORY: Final = re.compile(r"\[[^\]]*\]!?(?:, *#?-?\w+)?$")
_LANE: Final = re.compile(r"v\d+\.\w+\[\d+\]")
_NO_RESULT: Final = re.compile(
    r"(cmp|cmn|tst|ccmp|ccmn|fcmpe?|fccmpe?|b|b\..*|br|bl|blr|ret|cbn?z|tbn?z|prfu?m|dc|nop)"
)
_SETS_FLAGS: Final = re.compile(r"(adds|subs|ands|bics|negs|adcs|sbcs|cmp|cmn|tst|ccmp|ccmn|fcmpe?|fccmpe?)")
_READS_FLAGS: Final = re.compile(
    r"(b\..*|csel|csinc|csinv|csneg|cset|csetm|cinc|cinv|cneg|ccmp|ccmn|fcsel|fccmpe?|adcs?|sbcs?)"
)
_ADDS_TO_RESULT: Final = re.compile(
    r"(fml[as]|ml[as]|[su]?[su]dot|[su]ml[as]l2?|sqdml[as]l2?|[su]r?sra|[su]adalp|[su]abal?2?|movk|bfi|bfxil|bfm|bsl|bit"
    r"|bif|s[rl]i|ins|tbx|.*(xtu?n|shru?n|cvtn)2)"
)


@dataclass(frozen=True, slots=True)
class Access:
    """Registers that an instruction reads, writes, and the address register that it moves on, if it does."""

    reads: frozenset[str]
    writes: frozenset[str]
    moved: frozenset[str] = frozenset()


def access_of(mnemonic: str, operands: str) -> Access:
    """The access of one instruction as a disassembler writes it."""
    memory = _MEMORY.search(operands) if mnemonic.startswith(("ld", "st", "prf")) else None
    if memory is not None:
        return _memory_access(mnemonic, operands[: memory.start()], memory[0])
    first, _, rest = operands.partition(",")
    reads, writes = _registers(rest), _registers(first)
    if _NO_RESULT.fullmatch(mnemonic):
        reads, writes = reads | writes, frozenset()
    elif _ADDS_TO_RESULT.fullmatch(mnemonic) or _LANE.fullmatch(first.strip()):
        reads |= writes
    if _SETS_FLAGS.fullmatch(mnemonic):
        writes |= {"nzcv"}
    if _READS_FLAGS.fullmatch(mnemonic):
        reads |= {"nzcv"}
    return Access(reads, writes)


def _memory_access(mnemonic: str, data: str, memory: str) -> Access:
    address = _registers(memory)
    moves = not memory.endswith("]")
    base = frozenset(sorted(_registers(memory.partition("]")[0].partition(",")[0]))) if moves else frozenset()
    named = _registers(data)
    if mnemonic.startswith("ld"):
        kept = named if "}[" in data else frozenset()  # a load to one lane keeps the others
        return Access(address | kept, named, base)
    return Access(address | named, frozenset(), base)


def _registers(text: str) -> frozenset[str]:
    found = set()
    for general, number, vector, vector_number, stack in _REGISTER.findall(text):
        if stack:
            found.add("sp")
        elif vector:
            found.add(f"v{vector_number}")
        elif general:
            found.add(f"x{number}")
    return frozenset(found)
