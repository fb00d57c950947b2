"""The digits space: which digits go where, the very same canvases everywhere, the shipped network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from hawqsearch.core.data import Splits
from hawqsearch.zoo import digits

_WEIGHTS = Path(digits.__file__).with_name("digits.safetensors")


@pytest.fixture(scope="module")
def splits() -> Splits:
    return digits.data()


@pytest.fixture(scope="module")
def trained() -> torch.nn.Module:
    network = digits.model()
    network.load_state_dict(load_file(_WEIGHTS), strict=True)
    return network.eval()


def test_sizes_and_types(splits: Splits) -> None:
    for split, canvases in ((splits.calibration, 256), (splits.search, 2000), (splits.test, 3000)):
        assert split.inputs.shape == (canvases, 1, digits.CANVAS, digits.CANVAS)
        assert split.inputs.dtype == np.float32
        assert split.labels.dtype == split.groups.dtype == np.int64


def test_no_digit_is_in_two_splits(splits: Splits) -> None:
    training = digits.training_split(1000)
    half = len(splits.search) // 2
    parts = [training, splits.calibration, splits.search[:half], splits.search[half:], splits.test]
    sources = np.concatenate([np.unique(part.groups) for part in parts])
    assert len(sources) == len(np.unique(sources)) == 1797


def test_sources_are_used_equally_often(splits: Splits) -> None:
    sources, times = np.unique(splits.test.groups, return_counts=True)
    assert len(sources) == 400
    assert times.max() - times.min() <= 1


def test_no_canvas_occurs_twice(splits: Splits) -> None:
    canvases = [digits.training_split(2000), splits.calibration, splits.search, splits.test]
    seen = {canvas.tobytes() for split in canvases for canvas in split.inputs}
    assert len(seen) == sum(len(split) for split in canvases)


def test_inputs_are_256_grey_levels(splits: Splits) -> None:
    levels = np.unique(splits.search.inputs)
    assert 200 < len(levels) <= 256


@pytest.mark.parametrize(
    ("name", "sha256"),
    [
        ("calibration", "e90cc656a5afe6dfa8cd1a7484474d7aa997ee573878adac25347132061ea0f3"),
        ("search", "08f51a8026bce70976df54fb749a69cf756f35c8b2d8e9711c4e5a040dbcbb87"),
        ("test", "fa60a5971d578684db258b11ab6c5134cfda99d28dfb4aeb4672266a293baf52"),
    ],
)
def test_canvases_are_these_to_the_last_bit(splits: Splits, name: str, sha256: str) -> None:
    assert getattr(splits, name).sha256 == sha256


def test_training_canvases_are_these_to_the_last_bit() -> None:
    assert (
        digits.training_split(300).sha256
        == "b7276f209f5bbf4d310adc57f11636c5f9e1bb3039aac9e03b6e35cebd7263bf"
    )


def test_more_training_canvases_begin_with_the_same() -> None:
    """From one canvas of every digit on, in whole chunks."""
    fewer, more = digits.training_split(1024), digits.training_split(1100)
    np.testing.assert_array_equal(fewer.inputs, more.inputs[:1024])


def test_multiply_accumulates_are_as_documented() -> None:
    macs = _multiply_accumulates(digits.model(), torch.zeros(1, 1, digits.CANVAS, digits.CANVAS))
    assert f"{macs:,} multiply-accumulates" in (digits.model.__doc__ or "")
    assert 130e6 <= macs <= 160e6


def test_weights_are_small(trained: torch.nn.Module) -> None:
    assert sum(parameter.numel() for parameter in trained.parameters()) < 1_000_000
    assert _WEIGHTS.stat().st_size < 4_000_000


def test_shipped_weights_classify(splits: Splits, trained: torch.nn.Module) -> None:
    with torch.no_grad():
        answers = trained(torch.from_numpy(splits.search.inputs[::5])).argmax(1).numpy()
    assert np.mean(answers == splits.search.labels[::5]) > 0.85


def test_exports_with_any_batch(trained: torch.nn.Module) -> None:
    example = torch.zeros(2, 1, digits.CANVAS, digits.CANVAS)
    exported = torch.export.export(trained, (example,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    assert exported.module()(torch.zeros(5, 1, digits.CANVAS, digits.CANVAS)).shape == (5, 10)


def test_a_relu_after_a_convolution_can_be_fused(trained: torch.nn.Module) -> None:
    example = torch.zeros(2, 1, digits.CANVAS, digits.CANVAS)
    targets = [
        (node, str(node.target))
        for node in torch.export.export(trained, (example,)).graph.nodes
        if node.op == "call_function"
    ]
    relus = [node for node, target in targets if "relu" in target]
    before = [str(node.all_input_nodes[0].target) for node in relus]
    assert all("batch_norm" in target or "add" in target for target in before)
    norms = [node for node, target in targets if "batch_norm" in target]
    assert all("conv2d" in str(node.all_input_nodes[0].target) for node in norms)


def _multiply_accumulates(network: torch.nn.Module, example: torch.Tensor) -> int:
    """Of convolutions and linear layers: weights per output times outputs."""
    counts: list[int] = []
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            layer.register_forward_hook(
                lambda layer, _, output: counts.append(layer.weight[0].numel() * output.numel())
            )
    network.eval()(example)
    return sum(counts)
