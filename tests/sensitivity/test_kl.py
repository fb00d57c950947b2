"""The divergence of one choice, against the whole network run with that quantizer and no other."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hawqsearch.core.clustered import clustered_mean
from hawqsearch.core.data import Split
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.placement import Placement
from hawqsearch.core.precision import Format
from hawqsearch.core.protocols import SensitivityAnalyzer
from hawqsearch.core.sensitivity import QuantizerChoice, Score
from hawqsearch.errors import UnsupportedModelError
from hawqsearch.graph.run import evaluate
from hawqsearch.quant.calibrated import CalibratedModel
from hawqsearch.quant.simulate import simulate
from hawqsearch.sensitivity.choices import quantizer_choices
from hawqsearch.sensitivity.interaction import InteractionAnalyzer
from hawqsearch.sensitivity.kl import KlAnalyzer, kl_divergence
from tests.export import networks

NAMES = ["residual", "mobile", "shortcut", "mlp", "tokens"]
ROWS = 24


def split(name: str) -> Split:
    """Two examples from each source."""
    inputs = networks.inputs(name, ROWS).numpy()
    return Split(inputs=inputs, labels=np.zeros(ROWS, np.int64), groups=np.arange(ROWS) // 2)


def choices(name: str) -> tuple[QuantizerChoice, ...]:
    return quantizer_choices(networks.traced(name).spec, networks.target(), networks.allowed(name))


def by_hand(calibrated: CalibratedModel, choice: QuantizerChoice, inputs: torch.Tensor) -> torch.Tensor:
    """Divergence per example of the network with that quantizer only: (n,)."""
    weight = choice.kind == "weight"
    placement = Placement(
        weights=FrozenDict({choice.name: Format(choice.format)} if weight else {}),
        activations=FrozenDict({} if weight else {choice.name: Format("int8")}),
        requantized=frozenset() if weight else frozenset({choice.name}),
    )
    config = {choice.name: f"w{Format(choice.format).bits}a16"} if weight else {}
    logits = simulate(calibrated, placement, config)(inputs)
    return kl_divergence(evaluate(calibrated.traced, inputs), logits)


@pytest.mark.parametrize("name", NAMES)
def test_a_score_is_the_divergence_with_that_quantizer_only(name: str) -> None:
    calibrated, rows = networks.calibrated(name), split(name)
    table = KlAnalyzer(n_examples=ROWS).analyze(calibrated, rows, choices(name))
    assert tuple(table.scores) == choices(name)
    for choice, score in table.scores.items():
        divergences = by_hand(calibrated, choice, networks.inputs(name, ROWS)).numpy()
        expected = clustered_mean(divergences, rows.groups)
        assert score.value == pytest.approx(expected.value, rel=1e-3, abs=1e-12), choice
        assert score.stderr == pytest.approx(expected.stderr, rel=1e-3, abs=1e-12), choice
    assert (table.n_examples, table.n_groups, table.quantity) == (ROWS, ROWS // 2, "kl")


@pytest.mark.parametrize("workers", [2, 5])
def test_more_workers_find_the_same(workers: int) -> None:
    calibrated, rows = networks.calibrated("residual"), split("residual")
    alone, together = (
        KlAnalyzer(n_examples=ROWS, workers=n).analyze(calibrated, rows, choices("residual"))
        for n in (1, workers)
    )
    assert alone.scores == together.scores
    assert tuple(alone.scores) == tuple(together.scores)


def test_only_the_first_examples_are_read() -> None:
    calibrated, rows = networks.calibrated("mlp"), split("mlp")
    changed = replace(rows, inputs=np.concatenate([rows.inputs[:10], 100 + rows.inputs[10:]]))
    few = KlAnalyzer(n_examples=10)
    found = [few.analyze(calibrated, r, choices("mlp")) for r in (rows, changed)]
    assert found[0].scores == found[1].scores
    assert found[0].n_examples == 10


def test_what_is_known_is_neither_run_nor_told_again() -> None:
    calibrated, rows, wanted = networks.calibrated("residual"), split("residual"), choices("residual")
    known = {c: Score(float(k), 0.5) for k, c in enumerate(wanted[:7])}
    told: dict[QuantizerChoice, Score] = {}
    table = KlAnalyzer(n_examples=ROWS).analyze(
        calibrated, rows, wanted, known=known, on_score=told.__setitem__
    )
    assert set(told) == set(wanted[7:])
    assert dict(table.scores) == known | told
    assert tuple(table.scores) == wanted


def test_with_all_known_the_network_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = choices("mlp")
    known = dict.fromkeys(wanted, Score(1.0, 0.0))
    monkeypatch.setattr("hawqsearch.sensitivity.kl.float_logits", lambda *_: pytest.fail("it was run"))
    monkeypatch.setattr("hawqsearch.sensitivity.kl.Sweep", lambda *_: pytest.fail("it was run"))
    table = KlAnalyzer(n_examples=ROWS).analyze(networks.calibrated("mlp"), split("mlp"), wanted, known=known)
    assert dict(table.scores) == known


ANALYZERS: list[SensitivityAnalyzer] = [KlAnalyzer(), InteractionAnalyzer()]


@pytest.mark.parametrize("analyzer", ANALYZERS, ids=lambda a: a.name)
def test_a_network_that_answers_nan_is_refused(analyzer: SensitivityAnalyzer) -> None:
    rows = split("mlp")
    broken = replace(rows, inputs=np.full_like(rows.inputs, np.nan))
    with pytest.raises(UnsupportedModelError, match="NaN"):
        analyzer.analyze(networks.calibrated("mlp"), broken, choices("mlp"))


@pytest.mark.parametrize("analyzer", ANALYZERS, ids=lambda a: a.name)
def test_a_network_that_answers_no_logits_is_refused(analyzer: SensitivityAnalyzer) -> None:
    with pytest.raises(UnsupportedModelError, match=r"answers \(4, 4, 4\) an example"):
        analyzer.analyze(networks.calibrated("branches"), split("branches"), choices("branches"))


def test_an_error_while_scoring_reaches_the_caller() -> None:
    """And does not leave the other worker running."""

    def stop(choice: QuantizerChoice, score: Score) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        KlAnalyzer(n_examples=ROWS).analyze(
            networks.calibrated("mlp"), split("mlp"), choices("mlp"), on_score=stop
        )


@given(st.lists(st.tuples(st.floats(-20, 20), st.floats(-20, 20)), min_size=2, max_size=6))
def test_the_divergence_is_its_definition(pairs: list[tuple[float, float]]) -> None:
    p, q = (_softmax([pair[side] for pair in pairs]) for side in (0, 1))
    expected = sum(a * (math.log(a) - math.log(b)) for a, b in zip(p, q, strict=True))
    logits = torch.tensor(pairs, dtype=torch.float64).T[:, None]
    assert float(kl_divergence(logits[0], logits[1])) == pytest.approx(expected, abs=1e-9)


def _softmax(logits: list[float]) -> list[float]:
    top = max(logits)
    shares = [math.exp(v - top) for v in logits]
    return [s / sum(shares) for s in shares]
