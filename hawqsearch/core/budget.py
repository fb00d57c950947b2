"""What a configuration may cost at most, as the user writes it: `"5ms, 2MiB"`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from hawqsearch.core.cost import Cost
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.target import Target
from hawqsearch.errors import BudgetError

__all__ = ["Budget", "BudgetTerm", "check_metered"]

_UNITS: Final = MappingProxyType(
    {
        "us": ("latency_ms", 1e-3),
        "ms": ("latency_ms", 1.0),
        "s": ("latency_ms", 1e3),
        "B": ("size_bytes", 1.0),
        "KB": ("size_bytes", 1e3),
        "MB": ("size_bytes", 1e6),
        "KiB": ("size_bytes", 1024.0),
        "MiB": ("size_bytes", 1024.0**2),
        "uJ": ("energy_mj", 1e-3),
        "mJ": ("energy_mj", 1.0),
        "J": ("energy_mj", 1e3),
        "bpw": ("weight_bits", 1.0),
    }
)
_SHARES: Final = MappingProxyType({"%": "latency_ms", "% size": "size_bytes", "% bops": "bops"})
_TERM: Final = re.compile(
    r"(?P<number>[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*(?P<unit>%\s*[a-zA-Z]*|[a-zA-Z]*)"
)
_EXAMPLE: Final = (
    'write for example "5ms", "5ms, 2MiB", "3mJ", "60%" (of fp32\'s latency), "25% size" or "3.5bpw"'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetTerm:
    """An upper bound on one quantity: in its unit (`weight_bits`: per weight), or as a share of fp32's."""

    quantity: str
    value: float
    relative: bool


@dataclass(frozen=True, slots=True)
class Budget:
    """Upper bounds on one or several quantities; `str` is the text as typed, equality looks at the terms."""

    text: str = field(compare=False)
    terms: tuple[BudgetTerm, ...]

    def __str__(self) -> str:
        return self.text

    @classmethod
    def parse(cls, text: str) -> Budget:
        """The budget that `text` writes down: terms with units, joined by commas.

        Units: `us ms s`, `B KB MB KiB MiB`, `uJ mJ J`, `bpw`, `%` (of fp32's latency), `% size`, `% bops`.

        Raises:
            BudgetError: a number without unit, an unknown unit, a value that is not positive and finite,
                or one quantity bounded twice.
        """
        terms = tuple(_parse_term(part.strip(), text) for part in text.split(","))
        quantities = [term.quantity for term in terms]
        for quantity in quantities:
            if quantities.count(quantity) > 1:
                raise BudgetError(f"budget {text!r} bounds {quantity} twice; give each quantity once")
        return cls(text, terms)

    def bounds(self, quantity: str) -> bool:
        """Whether it has a term on `quantity`."""
        return any(term.quantity == quantity for term in self.terms)

    def limits(self, fp32: Cost, n_weights: int) -> FrozenDict[str, float]:
        """Quantity -> absolute upper bound, for a network of `n_weights` weights that costs `fp32` in float.

        Raises:
            BudgetError: a share of a quantity that `fp32` does not know.
        """
        return FrozenDict({term.quantity: self._limit(term, fp32, n_weights) for term in self.terms})

    def _limit(self, term: BudgetTerm, fp32: Cost, n_weights: int) -> float:
        if term.quantity == "weight_bits":
            return term.value * n_weights
        if not term.relative:
            return term.value
        whole = fp32.get(term.quantity)
        if whole is None:
            raise BudgetError(
                f"budget {self.text!r} is a share of fp32's {term.quantity}, which nothing meters here; "
                "give an absolute one, or bound another quantity"
            )
        return term.value * whole


def check_metered(budget: Budget, target: Target, *, missing_energy: str | None) -> None:
    """Raise `BudgetError` where the budget bounds what nothing measures on `target`.

    Args:
        missing_energy: why no energy is known, which is for the machine to say and not for the target; None where
            it is known.
    """
    for term in budget.terms:
        why = missing_energy if term.quantity == "energy_mj" else f"{target.name} has no device"
        if why is not None and term.quantity not in target.metered:
            raise BudgetError(
                f"budget {budget} bounds {term.quantity}, but {why}; "
                f"or bound one of {', '.join(target.metered)}"
            )


def _parse_term(part: str, text: str) -> BudgetTerm:
    match = _TERM.fullmatch(part)
    if match is None:
        raise BudgetError(f"cannot read {part!r} in budget {text!r}; {_EXAMPLE}")
    term = _term_in(match["unit"], float(match["number"]))
    if term is None:
        what = f"unknown unit {match['unit']!r}" if match["unit"] else f"{part!r} has no unit"
        raise BudgetError(f"{what} in budget {text!r}; {_EXAMPLE}")
    if not (math.isfinite(term.value) and term.value > 0):
        raise BudgetError(f"budget {text!r} must be positive and finite; {_EXAMPLE}")
    return term


def _term_in(unit: str, number: float) -> BudgetTerm | None:
    if unit in _UNITS:
        quantity, scale = _UNITS[unit]
        return BudgetTerm(quantity=quantity, value=number * scale, relative=False)
    share = re.sub(r"%\s*", "% ", unit).strip()
    if share in _SHARES:
        return BudgetTerm(quantity=_SHARES[share], value=number / 100, relative=True)
    return None
