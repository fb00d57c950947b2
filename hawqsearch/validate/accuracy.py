"""Answers of an exported model, from the runtime itself, and what they are worth."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from hawqsearch.core.clustered import clustered_mean
from hawqsearch.core.data import Split
from hawqsearch.core.sensitivity import Score
from hawqsearch.errors import UnsupportedModelError
from hawqsearch.runtime.interface import Runtime

__all__ = ["Answers", "answers", "divergences", "paired_difference", "simulated_answers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a network answered on a split.

    Args:
        correct, loss: (n,): whether the top answer is right, and the cross-entropy in nats.
        log_p: (n, classes) float32, log softmax of the answers.
        groups: (n,): the source of each example.
    """

    correct: np.ndarray
    loss: np.ndarray
    log_p: np.ndarray
    groups: np.ndarray

    def dump(self) -> bytes:
        """The arrays as bytes."""
        buffer = io.BytesIO()
        np.savez(buffer, correct=self.correct, loss=self.loss, log_p=self.log_p, groups=self.groups)
        return buffer.getvalue()

    @classmethod
    def parse(cls, content: bytes) -> Answers:
        """Inverse of `dump`."""
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return cls(**{name: arrays[name] for name in ("correct", "loss", "log_p", "groups")})

    @property
    def accuracy(self) -> Score:
        """Top-1 as a fraction, with its standard error clustered by source."""
        return clustered_mean(self.correct.astype(np.float64), self.groups)

    @property
    def mean_loss(self) -> Score:
        """Cross-entropy in nats, with its standard error clustered by source."""
        return clustered_mean(self.loss, self.groups)


def divergences(reference: Answers, other: Answers) -> np.ndarray:
    """KL(reference || other) of each example's answer in nats: (n,)."""
    exact = reference.log_p.astype(np.float64)
    apart: np.ndarray = (np.exp(exact) * (exact - other.log_p)).sum(axis=1)
    return apart


def paired_difference(a: Answers, b: Answers) -> Score:
    """Mean loss of `a` minus that of `b` on the same examples: the noise that both share cancels."""
    return clustered_mean(a.loss - b.loss, a.groups)


def answers(
    model: bytes,
    split: Split,
    *,
    runtime: Runtime,
    batch: int = 1,
    workers: int = 2,
    signed_activations: bool = False,
    on_examples: Callable[[int], object] = lambda n: None,
) -> Answers:
    """What `runtime` answers on `split`, in batches of the model's own size; the last is padded.

    Raises `UnsupportedModelError` where it answers NaN or infinity.
    """
    starts = range(0, len(split), batch)

    def share(worker: int) -> dict[int, np.ndarray]:
        found = {}
        with runtime.open(model, signed_activations=signed_activations) as session:
            for start in list(starts)[worker::workers]:
                rows = split.inputs[start : start + batch]
                short = batch - len(rows)
                padded = np.concatenate([rows, np.repeat(rows[-1:], short, axis=0)]) if short else rows
                found[start] = session.run({"input": padded})[0][: len(rows)]
                on_examples(len(rows))
        return found

    with ThreadPoolExecutor(workers) as pool:
        parts = {start: out for found in pool.map(share, range(workers)) for start, out in found.items()}
    return _judge(np.concatenate([parts[start] for start in starts]), split)


def simulated_answers(
    network: Callable[[torch.Tensor], torch.Tensor],
    split: Split,
    *,
    batch: int = 8,
    workers: int = 2,
    on_examples: Callable[[int], object] = lambda n: None,
) -> Answers:
    """The same for a network that torch runs: a simulation, for targets without a runtime.

    Small batches on single-threaded workers: larger tensors fall out of the caches, and torch's own threads
    wait for each other on few cores.
    """

    def answer(rows: torch.Tensor) -> np.ndarray:
        with torch.inference_mode():
            found: np.ndarray = network(rows).numpy()
        on_examples(len(rows))
        return found

    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        parts = list(pool.map(answer, torch.split(torch.from_numpy(split.inputs), batch)))
    return _judge(np.concatenate(parts), split)


def _judge(logits: np.ndarray, split: Split) -> Answers:
    if not np.isfinite(logits).all():
        raise UnsupportedModelError(
            "the exported model answers NaN or infinity; check the weights and the input range"
        )
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    loss = -log_p[np.arange(len(logits)), split.labels]
    correct = logits.argmax(axis=1) == split.labels
    return Answers(correct=correct, loss=loss, log_p=log_p.astype(np.float32), groups=split.groups)
