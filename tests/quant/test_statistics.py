"""Moments of unfolded inputs equal those of a naive unfold over all positions."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from hawqsearch.core.model import NodeSpec
from hawqsearch.quant.statistics import InputStatistics, MomentAccumulator, sampled_patches

EVERY = 10**9


def convolution(
    channels: int,
    out: int,
    kernel: tuple[int, ...],
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
) -> NodeSpec:
    """A convolution of any dimension."""
    return NodeSpec(
        name=f"conv{out}x{channels}x{kernel[0]}g{groups}",
        op="conv",
        value="conv",
        tensor="conv",
        inputs=("x",),
        output_shape=(),
        weight_shape=(out, channels // groups, *kernel),
        stride=(stride,) * len(kernel),
        padding=(padding,) * len(kernel),
        dilation=(dilation,) * len(kernel),
        groups=groups,
    )


def linear(inputs: int, out: int) -> NodeSpec:
    return NodeSpec(
        name="fc",
        op="linear",
        value="fc",
        tensor="fc",
        inputs=("x",),
        output_shape=(),
        weight_shape=(out, inputs),
    )


CONVOLUTIONS = [
    convolution(3, 5, (3, 3), padding=1),
    convolution(4, 6, (3, 3), stride=2, padding=1),
    convolution(6, 6, (3, 3), padding=1, groups=6),
    convolution(6, 9, (3, 5), stride=2, padding=2, groups=3),
    convolution(4, 4, (2, 2), stride=2, dilation=2),
    convolution(8, 3, (1, 1)),
]


def unfolded(x: torch.Tensor, node: NodeSpec) -> torch.Tensor:
    """All patches by torch's unfold: (groups, n * positions, K)."""
    columns = F.unfold(
        x, node.weight_shape[2:], stride=node.stride, padding=node.padding, dilation=node.dilation
    )
    return columns.reshape(len(x), node.groups, -1, columns.shape[-1]).permute(1, 0, 3, 2).flatten(1, 2)


def statistics_of(x: torch.Tensor, node: NodeSpec, positions: int = EVERY, chunk: int = 3) -> InputStatistics:
    generator = torch.Generator().manual_seed(5)
    chunks = [
        sampled_patches(part, node, positions=positions, generator=generator)
        for part in torch.split(x, chunk)
    ]
    moments = MomentAccumulator(chunks[0])
    for patches in chunks[1:]:
        moments.add(patches)
    return moments.statistics()


def random_input(node: NodeSpec, n: int = 7) -> torch.Tensor:
    channels = node.weight_shape[1] * node.groups
    return torch.randn(n, channels, 9, 10, generator=torch.Generator().manual_seed(0)) + 3


@pytest.mark.parametrize("node", CONVOLUTIONS, ids=lambda node: node.name)
def test_all_positions_are_the_naive_unfold(node: NodeSpec) -> None:
    x = random_input(node)
    expected = unfolded(x, node).double()
    statistics = statistics_of(x, node)
    assert statistics.n == expected.shape[1]
    torch.testing.assert_close(statistics.mean.double(), expected.mean(1), rtol=1e-6, atol=1e-6)
    covariance = torch.stack([torch.cov(group.T, correction=0) for group in expected])
    torch.testing.assert_close(statistics.covariance.double(), covariance, rtol=1e-5, atol=1e-5)


def test_sampled_patches_are_patches_in_weight_order() -> None:
    node = CONVOLUTIONS[3]
    x = random_input(node, n=1)
    drawn = sampled_patches(x, node, positions=4, generator=torch.Generator().manual_seed(1))
    every = {tuple(row) for row in unfolded(x, node).transpose(0, 1).flatten(1).tolist()}
    rows = [tuple(row) for row in drawn.transpose(0, 1).flatten(1).tolist()]
    assert len(set(rows)) == 4
    assert set(rows) <= every


def test_one_dimensional_convolution() -> None:
    node = convolution(2, 3, (3,), stride=2, padding=1)
    x = torch.randn(4, 2, 11)
    flat = convolution(2, 3, (1, 3))
    flat = NodeSpec(
        **{f: getattr(flat, f) for f in ("name", "op", "value", "tensor", "inputs", "output_shape")},
        weight_shape=(3, 2, 1, 3),
        stride=(1, 2),
        padding=(0, 1),
        dilation=(1, 1),
    )
    assert torch.equal(statistics_of(x, node).covariance, statistics_of(x[:, :, None], flat).covariance)


@pytest.mark.parametrize("shape", [(20, 6), (5, 4, 6)])
def test_linear(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)) - 2
    statistics = statistics_of(x, linear(6, 3))
    rows = x.reshape(-1, 6).double()
    assert statistics.n == 20
    torch.testing.assert_close(statistics.mean[0].double(), rows.mean(0), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(
        statistics.covariance[0].double(), torch.cov(rows.T, correction=0), rtol=1e-5, atol=1e-6
    )


def test_a_mean_far_from_zero_costs_no_digits() -> None:
    """E[xx'] - E[x]E[x]' in float32 keeps nothing of a variance 1e8 times smaller than E[x]²."""
    x = torch.randn(50, 8, generator=torch.Generator().manual_seed(0)) * 0.125 + 1024
    naive = x.T @ x / 50 - torch.outer(x.mean(0), x.mean(0))
    expected = torch.cov(x.double().T, correction=0)
    ours = statistics_of(x, linear(8, 1), chunk=10).covariance[0].double()
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-6)
    assert (naive.double() - expected).abs().max() > 0.01
