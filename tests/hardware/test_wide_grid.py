"""Shapes at the ends of what networks use: real ones, drawn alike every time."""

from __future__ import annotations

from collections import Counter

import torch
from torch.nn.functional import avg_pool2d, conv2d, linear, max_pool2d

from hawqsearch.core.hardware import Change, Signature
from hawqsearch.hardware.wide_grid import wide_change_grid, wide_kernel_grid

KERNELS = wide_kernel_grid(100, seed=1)


def _computed_shape(s: Signature) -> tuple[int, ...]:
    """What torch makes of the input, without computing it."""
    x = torch.empty(s.input_shape, device="meta")
    if s.op == "conv":
        weight = torch.empty(s.weight_shape, device="meta")
        return tuple(conv2d(x, weight, None, s.stride, s.padding, s.dilation, s.groups).shape)
    if s.op == "linear":
        return tuple(linear(x, torch.empty(s.weight_shape, device="meta")).shape)
    if s.op == "concat":
        return tuple(torch.cat([x, x], dim=1).shape)
    if s.op == "max_pool":
        return tuple(max_pool2d(x, s.weight_shape, s.stride, s.padding, s.dilation).shape)
    return tuple(avg_pool2d(x, s.weight_shape, s.stride, s.padding).shape)


def test_every_output_is_what_the_operator_gives() -> None:
    for signature in {k.signature for k in KERNELS}:
        assert _computed_shape(signature) == signature.output_shape, str(signature)


def test_about_as_many_as_asked_for_each_once_in_every_precision() -> None:
    n = len({k.signature for k in KERNELS})
    assert 97 <= n <= 103
    assert len(KERNELS) == len(set(KERNELS))
    assert Counter(k.precision for k in KERNELS) == {"fp32": n, "w8a8": n}


def test_a_seed_is_a_grid() -> None:
    assert wide_kernel_grid(100, seed=1) == KERNELS
    assert wide_kernel_grid(100, seed=2) != KERNELS


def test_the_kinds_that_the_grid_lacks_are_there() -> None:
    assert {k.signature.op for k in KERNELS} == {"conv", "avg_pool", "max_pool", "linear", "concat"}
    assert max(k.signature.output_shape[1] for k in KERNELS) > 1024
    assert any(k.signature.input_shape[1] == 3 for k in KERNELS)


def test_changes_hold_vectors_and_images_both_ways() -> None:
    keys = wide_change_grid(60, seed=1)
    assert len(keys) == len(set(keys)) == 120
    assert Counter(k.change for k in keys) == dict.fromkeys(Change, 60)
    assert any(len(k.shape) == 2 for k in keys)
    assert any(k.shape[1] == 3 and k.shape[2] > 100 for k in keys)
