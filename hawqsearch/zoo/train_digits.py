"""Trains the network of `digits.py`: `python -m hawqsearch.zoo.train_digits` (minutes on two cores).

One pass over canvases that are all different, made from the training digits alone. The search split
is looked at when it is over, and so is the test split, once. Writes the weights
(`digits.safetensors`) and a log (`train_digits.log`) beside this file.
"""

from __future__ import annotations

import argparse
import copy
import logging
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import track
from safetensors.torch import save_file

from hawqsearch.core.data import Split
from hawqsearch.zoo import digits

_BATCH = 16
_REPORTS = 10
_PEAK_RATE = 0.002
_ROUNDED = (8, 4, 3)
"""Bits of weights to report the trained network's accuracy at, rounded without any care."""
_LOG = logging.getLogger(__name__)


def main() -> None:
    """Train, save, and evaluate the test split once."""
    options = _options()
    _log_to(options.out / "train_digits.log")
    _LOG.info("command: %s", " ".join(["python -m hawqsearch.zoo.train_digits", *sys.argv[1:]]))
    _LOG.info("revision: %s", _revision())
    _LOG.info("rig: %s, %d threads, torch %s", _processor(), torch.get_num_threads(), torch.__version__)
    started = time.perf_counter()
    splits = digits.data()
    model = trained(digits.training_split(options.canvases), seed=options.seed)
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(state, options.out / "digits.safetensors")
    _LOG.info("search: %s", _summary(model, splits.search))
    for bits in _ROUNDED:
        _LOG.info("search, weights in %d bits: %s", bits, _summary(_rounded(model, bits), splits.search))
    _LOG.info("test: %s", _summary(model, splits.test))
    _LOG.info("seconds: %.0f", time.perf_counter() - started)


def trained(split: Split, *, seed: int) -> torch.nn.Module:
    """A new network after one pass over `split`: Adam, one cycle of learning rate, cross-entropy."""
    torch.manual_seed(seed)
    model = digits.model()
    torch.nn.utils.convert_conv2d_weight_memory_format(model, torch.channels_last)
    steps = len(split) // _BATCH
    optimizer = torch.optim.Adam(model.parameters(), lr=_PEAK_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _PEAK_RATE, total_steps=steps, pct_start=0.2)
    losses = []
    batches = track(_batches(split), "training", total=steps, console=Console(stderr=True))
    for step, (inputs, labels) in enumerate(batches, start=1):
        losses.append(_step(model, inputs, labels, optimizer))
        schedule.step()
        if step % (steps // _REPORTS) == 0:
            _LOG.info("step %d of %d: loss %.4f", step, steps, np.mean(losses))
            losses.clear()
    return model.eval()


def _batches(split: Split) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Whole batches, in order: sources follow each other at random already."""
    for start in range(0, len(split) - _BATCH + 1, _BATCH):
        batch = split[start : start + _BATCH]
        inputs = torch.from_numpy(batch.inputs).to(memory_format=torch.channels_last)
        yield inputs, torch.from_numpy(batch.labels)


def _step(
    model: torch.nn.Module, inputs: torch.Tensor, labels: torch.Tensor, optimizer: torch.optim.Optimizer
) -> float:
    """One update in bfloat16 with fp32 weights; returns the loss before it."""
    model.train()
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(inputs)
    loss = F.cross_entropy(logits.float(), labels)
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    optimizer.step()
    return loss.item()


@torch.no_grad()
def _correct(model: torch.nn.Module, split: Split) -> np.ndarray:
    """Whether each canvas is classified rightly, in fp32: (n,) bool."""
    model.eval()
    parts = [
        model(torch.from_numpy(split.inputs[row : row + 250])).argmax(1) for row in range(0, len(split), 250)
    ]
    right: np.ndarray = torch.cat(parts).numpy() == split.labels
    return right


def _rounded(model: torch.nn.Module, bits: int) -> torch.nn.Module:
    """A copy whose weights lie on a symmetric grid up to the largest of each filter; activations stay fp32.

    Normalization scales a filter as a whole, so its rounding is the same before and after folding.
    """
    copied = copy.deepcopy(model)
    top = 2 ** (bits - 1) - 1
    for layer in copied.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            filters = layer.weight.data.flatten(1)
            step = filters.abs().amax(1, keepdim=True) / top
            layer.weight.data = (step * (filters / step).round()).view_as(layer.weight)
    return copied


def _summary(model: torch.nn.Module, split: Split) -> str:
    """Accuracy, its standard error clustered by source, n."""
    right = _correct(model, split)
    sources, cluster = np.unique(split.groups, return_inverse=True)
    residuals = np.bincount(cluster, right - right.mean())
    error = np.sqrt(np.sum(residuals**2)) / len(split)
    return f"accuracy {right.mean():.4f} +- {error:.4f} ({len(split)} canvases of {len(sources)} digits)"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train the network of the digits space.")
    parser.add_argument("--canvases", type=int, default=32_000, help="how many to train on, each once")
    parser.add_argument("--seed", type=int, default=0, help="of the initial weights")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder to write to")
    return parser.parse_args()


def _log_to(path: Path) -> None:
    _LOG.setLevel(logging.INFO)
    _LOG.addHandler(logging.FileHandler(path, mode="w"))
    _LOG.addHandler(RichHandler(console=Console(stderr=True), show_path=False))


def _revision() -> str:
    """The last commit that changed this folder."""
    describe = ["git", "log", "-1", "--format=%h", "--", "."]
    answer = subprocess.run(describe, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or "unknown"


def _processor() -> str:
    """Name of the processor and how many cores this process may use."""
    table = Path("/proc/cpuinfo")
    lines = table.read_text().splitlines() if table.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"


if __name__ == "__main__":
    main()
