"""What the float network answers, which every method compares with."""

from __future__ import annotations

import torch

from hawqsearch.errors import UnsupportedModelError
from hawqsearch.graph.run import evaluate
from hawqsearch.quant.calibrated import CalibratedModel

__all__ = ["float_logits"]


def float_logits(calibrated: CalibratedModel, inputs: torch.Tensor) -> torch.Tensor:
    """Logits of `inputs` (n, …): (n, classes).

    Raises:
        UnsupportedModelError: where the answer has another shape, or is not finite.
    """
    logits = evaluate(calibrated.traced, inputs)
    if logits.dim() != 2:
        raise UnsupportedModelError(
            f"the model answers {tuple(logits.shape[1:])} an example; sensitivities need one row of logits: wrap it"
        )
    if not logits.isfinite().all():
        raise UnsupportedModelError(
            "the model answers NaN or infinity on the calibration split; check its weights"
        )
    return logits
