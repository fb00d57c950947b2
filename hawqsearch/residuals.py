"""The arrow from a profile to what it is worth: whole networks timed, beside what the profile said of them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from hawqsearch import pipeline
from hawqsearch.core.design import all_float
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.hardware import HardwareProfile, Rig
from hawqsearch.core.latency import LatencyModel, Term, terms_of
from hawqsearch.core.whole import WholeFit, WholeRun
from hawqsearch.hardware.fit import TimedConfig, fit, left_out_ms

if TYPE_CHECKING:
    from hawqsearch.pipeline import Context, Network

__all__ = ["with_whole"]

_EXACT: Final = 1.0


def with_whole(network: Network, rig: Rig, hardware: HardwareProfile, *, context: Context) -> HardwareProfile:
    """`hardware` with the residuals of fp32 and of the configurations that a search is corrected by, timed whole.

    They are cached, so that a search after it does not time them again.
    """
    timed = pipeline.designed(network, rig, context=context)
    ratios = {all_float(network.spec): _EXACT, **timed.ratios}
    terms = {c: tuple(terms_of(network.spec, network.target, c)) for c in ratios}
    configs = [TimedConfig(terms[c], ratio * timed.fp32_ms) for c, ratio in ratios.items()]
    parts = pipeline.parts_alone(network, hardware)
    groups = pipeline.correction_groups(network, parts)
    corrected = left_out_ms(parts, groups, configs)
    runs = tuple(
        WholeRun(
            config=c,
            sum_ms=sum(parts[term] for term in terms[c]),
            corrected_ms=predicted,
            measured_ms=measured.latency_ms,
            half_width=timed.half_widths.get(c),
        )
        for c, predicted, measured in zip(ratios, corrected, configs, strict=True)
    )
    model = fit(parts, groups, configs)
    found = WholeFit(
        network=network.spec.fingerprint,
        fixed_ms=model.fixed_ms,
        scales=_scales(parts, groups, model),
        spread=float(np.sqrt(np.mean([run.corrected_error**2 for run in runs]))),
        runs=runs,
    )
    return replace(hardware, whole=(*(w for w in hardware.whole if w.network != found.network), found))


def _scales(parts: dict[Term, float], groups: dict[Term, str], model: LatencyModel) -> FrozenDict[str, float]:
    """Kind of part -> corrected time over time alone."""
    alone: dict[str, float] = defaultdict(float)
    corrected: dict[str, float] = defaultdict(float)
    for term, ms in parts.items():
        alone[groups[term]] += ms
        corrected[groups[term]] += model.terms[term]
    return FrozenDict({group: corrected[group] / ms for group, ms in sorted(alone.items()) if ms > 0})
