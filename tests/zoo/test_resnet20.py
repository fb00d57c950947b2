"""ResNet-20 and CIFAR-10, where the data folder is at hand."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from hawqsearch.core.data import Splits
from hawqsearch.errors import FileFormatError, InputError
from hawqsearch.zoo import resnet20

_DATA = Path(os.environ.get("HAWQSEARCH_DATA") or Path(__file__).parents[2].parent / "shared" / "data")


@pytest.fixture(scope="module")
def directory() -> Path:
    if not (_DATA / "cifar10" / "test.parquet").is_file():
        pytest.skip(f"CIFAR-10 is not in {_DATA}: set HAWQSEARCH_DATA to the folder that holds cifar10/")
    return _DATA


@pytest.fixture(scope="module")
def splits(directory: Path) -> Splits:
    return resnet20.data(directory)


def test_splits(splits: Splits) -> None:
    assert [len(splits.calibration), len(splits.search), len(splits.test)] == [256, 2000, 8000]
    assert splits.calibration.inputs.shape[1:] == (3, 32, 32)
    assert splits.calibration.inputs.dtype == np.float32
    np.testing.assert_array_equal(splits.search.groups, np.arange(2000))
    np.testing.assert_array_equal(splits.test.groups, np.arange(2000, 10000))
    assert len(np.unique(splits.calibration.groups)) == 256


def test_the_same_rows_every_time(splits: Splits, directory: Path) -> None:
    assert resnet20.data(directory / "cifar10").calibration.sha256 == splits.calibration.sha256
    rows = splits.calibration.groups[:8].tolist()
    assert rows == [14, 457, 565, 916, 1173, 1377, 1457, 1502]


def test_pictures_are_normalized(splits: Splits) -> None:
    mean = splits.search.inputs.mean((0, 2, 3))
    np.testing.assert_allclose(
        mean, (np.array([0.491, 0.482, 0.447]) - [0.485, 0.456, 0.406]) / 0.226, atol=0.05
    )
    assert 0.9 < splits.search.inputs.std() < 1.3


def test_multiply_accumulates_are_as_documented() -> None:
    counts: list[int] = []
    network = resnet20.model().eval()
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            layer.register_forward_hook(
                lambda layer, _, output: counts.append(layer.weight[0].numel() * output.numel())
            )
    network(torch.zeros(1, 3, 32, 32))
    assert f"{sum(counts):,} multiply-accumulates" in (resnet20.model.__doc__ or "")


def test_published_weights_fit_and_classify(splits: Splits, directory: Path) -> None:
    network = resnet20.model()
    network.load_state_dict(load_file(directory / "resnet20_cifar10.safetensors"), strict=True)
    with torch.no_grad():
        answers = network.eval()(torch.from_numpy(splits.search.inputs[:500])).argmax(1).numpy()
    assert np.mean(answers == splits.search.labels[:500]) > 0.8


def test_missing_files_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--data DIR or HAWQSEARCH_DATA") as caught:
        resnet20.data(tmp_path)
    assert "\n" not in str(caught.value)


def test_default_folder_is_the_environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAWQSEARCH_DATA", str(tmp_path))
    with pytest.raises(InputError, match=str(tmp_path)):
        resnet20.training_split()


def test_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "train.parquet").write_bytes(b"PAR1 cut short")
    with pytest.raises(FileFormatError, match=r"train\.parquet is not a CIFAR-10 parquet file"):
        resnet20.training_split(tmp_path)
