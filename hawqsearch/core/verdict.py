"""Which candidate is returned: on evidence, and on the cheaper side where evidence cannot tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from hawqsearch.core.outcome import Candidate

__all__ = ["choose"]

_Z: Final = 1.96
"""Half width of a 95 % interval in standard errors."""


def choose(
    candidates: Sequence[Candidate], costs: Mapping[str, Mapping[str, float]]
) -> tuple[Candidate, str]:
    """The candidate to return, with the reason (DESIGN section 4.6).

    Args:
        candidates: those that meet the budget, each with its divergence and the difference to the best; the first
            is the solver's.
        costs: candidate -> bounded quantity -> cost.

    The least divergence wins; of those that cannot be told from it at 95 %, one that is cheaper in every bounded
    quantity is preferred, the cheapest in the first of them.
    """
    best = min(candidates, key=lambda c: c.divergence.value if c.divergence else 0.0)
    same = [c for c in candidates if c.versus_best and c.versus_best.value <= _Z * c.versus_best.stderr]
    cheaper = [c for c in same if c is not best and _dominates(costs[c.name], costs[best.name])]
    if cheaper:
        first = next(iter(costs[best.name]))
        pick = min(cheaper, key=lambda c: costs[c.name][first])
        return pick, f"cheaper within the noise: {pick.name} instead of {best.name}"
    if best.name == "runner_up":
        return best, f"solver: its runner-up has the least divergence of {_candidates(len(candidates))}"
    if best is candidates[0]:
        return best, f"solver: {best.name} has the least divergence of {_candidates(len(candidates))}"
    return best, f"baseline: {best.name} has the least divergence of {_candidates(len(candidates))}"


def _candidates(n: int) -> str:
    return "1 candidate" if n == 1 else f"{n} candidates"


def _dominates(a: Mapping[str, float], b: Mapping[str, float]) -> bool:
    """Whether `a` costs less in one quantity by more than 2 %, and no more in any."""
    return any(a[q] < 0.98 * b[q] for q in b) and all(a[q] <= b[q] for q in b)
