"""What was asked for, against what the target can give: looked at before any work."""

from __future__ import annotations

from collections.abc import Iterator

from hawqsearch.core.budget import Budget
from hawqsearch.core.model import WEIGHTED_OPS
from hawqsearch.core.precision import Precision
from hawqsearch.core.space import SearchSpace
from hawqsearch.core.target import Target
from hawqsearch.errors import InputError

__all__ = ["check_request"]

_OF_WEIGHTS = frozenset({"size_bytes", "weight_bits", "bops"})


def check_request(space: SearchSpace, target: Target, budget: Budget | None = None) -> None:
    """Raise `InputError` for a precision whose rounding nothing simulates, and for an explicit one that
    buys nothing that the budget bounds.

    A precision that the target has no kernel for is not this function's business: see `SearchSpace.allowed`.
    """
    asked = dict.fromkeys((*space.precisions, *space.pins.values()))
    for precision in asked:
        if not precision.is_simulated and any(target.kernel(op, str(precision)) for op in WEIGHTED_OPS):
            raise InputError(
                f"{precision} can be profiled on {target.name}, not searched: nothing simulates its rounding yet; "
                f"of {target.name}'s precisions {', '.join(_searchable(target))} can be searched"
            )
    if budget is None or not space.explicit or any(budget.bounds(quantity) for quantity in _OF_WEIGHTS):
        return
    for precision in asked:
        _check_buys_time(precision, target, budget)


def _searchable(target: Target) -> dict[str, None]:
    found = (p for op in sorted(WEIGHTED_OPS) for p in target.precisions(op) if p.is_simulated)
    return dict.fromkeys(map(str, found))


def _check_buys_time(precision: Precision, target: Target, budget: Budget) -> None:
    stand_ins = dict.fromkeys(_timed_as(precision, target))
    if stand_ins and str(precision) not in stand_ins:
        other = " or ".join(stand_ins)
        raise InputError(
            f"{precision} buys size and no time on {target.name}, where it runs {other}'s kernel, and budget {budget} "
            f"bounds no size; ask for {other}, or bound size too"
        )


def _timed_as(precision: Precision, target: Target) -> Iterator[str]:
    for op in sorted(WEIGHTED_OPS):
        kernel = target.kernel(op, str(precision))
        if kernel is not None:
            yield kernel.timed_as
