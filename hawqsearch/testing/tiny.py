"""A network and data so small that a whole search on them takes a second: for tests that need a real one.

Name them in a space file as `model = "hawqsearch.testing.tiny:model"`, `data = "hawqsearch.testing.tiny:data"`;
`write_space` writes one, with its weights beside it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from hawqsearch.core.data import Split, Splits

__all__ = ["TinyNet", "data", "model", "write_space"]

_CLASSES = 4
_SIDE = 8
_SEED = 7


class TinyNet(torch.nn.Module):
    """Three convolutions, an addition, pooling and a linear head: one of everything that a search chooses for."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = torch.nn.Conv2d(1, 8, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(8)
        self.first = torch.nn.Conv2d(8, 8, 3, padding=1)
        self.second = torch.nn.Conv2d(8, 8, 3, padding=1)
        self.head = torch.nn.Linear(8, _CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pictures (n, 1, 8, 8) -> logits (n, 4)."""
        x = torch.relu(self.norm(self.stem(x)))
        x = torch.relu(x + self.second(torch.relu(self.first(x))))
        logits: torch.Tensor = self.head(torch.nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits


def model() -> torch.nn.Module:
    """The network with random weights, the same each time; the caller's random state stays as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(_SEED)
        return TinyNet().eval()


def data(directory: Path | None = None) -> Splits:
    """24 calibration, 40 search and 40 test pictures of bars under noise, each its own source.

    Args:
        directory: not read; the pictures are drawn.
    """
    del directory
    rng = np.random.default_rng(_SEED)
    first, second, third = (_split(rng, n, start) for n, start in ((24, 0), (40, 24), (40, 64)))
    return Splits(calibration=first, search=second, test=third)


def write_space(
    folder: Path,
    *,
    precisions: Iterable[str] = ("fp32", "w8a8", "w4a8"),
    model: str = "hawqsearch.testing.tiny:model",
    data: str = "hawqsearch.testing.tiny:data",
    state: dict[str, torch.Tensor] | None = None,
    more: str = "",
) -> Path:
    """Path of `tiny.toml`, written into `folder` with its weights.

    Args:
        model, data: instead of this module's.
        state: weights, instead of those that this module's network has.
        more: lines that are added to the file.
    """
    save_file(_state() if state is None else state, folder / "tiny.safetensors")
    listed = ", ".join(f'"{precision}"' for precision in precisions)
    text = f"""name = "tiny"
model = "{model}"
weights = "tiny.safetensors"
data = "{data}"
precisions = [{listed}]
{more}
"""
    path = folder / "tiny.toml"
    path.write_text(text)
    return path


def _state() -> dict[str, torch.Tensor]:
    return model().state_dict()


def _split(rng: np.random.Generator, n: int, start: int) -> Split:
    """`n` pictures: a bright bar at one of four heights."""
    labels = np.arange(n) % _CLASSES
    pictures = rng.normal(0, 0.3, (n, 1, _SIDE, _SIDE))
    for picture, label in zip(pictures, labels, strict=True):
        picture[0, 2 * label : 2 * label + 2] += 1
    return Split(
        inputs=pictures.astype(np.float32), labels=labels.astype(np.int64), groups=np.arange(start, start + n)
    )
