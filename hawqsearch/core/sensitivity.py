"""How much each choice hurts, with its error bar."""

from __future__ import annotations

from dataclasses import dataclass

from hawqsearch.core.frozen import FrozenDict

__all__ = ["PairScore", "QuantizerChoice", "Score", "SensitivityTable"]


@dataclass(frozen=True, slots=True)
class Score:
    """How much a choice hurts (lower is better; may be negative) and its standard error."""

    value: float
    stderr: float


@dataclass(frozen=True, slots=True, order=True)
class QuantizerChoice:
    """One quantizer of the network: the weights of a layer, or a tensor, in one format.

    `kind` is `weight` (then `name` is a layer) or `activation` (then `name` is a tensor).
    """

    kind: str
    name: str
    format: str


@dataclass(frozen=True, slots=True)
class PairScore:
    """Score of making both choices together beyond the sum of each alone; added once."""

    first: QuantizerChoice
    second: QuantizerChoice
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SensitivityTable:
    """Score of every quantizer alone, and of pairs where the method gives them.

    Args:
        quantity: what the score measures: `kl` (nats), `loss` (nats), `mse`.
        analyzer: name of the method.
        scores: one per quantizer choice.
        pairs: interactions, empty where the method gives none.
        n_examples, n_groups: calibration examples used, and distinct sources among them.
        fingerprint: of the model that was analyzed.
    """

    quantity: str
    analyzer: str
    scores: FrozenDict[QuantizerChoice, Score]
    pairs: tuple[PairScore, ...] = ()
    n_examples: int
    n_groups: int
    fingerprint: str
    seconds: float = 0.0

    def weight(self, layer: str, format_name: str) -> Score:
        """Score of storing `layer`'s weights in that format; zero for float."""
        return self._score("weight", layer, format_name)

    def activation(self, tensor: str, format_name: str) -> Score:
        """Score of quantizing `tensor`; zero for float."""
        return self._score("activation", tensor, format_name)

    def _score(self, kind: str, name: str, format_name: str) -> Score:
        if format_name == "fp32":
            return Score(0.0, 0.0)
        return self.scores[QuantizerChoice(kind, name, format_name)]
