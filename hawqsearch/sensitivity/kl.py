"""Kullback-Leibler divergence of the outputs from fp32's, one choice at a time. Label-free.

The divergence is E_x[sum_c p_c (log p_c - log q_c)], p the float network's softmax, q the quantized
one's (the criterion of ZeroQ's sensitivity, Cai et al. 2020, arXiv 2001.00281, section 3.2, with the
arguments in this order).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from hawqsearch.core.clustered import clustered_mean
from hawqsearch.core.data import Split
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.sensitivity import QuantizerChoice, Score, SensitivityTable
from hawqsearch.graph.run import Sweep
from hawqsearch.graph.threads import one_thread
from hawqsearch.quant.calibrated import CalibratedModel
from hawqsearch.sensitivity.choices import choices_at, perturbed
from hawqsearch.sensitivity.logits import float_logits

__all__ = ["KlAnalyzer", "kl_divergence"]

_CHUNK: Final = 8
"""Rows that are run at a time: larger tensors fall out of the caches, and the allocator hands their pages back
after every operator (measured on a network of 130 M multiply-accumulates: half the time went into page faults)."""


def kl_divergence(reference: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """KL(softmax(reference) || softmax(logits)) per example, nats: (n, classes) twice -> (n,)."""
    log_p, log_q = reference.double().log_softmax(-1), logits.double().log_softmax(-1)
    return (log_p.exp() * (log_p - log_q)).sum(-1)


@dataclass(frozen=True, slots=True, kw_only=True)
class KlAnalyzer:
    """One choice at a time, on the first `n_examples` of the calibration split.

    A worker walks the network once and runs, at each choice of its share, only what comes after it.
    Workers are single-threaded: two of them beat one with two OpenMP threads.
    """

    n_examples: int = 96
    workers: int = 2

    @property
    def name(self) -> str:
        """What the command line calls it."""
        return "kl"

    @property
    def gives_pairs(self) -> bool:
        """Whether its table has interactions."""
        return False

    def analyze(
        self,
        calibrated: CalibratedModel,
        split: Split,
        choices: tuple[QuantizerChoice, ...],
        *,
        known: Mapping[QuantizerChoice, Score] = FrozenDict(),
        on_score: Callable[[QuantizerChoice, Score], object] = lambda choice, score: None,
    ) -> SensitivityTable:
        """Divergence of every choice; those in `known` are not measured again.

        Raises `UnsupportedModelError` where the network answers no logits, or NaN or infinity.
        """
        start = time.perf_counter()
        rows = split[slice(self.n_examples)]
        inputs = torch.from_numpy(rows.inputs)
        todo = tuple(c for c in choices if c not in known)
        scores = dict(known)
        lock, stop = threading.Lock(), threading.Event()

        def record(choice: QuantizerChoice, divergences: torch.Tensor) -> None:
            score = clustered_mean(divergences.numpy(), rows.groups)
            with lock:
                scores[choice] = score
                on_score(choice, score)

        if todo:
            with one_thread():
                reference = float_logits(calibrated, inputs)
            with ThreadPoolExecutor(self.workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                shares = [todo[k :: self.workers] for k in range(self.workers)]
                jobs = [pool.submit(_sweep, calibrated, inputs, reference, s, record, stop) for s in shares]
                try:
                    for job in jobs:
                        job.result()
                finally:
                    stop.set()
        return SensitivityTable(
            quantity="kl",
            analyzer=self.name,
            scores=FrozenDict({c: scores[c] for c in choices}),
            n_examples=len(rows),
            n_groups=len(np.unique(rows.groups)),
            fingerprint=calibrated.traced.spec.fingerprint,
            seconds=time.perf_counter() - start,
        )


def _sweep(
    calibrated: CalibratedModel,
    inputs: torch.Tensor,
    reference: torch.Tensor,
    choices: tuple[QuantizerChoice, ...],
    record: Callable[[QuantizerChoice, torch.Tensor], None],
    stop: threading.Event,
) -> None:
    by_value = {node.value: node for node in calibrated.traced.spec.layers}
    # In step: a choice is finished, and kept, at once for all rows, yet no tensor is larger than a chunk's.
    sweeps = [Sweep(calibrated.traced, rows) for rows in torch.split(inputs, _CHUNK)]
    for names in zip(*sweeps, strict=True):
        for choice in choices_at(names[0], by_value, choices):
            if stop.is_set():
                return
            logits = [s.suffix(names[0], perturbed(s, names[0], choice, calibrated)) for s in sweeps]
            record(choice, kl_divergence(reference, torch.cat(logits)))
