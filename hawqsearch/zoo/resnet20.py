"""ResNet-20 for CIFAR-10: He et al. 2016, "Deep residual learning", section 4.2.

The data are two parquet files as the Hugging Face hub lays them out (`train.parquet` and
`test.parquet`: `img` {`bytes`, `path`}, `label`). The first 2,000 test rows are the search split,
the other 8,000 the test split; calibration and training rows come from the training file.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import platformdirs
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
from PIL import Image

from hawqsearch.core.data import Split, Splits
from hawqsearch.errors import FileFormatError, InputError

__all__ = ["data", "model", "training_split"]

_MEAN = np.array([0.485, 0.456, 0.406], np.float32)[:, None, None]
_STD = np.array([0.229, 0.224, 0.225], np.float32)[:, None, None]
_CALIBRATION_ROWS = 256
_SEARCH_ROWS = 2000
_SEED = 2024


def data(directory: Path | None = None) -> Splits:
    """256 calibration rows of the training file, 2,000 search and 8,000 test rows of the test file.

    Inputs are (n, 3, 32, 32), RGB, normalized with ImageNet's mean and deviation; `groups` is the row.

    Args:
        directory: holds `cifar10/` or the two files themselves; by default `$HAWQSEARCH_DATA`,
            or else the user's data folder.

    Raises:
        InputError: where a file is missing.
    """
    train = _column_file("train", directory)
    test = _split(_column_file("test", directory))
    rows = np.random.default_rng(_SEED).random(len(train)).argsort(kind="stable")[:_CALIBRATION_ROWS]
    return Splits(
        calibration=_split(train, np.sort(rows)), search=test[:_SEARCH_ROWS], test=test[_SEARCH_ROWS:]
    )


def training_split(directory: Path | None = None) -> Split:
    """All 50,000 training rows (600 MB), the 256 calibration rows among them."""
    return _split(_column_file("train", directory))


def model() -> torch.nn.Module:
    """The untrained network: (n, 3, 32, 32) -> logits (n, 10), 40,551,040 multiply-accumulates each."""
    return ResNet20()


# ---------------------------------------------------------------- images


def _column_file(name: str, directory: Path | None) -> pa.Table:
    """The still encoded rows of `<name>.parquet`."""
    path = _found(f"{name}.parquet", directory)
    try:
        return pq.read_table(path, columns=["img", "label"])
    except (pa.ArrowException, OSError) as error:
        raise FileFormatError(f"{path} is not a CIFAR-10 parquet file ({error}); fetch it again") from error


def _found(name: str, directory: Path | None) -> Path:
    root = directory or Path(os.environ.get("HAWQSEARCH_DATA") or platformdirs.user_data_path("hawqsearch"))
    for path in (root / "cifar10" / name, root / name):
        if path.is_file():
            return path
    raise InputError(
        f"no cifar10/{name} in {root}; name the folder that holds it with --data DIR or HAWQSEARCH_DATA"
    )


def _split(table: pa.Table, rows: np.ndarray | None = None) -> Split:
    """The named rows, decoded; all of them where none are named."""
    rows = np.arange(len(table)) if rows is None else rows
    chosen = table.take(pa.array(rows))
    pictures = pa.compute.struct_field(chosen["img"], "bytes").to_pylist()
    labels = chosen["label"].to_numpy().astype(np.int64)
    return Split(inputs=_decoded(pictures), labels=labels, groups=rows.astype(np.int64))


def _decoded(pictures: Sequence[bytes]) -> np.ndarray:
    """Normalized pixels (n, 3, 32, 32) of encoded pictures."""
    pixels = np.empty((len(pictures), 3, 32, 32), np.float32)
    for row, encoded in enumerate(pictures):
        pixels[row] = np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB")).transpose(2, 0, 1)
    pixels /= 255
    pixels -= _MEAN
    pixels /= _STD
    return pixels


# ---------------------------------------------------------------- network


class BasicBlock(torch.nn.Module):
    """Two 3x3 convolutions beside the parameter-free shortcut (option A)."""

    def __init__(self, channels: int, filters: int) -> None:
        super().__init__()
        self.widening = filters - channels
        stride = 2 if self.widening else 1
        self.conv1 = torch.nn.Conv2d(channels, filters, 3, stride=stride, padding=1, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(filters)
        self.conv2 = torch.nn.Conv2d(filters, filters, 3, padding=1, bias=False)
        self.bn2 = torch.nn.BatchNorm2d(filters)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, channels, h, w) -> (n, filters, h, w), h and w halved where it widens."""
        shortcut = x
        if self.widening:
            around = self.widening // 2
            shortcut = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, around, around))
        hidden = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(hidden)) + shortcut)


class ResNet20(torch.nn.Module):
    """Three stages of three blocks: 16, 32 and 64 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16)
        self.layer2 = _stage(16, 32)
        self.layer3 = _stage(32, 64)
        self.linear = torch.nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images (n, 3, 32, 32) -> logits (n, 10)."""
        features = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        logits: torch.Tensor = self.linear(F.adaptive_avg_pool2d(features, 1).flatten(1))
        return logits


def _stage(channels: int, filters: int) -> torch.nn.Sequential:
    return torch.nn.Sequential(
        BasicBlock(channels, filters), BasicBlock(filters, filters), BasicBlock(filters, filters)
    )
