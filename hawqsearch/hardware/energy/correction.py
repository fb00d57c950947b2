"""The end-to-end correction of energy: that of latency, at the power that the parts take together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from hawqsearch.core.energy import EnergyModel
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.latency import Term
from hawqsearch.hardware.fit import TimedConfig, fit

__all__ = ["fit_energy"]


def fit_energy(
    parts_mj: Mapping[Term, float],
    parts_ms: Mapping[Term, float],
    groups: Mapping[Term, str],
    whole: Sequence[tuple[tuple[Term, ...], float]],
) -> EnergyModel:
    """`parts_mj` (metered alone) corrected by whole networks; with none of these, their plain sum.

    Energy is linear in the same terms as time, with errors of the same kinds (`hardware.fit`). At the mean power
    of all parts a millijoule is so many milliseconds, in which the prior's floor is stated.

    Args:
        parts_ms: the time of each part, of which the mean power is.
        whole: terms that a configuration pays, and its metered energy in mJ.
    """
    watts = math.fsum(parts_mj.values()) / math.fsum(parts_ms[term] for term in parts_mj)
    if watts <= 0:
        watts = 1.0
    timed = [TimedConfig(terms, mj / watts) for terms, mj in whole]
    found = fit({term: mj / watts for term, mj in parts_mj.items()}, groups, timed)
    return EnergyModel(
        fixed_mj=found.fixed_ms * watts,
        terms=FrozenDict({term: ms * watts for term, ms in found.terms.items()}),
        spread=found.spread,
        n_fitted=found.n_fitted,
    )
