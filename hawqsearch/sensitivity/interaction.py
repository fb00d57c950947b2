"""Second-order rise of the divergence, with all pairs of choices: the output Gram matrix.

With D_c the change of the logits when choice c is made, KL of a whole configuration is to second order
1/2 sum_cd E[D_c' H D_d], H = diag(p) - p p' the Fisher information of the softmax. H = E_y[s s'] with
s = onehot(y) - p the score of y ~ p, and s' D_c is, to first order, the inner product of
g = d log p(y|x) / d v with the change of the value v that c touches. So one backward pass with sampled y
gives a number per (example, choice), and the Gram matrix of these numbers gives every choice and pair.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch.fx import Interpreter, Node

from hawqsearch.core.clustered import clustered_mean
from hawqsearch.core.data import Split
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.sensitivity import PairScore, QuantizerChoice, Score, SensitivityTable
from hawqsearch.graph.run import Sweep
from hawqsearch.quant.calibrated import CalibratedModel
from hawqsearch.sensitivity.choices import choices_at, perturbed
from hawqsearch.sensitivity.logits import float_logits

__all__ = ["InteractionAnalyzer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InteractionAnalyzer:
    """Gram matrix from `n_examples` of the calibration split, `draws` sampled labels each."""

    n_examples: int = 128
    draws: int = 4
    batch: int = 32
    seed: int = 0

    @property
    def name(self) -> str:
        """What the command line calls it."""
        return "interaction"

    @property
    def gives_pairs(self) -> bool:
        """Whether its table has interactions."""
        return True

    def analyze(
        self,
        calibrated: CalibratedModel,
        split: Split,
        choices: tuple[QuantizerChoice, ...],
        *,
        known: Mapping[QuantizerChoice, Score] = FrozenDict(),
        on_score: Callable[[QuantizerChoice, Score], object] = lambda choice, score: None,
    ) -> SensitivityTable:
        """Score of every choice, and of every pair of different quantizers. `known` is not used: all
        numbers come from the same passes.

        Raises `UnsupportedModelError` where the network answers no logits, or NaN or infinity.
        """
        start = time.perf_counter()
        rows = split[slice(self.n_examples)]
        slopes = np.concatenate(list(self._slopes(calibrated, rows, choices)), axis=0)  # (n, draws, choices)
        scores = {
            c: clustered_mean(0.5 * (slopes[:, :, k] ** 2).mean(1), rows.groups)
            for k, c in enumerate(choices)
        }
        for choice, score in scores.items():
            on_score(choice, score)
        return SensitivityTable(
            quantity="kl",
            analyzer=self.name,
            scores=FrozenDict(scores),
            pairs=tuple(_pairs(slopes, choices)),
            n_examples=len(rows),
            n_groups=len(np.unique(rows.groups)),
            fingerprint=calibrated.traced.spec.fingerprint,
            seconds=time.perf_counter() - start,
        )

    def _slopes(
        self, calibrated: CalibratedModel, rows: Split, choices: tuple[QuantizerChoice, ...]
    ) -> Iterator[np.ndarray]:
        """s' D_c of each example, draw and choice: (batch, draws, choices), batch after batch."""
        generator = torch.Generator().manual_seed(self.seed)
        for first in range(0, len(rows), self.batch):
            inputs = torch.from_numpy(rows.inputs[first : first + self.batch])
            float_logits(calibrated, inputs)
            gradients = [_gradients(calibrated, inputs, generator) for _ in range(self.draws)]
            yield _products(calibrated, inputs, gradients, choices)


def _gradients(
    calibrated: CalibratedModel, inputs: torch.Tensor, generator: torch.Generator
) -> dict[str, torch.Tensor]:
    """d log p(y|x) / d value for every value of the graph, y drawn from the model."""
    tape = _Tape(calibrated.traced.module)
    with torch.enable_grad():
        logits = tape.run(inputs.clone().requires_grad_())
        log_p = logits.log_softmax(-1)
        drawn = torch.multinomial(log_p.detach().exp(), 1, generator=generator)
        names = list(tape.values)
        found = torch.autograd.grad(
            log_p.gather(1, drawn).sum(), [tape.values[n] for n in names], allow_unused=True
        )
    return {n: g for n, g in zip(names, found, strict=True) if g is not None}


class _Tape(Interpreter):
    """Runs a graph and keeps every differentiable value."""

    def __init__(self, module: torch.fx.GraphModule) -> None:
        super().__init__(module)
        self.values: dict[str, torch.Tensor] = {}

    def run_node(self, n: Node) -> object:
        value = super().run_node(n)
        if n.op != "output" and isinstance(value, torch.Tensor) and value.requires_grad:
            self.values[n.name] = value
        return value


def _products(
    calibrated: CalibratedModel,
    inputs: torch.Tensor,
    gradients: list[dict[str, torch.Tensor]],
    choices: tuple[QuantizerChoice, ...],
) -> np.ndarray:
    column = {c: k for k, c in enumerate(choices)}
    by_value = {node.value: node for node in calibrated.traced.spec.layers}
    products = np.zeros((len(inputs), len(gradients), len(choices)))
    sweep = Sweep(calibrated.traced, inputs)
    for name in sweep:
        for choice in choices_at(name, by_value, choices):
            change = (perturbed(sweep, name, choice, calibrated) - sweep.value(name)).flatten(1)
            for draw, gradient in enumerate(gradients):
                if name in gradient:
                    slope = (change * gradient[name].flatten(1)).sum(1)
                    products[:, draw, column[choice]] = slope.numpy()
    return products


def _pairs(slopes: np.ndarray, choices: tuple[QuantizerChoice, ...]) -> Iterator[PairScore]:
    flat = slopes.reshape(-1, slopes.shape[2])
    gram = flat.T @ flat / len(flat)
    for i, first in enumerate(choices):
        for j in range(i + 1, len(choices)):
            second = choices[j]
            if (first.kind, first.name) != (second.kind, second.name):
                yield PairScore(first, second, float(gram[i, j]))
