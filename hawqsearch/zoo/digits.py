"""Cluttered digits: a small task that needs no download, and a residual network for it.

A handwritten digit of scikit-learn's `load_digits` (8x8, 1,797 of them, from the UCI repository) is
enlarged and moved on a 48x48 canvas, among fragments of other digits, under a brightness gradient,
changing contrast and noise; after Mnih et al. 2014, "Recurrent models of visual attention", section
4.1. Each split has digits of its own, and fragments come from the digits of the same split.

The canvases are the same on every machine: they are drawn from uniform numbers by elementwise
arithmetic alone and end as 8-bit grey levels, so that no last bit of a library's rounding survives.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

from hawqsearch.core.data import Split, Splits

__all__ = ["CANVAS", "data", "model", "training_split"]

CANVAS = 48
"""Side of a canvas in pixels."""

_CHUNK = 256
_MEAN, _STD = 0.3, 0.2
_SEED = 2024


@dataclass(frozen=True, slots=True, kw_only=True)
class _Clutter:
    """How hard the task is; ranges are uniform, lengths in pixels of the canvas, light in [0, 1].

    A canvas shows from none to `fragments` of them, all equally likely; its background is anything that
    leaves room for its contrast, so what tells digits apart is often small beside the mean.
    """

    digit_size: tuple[float, float] = (20.0, 31.0)
    fragments: int = 10
    fragment_side: int = 4
    fragment_size: tuple[float, float] = (8.0, 14.0)
    fragment_light: tuple[float, float] = (0.4, 1.0)
    contrast: tuple[float, float] = (0.12, 0.7)
    gradient: float = 0.2
    noise: float = 0.08


_CLUTTER = _Clutter()


def data(directory: Path | None = None) -> Splits:
    """256 calibration, 2,000 search and 3,000 test canvases; `groups` is the digit's row in `load_digits`.

    The two halves of the search split show different digits too. Inputs are (n, 1, 48, 48).

    Args:
        directory: not read; the digits come with scikit-learn.
    """
    del directory
    sources = _sources()
    first, second = np.split(sources["search"], 2)
    return Splits(
        calibration=_split(_in_turn(sources["calibration"], 256), seed=_SEED + 1),
        search=_split(np.concatenate([_in_turn(first, 1000), _in_turn(second, 1000)]), seed=_SEED + 2),
        test=_split(_in_turn(sources["test"], 3000), seed=_SEED + 3),
    )


def training_split(canvases: int) -> Split:
    """Canvases of the digits kept for training, each digit equally often; no two are the same."""
    return _split(_in_turn(_sources()["train"], canvases), seed=_SEED)


def model() -> torch.nn.Module:
    """The untrained network: (n, 1, 48, 48) -> logits (n, 10).

    130,066,688 multiply-accumulates per canvas (convolutions and the linear head).
    """
    return DigitsNet()


# ---------------------------------------------------------------- canvases


def _sources() -> dict[str, np.ndarray]:
    """Rows of `load_digits` of each split; no row is in two."""
    order = np.random.default_rng(_SEED).random(1797).argsort(kind="stable")
    train, calibration, search, test = np.split(order, [997, 1097, 1397])
    return {"train": train, "calibration": calibration, "search": search, "test": test}


def _in_turn(sources: np.ndarray, canvases: int) -> np.ndarray:
    """`canvases` sources, each as often as any other to within one."""
    return sources[np.arange(canvases) % len(sources)]


def _split(sources: np.ndarray, *, seed: int) -> Split:
    digits = load_digits()
    pictures = (digits.images / 16).astype(np.float32)
    rng = np.random.default_rng(seed)
    others = np.unique(sources)
    inputs = np.empty((len(sources), 1, CANVAS, CANVAS), np.float32)
    for start in range(0, len(sources), _CHUNK):
        chunk = sources[start : start + _CHUNK]
        grey = np.rint(_canvases(pictures, chunk, others, rng) * 255)
        inputs[start : start + _CHUNK, 0] = (grey / np.float32(255) - np.float32(_MEAN)) / np.float32(_STD)
    return Split(
        inputs=inputs, labels=digits.target[sources].astype(np.int64), groups=sources.astype(np.int64)
    )


def _canvases(
    pictures: np.ndarray, sources: np.ndarray, others: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Light in [0, 1] of one canvas per source: (n, 48, 48)."""
    n = len(sources)
    light = _digits(pictures[sources], rng)
    fragments = _integers(_CLUTTER.fragments + 1, n, rng)
    for place in range(_CLUTTER.fragments):
        _add_fragment(light, pictures, sources, others, rng, shown=place < fragments)
    contrast = _uniform(_CLUTTER.contrast, n, rng)[:, None, None]
    background = _uniform((0.0, 1.0), n, rng)[:, None, None] * (1 - contrast)
    grain = rng.random(light.shape, np.float32) - rng.random(light.shape, np.float32)
    canvas = background + contrast * light + _gradient(n, rng) + np.float32(_CLUTTER.noise) * grain
    clipped: np.ndarray = np.clip(canvas, 0, 1)
    return clipped


def _digits(pictures: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each picture (n, 8, 8), enlarged, somewhere on a canvas of its own: (n, 48, 48)."""
    n = len(pictures)
    height = _uniform(_CLUTTER.digit_size, n, rng)
    width = height * _uniform((0.75, 1.0), n, rng)
    top = _uniform((0.0, 1.0), n, rng) * (CANVAS - height)
    left = _uniform((0.0, 1.0), n, rng) * (CANVAS - width)
    return _enlarged(pictures, (top, height), (left, width), CANVAS)


def _add_fragment(
    light: np.ndarray,
    pictures: np.ndarray,
    sources: np.ndarray,
    others: np.ndarray,
    rng: np.random.Generator,
    *,
    shown: np.ndarray,
) -> None:
    """Lay a cropped, enlarged patch of some other digit over each canvas that is `shown` it, in place."""
    n, side = len(light), _CLUTTER.fragment_side
    rows = np.arange(n)[:, None, None]
    position = np.searchsorted(others, sources) + 1 + _integers(len(others) - 1, n, rng)
    other = others[position % len(others)][:, None, None]
    down = (_integers(9 - side, n, rng)[:, None] + np.arange(side))[:, :, None]
    right = (_integers(9 - side, n, rng)[:, None] + np.arange(side))[:, None, :]
    brightness = _uniform(_CLUTTER.fragment_light, n, rng) * shown
    patch = pictures[other, down, right] * brightness.astype(np.float32)[:, None, None]

    height, width = _uniform(_CLUTTER.fragment_size, n, rng), _uniform(_CLUTTER.fragment_size, n, rng)
    window = int(_CLUTTER.fragment_size[1]) + 1
    zero = np.zeros(n, np.float32)
    piece = _enlarged(patch, (zero, height), (zero, width), window)
    y = (_integers(CANVAS - window + 1, n, rng)[:, None] + np.arange(window))[:, :, None]
    x = (_integers(CANVAS - window + 1, n, rng)[:, None] + np.arange(window))[:, None, :]
    light[rows, y, x] = np.maximum(light[rows, y, x], piece)


def _enlarged(
    pictures: np.ndarray,
    vertical: tuple[np.ndarray, np.ndarray],
    horizontal: tuple[np.ndarray, np.ndarray],
    size: int,
) -> np.ndarray:
    """Bilinear enlargement of (n, k, k) into (n, size, size), black around; extents are (start, length)."""
    padded = np.pad(pictures, ((0, 0), (1, 1), (1, 1)))
    row, row_part = _coordinates(vertical, pictures.shape[1], size)
    column, column_part = _coordinates(horizontal, pictures.shape[2], size)
    rows = np.arange(len(pictures))[:, None]
    part = row_part[:, :, None]
    lines = padded[rows, row] * (1 - part) + padded[rows, row + 1] * part
    part, left = column_part[:, None, :], column[:, None, :]
    before: np.ndarray = np.take_along_axis(lines, left, 2)
    after: np.ndarray = np.take_along_axis(lines, left + 1, 2)
    between: np.ndarray = before * (1 - part) + after * part
    return between


def _coordinates(
    extent: tuple[np.ndarray, np.ndarray], cells: int, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Padded source cell and the fraction beyond its centre, per output pixel: two (n, size)."""
    start, length = extent
    pixels = np.arange(size, dtype=np.float32) + np.float32(0.5)
    place = (pixels - start[:, None]) * (cells / length)[:, None] + np.float32(0.5)
    place = np.clip(place, 0, np.float32(cells + 0.999))
    cell = place.astype(np.int64)
    return cell, place - cell.astype(np.float32)


def _gradient(n: int, rng: np.random.Generator) -> np.ndarray:
    """Linear change of brightness over each canvas, in a direction of its own: (n, 48, 48)."""
    ramp = np.linspace(-0.5, 0.5, CANVAS, dtype=np.float32)
    down = _uniform((-_CLUTTER.gradient, _CLUTTER.gradient), n, rng)[:, None, None]
    right = _uniform((-_CLUTTER.gradient, _CLUTTER.gradient), n, rng)[:, None, None]
    return down * ramp[:, None] + right * ramp


def _uniform(bounds: tuple[float, float], n: int, rng: np.random.Generator) -> np.ndarray:
    low, high = bounds
    return (low + (high - low) * rng.random(n)).astype(np.float32)


def _integers(stop: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """Integers in [0, stop): (n,)."""
    return (rng.random(n) * stop).astype(np.int64)


# ---------------------------------------------------------------- network


class ConvNorm(torch.nn.Module):
    """A convolution without bias, then batch normalization; same size at stride 1."""

    def __init__(self, channels: int, filters: int, kernel: int, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(
            channels, filters, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False
        )
        self.norm = torch.nn.BatchNorm2d(filters)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, channels, h, w) -> (n, filters, h/stride, w/stride)."""
        normalized: torch.Tensor = self.norm(self.conv(x))
        return normalized


class ResidualBlock(torch.nn.Module):
    """Two 3x3 convolutions beside a shortcut; He et al. 2016, with a 1x1 shortcut where the size changes."""

    def __init__(self, channels: int, filters: int, *, stride: int = 1) -> None:
        super().__init__()
        same = stride == 1 and channels == filters
        self.first = ConvNorm(channels, filters, 3, stride=stride)
        self.second = ConvNorm(filters, filters, 3)
        self.shortcut = torch.nn.Identity() if same else ConvNorm(channels, filters, 1, stride=stride)
        torch.nn.init.zeros_(self.second.norm.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, channels, h, w) -> (n, filters, h/stride, w/stride), none negative."""
        return F.relu(self.second(F.relu(self.first(x))) + self.shortcut(x))


class InvertedResidual(torch.nn.Module):
    """Widen, depthwise 3x3, narrow, linear at the end: Sandler et al. 2018, figure 4d.

    The input is added where the size stays the same; else everything passes through the depthwise layer.
    """

    def __init__(self, channels: int, hidden: int, filters: int, *, stride: int = 1) -> None:
        super().__init__()
        self.adds = stride == 1 and channels == filters
        self.expand = ConvNorm(channels, hidden, 1)
        self.depthwise = ConvNorm(hidden, hidden, 3, stride=stride, groups=hidden)
        self.project = ConvNorm(hidden, filters, 1)
        if self.adds:
            torch.nn.init.zeros_(self.project.norm.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, channels, h, w) -> (n, filters, h/stride, w/stride)."""
        projected: torch.Tensor = self.project(F.relu(self.depthwise(F.relu(self.expand(x)))))
        return x + projected if self.adds else projected


class Bottleneck(torch.nn.Module):
    """1x1 to a few channels, 3x3 among them, 1x1 to many: all that is known passes through the few."""

    def __init__(self, channels: int, hidden: int, filters: int) -> None:
        super().__init__()
        self.squeeze = ConvNorm(channels, hidden, 1)
        self.spatial = ConvNorm(hidden, hidden, 3)
        self.expand = ConvNorm(hidden, filters, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, channels, h, w) -> (n, filters, h, w), none negative."""
        return F.relu(self.expand(F.relu(self.spatial(F.relu(self.squeeze(x))))))


class DigitsNet(torch.nn.Module):
    """Plain and downsampling residual blocks, inverted ones with linear bottlenecks, and a narrow squeeze.

    What residual blocks add begins at zero (Goyal et al. 2017, section 5.1): so deep a network learns sooner.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNorm(1, 32, 3)
        self.blocks = torch.nn.Sequential(
            ResidualBlock(32, 32),
            ResidualBlock(32, 64, stride=2),
            InvertedResidual(64, 256, 24),
            InvertedResidual(24, 192, 24),
            InvertedResidual(24, 192, 24),
            InvertedResidual(24, 192, 48, stride=2),
            InvertedResidual(48, 384, 48),
            InvertedResidual(48, 384, 48),
            InvertedResidual(48, 384, 128),
            Bottleneck(128, 16, 128),
        )
        self.head = torch.nn.Linear(128, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Canvases (n, 1, 48, 48) -> logits (n, 10)."""
        features = self.blocks(F.relu(self.stem(x)))
        logits: torch.Tensor = self.head(F.adaptive_avg_pool2d(features, 1).flatten(1))
        return logits
