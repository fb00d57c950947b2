"""Energy of whole networks from that of their parts, on networks whose every part is known."""

from __future__ import annotations

import random

import pytest

from hawqsearch.core.energy import EnergyModel
from hawqsearch.core.latency import Term
from hawqsearch.hardware.energy.correction import fit_energy

LAYERS = range(12)
TERMS = [Term(f"layer {i}", what) for i in LAYERS for what in ("fp32", "w8a8")]
GROUPS = {term: term.what for term in TERMS}


def drawn(source: random.Random, low: float, high: float) -> dict[Term, float]:
    return {term: source.uniform(low, high) for term in TERMS}


def config(source: random.Random) -> tuple[Term, ...]:
    return tuple(Term(f"layer {i}", source.choice(["fp32", "w8a8"])) for i in LAYERS)


def total(model: EnergyModel, terms: tuple[Term, ...]) -> float:
    return model.fixed_mj + sum(model.terms[t] for t in terms)


def test_alone_the_parts_are_summed() -> None:
    source = random.Random(0)
    mj, ms = drawn(source, 1, 20), drawn(source, 0.1, 1)
    model = fit_energy(mj, ms, GROUPS, [])
    terms = config(source)
    assert total(model, terms) == pytest.approx(sum(mj[t] for t in terms))
    assert (model.fixed_mj, model.n_fitted) == (0.0, 0)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_whole_networks_correct_the_parts(scale: float) -> None:
    """Integer kernels take a third more in a network than alone, and every run a fixed part: at any power."""
    source = random.Random(1)
    ms = drawn(source, 0.1, 1)
    mj = {term: scale * time * source.uniform(8, 12) for term, time in ms.items()}
    truth = {term: value * (4 / 3 if term.what == "w8a8" else 1.0) for term, value in mj.items()}
    fixed = 2.0 * scale
    seen = [config(source) for _ in range(16)]
    metered = [(terms, fixed + sum(truth[t] for t in terms)) for terms in seen]
    plain, corrected = fit_energy(mj, ms, GROUPS, []), fit_energy(mj, ms, GROUPS, metered)

    def worst(model: EnergyModel) -> float:
        drawn = [config(source) for _ in range(50)]
        return max(abs(total(model, terms) / (fixed + sum(truth[t] for t in terms)) - 1) for terms in drawn)

    assert worst(plain) > 0.1
    assert worst(corrected) < 0.03
    assert corrected.n_fitted == 16
    assert corrected.spread < 0.05
