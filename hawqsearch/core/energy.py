"""Energy of a whole configuration: the same terms as its latency, in millijoules above idle."""

from __future__ import annotations

from dataclasses import dataclass

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.latency import Term, terms_of
from hawqsearch.core.model import ModelSpec
from hawqsearch.core.problem import Config
from hawqsearch.core.target import Target

__all__ = ["EnergyModel"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyModel:
    """Millijoules of every term of one network, and of the fixed part.

    Args:
        spread: standard deviation of metered / predicted over configurations that it was not fitted on.
        n_fitted: whole configurations that it was fitted on; 0 for a plain sum of parts.
    """

    fixed_mj: float
    terms: FrozenDict[Term, float]
    spread: float
    n_fitted: int

    def predict_mj(self, spec: ModelSpec, target: Target, config: Config) -> float:
        """Energy of `config`."""
        return self.fixed_mj + sum(self.terms[term] for term in terms_of(spec, target, config))
