"""Mean and covariance of a layer's unfolded input: what prices every weight rounding of it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.model import NodeSpec
from hawqsearch.graph.run import Sweep
from hawqsearch.graph.trace import TracedModel

__all__ = ["CHUNK", "InputStatistics", "MomentAccumulator", "collect_statistics", "sampled_patches"]

CHUNK = 16
"""Images that run together: their values and patches are in memory at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputStatistics:
    """Moments of the vector that one output position of a layer reads, zero padding included.

    Args:
        mean: (groups, K) float32, K = in / groups * kernel entries, in the weight's order; a
            linear layer has one group and K = in.
        covariance: (groups, K, K) float32, divided by n (the moments of these very positions).
        n: output positions that were looked at.
    """

    mean: Tensor
    covariance: Tensor
    n: int


class MomentAccumulator:
    """Running mean and covariance of patches (groups, positions, K).

    Values are shifted by the first chunk's mean before they are multiplied in float32, a chunk at a
    time, and added up in float64: what cancels is the small distance of the two means,
    not the mean itself, so that the relative error stays near 1e-6 of the largest variance.
    """

    def __init__(self, first: Tensor) -> None:
        self._shift = first.double().mean(1, keepdim=True).float()
        groups, _, entries = first.shape
        self._sum = torch.zeros(groups, entries, dtype=torch.float64)
        self._products = torch.zeros(groups, entries, entries, dtype=torch.float64)
        self._n = 0
        self.add(first)

    def add(self, patches: Tensor) -> None:
        """Count another chunk in."""
        shifted = patches - self._shift
        self._sum += shifted.sum(1, dtype=torch.float64)
        self._products += torch.bmm(shifted.transpose(1, 2), shifted)
        self._n += patches.shape[1]

    def statistics(self) -> InputStatistics:
        """Moments of all chunks so far."""
        offset = self._sum / self._n
        covariance = self._products / self._n - offset[:, :, None] * offset[:, None, :]
        mean = self._shift[:, 0].double() + offset
        return InputStatistics(mean=mean.float(), covariance=covariance.float(), n=self._n)


def sampled_patches(x: Tensor, node: NodeSpec, *, positions: int, generator: torch.Generator) -> Tensor:
    """What `node` reads at up to `positions` output positions of each example: (groups, n * positions, K).

    Positions are drawn without replacement per example; all are taken where there are no more.

    Args:
        x: the layer's input, (n, channels, …) for a convolution, (n, …, in) for a linear layer.
    """
    if node.op == "linear":
        rows = x.reshape(len(x), -1, x.shape[-1])
        chosen = _drawn(len(x), rows.shape[1], positions, generator)
        return torch.gather(rows, 1, chosen[..., None].expand(-1, -1, rows.shape[2])).flatten(0, 1)[None]
    return _convolution_patches(x, node, positions, generator)


def _drawn(n: int, total: int, wanted: int, generator: torch.Generator) -> Tensor:
    """Positions (n, min(total, wanted)) of each example, without replacement."""
    if wanted >= total:
        return torch.arange(total).expand(n, total)
    return torch.rand(n, total, generator=generator).topk(wanted, dim=1, sorted=False).indices


def _convolution_patches(x: Tensor, node: NodeSpec, positions: int, generator: torch.Generator) -> Tensor:
    """Rows of the channels-last input, gathered one kernel offset at a time: no unfold of all positions."""
    kernel = node.weight_shape[2:]
    padded = F.pad(x, [p for pad in reversed(node.padding) for p in (pad, pad)])
    sizes = padded.shape[2:]
    steps = [math.prod(sizes[d + 1 :]) for d in range(len(sizes))]
    reach = zip(sizes, kernel, node.stride, node.dilation, strict=True)
    output = [(size - dilation * (width - 1) - 1) // stride + 1 for size, width, stride, dilation in reach]
    drawn = _drawn(len(x), math.prod(output), positions, generator)
    corners = torch.arange(len(x))[:, None] * math.prod(sizes)
    for size, stride, step, inner in zip(output, node.stride, steps, _inner(output), strict=True):
        corners = corners + (drawn // inner % size) * (stride * step)
    offsets = [
        sum(o * d * step for o, d, step in zip(offset, node.dilation, steps, strict=True))
        for offset in itertools.product(*map(range, kernel))
    ]
    rows = padded.movedim(1, -1).flatten(0, -2)
    taken = torch.stack([rows.index_select(0, (corners + o).flatten()) for o in offsets], dim=-1)
    grouped = taken.reshape(taken.shape[0], node.groups, -1, len(offsets))
    return grouped.transpose(0, 1).flatten(2)


def _inner(sizes: list[int]) -> list[int]:
    """Positions per step of each dimension, row-major."""
    return [math.prod(sizes[d + 1 :]) for d in range(len(sizes))]


def collect_statistics(
    traced: TracedModel,
    inputs: Tensor,
    layers: Iterable[str],
    *,
    seed: int,
    positions_per_image: int = 256,
) -> FrozenDict[str, InputStatistics]:
    """Statistics of each named layer's input, from one pass over the float network.

    Args:
        inputs: (n, …); 64 images are enough: 256 positions of each give 16,384 samples, 14 for
            each entry of a 3x3 kernel over 128 channels.
        layers: names of weighted layers.
        seed: of the positions that are looked at.
        positions_per_image: output positions of a layer that are looked at, per image.
    """
    nodes = {traced.spec.node(name).value: traced.spec.node(name) for name in layers}
    sources = {n.name: n.all_input_nodes[0].name for n in traced.module.graph.nodes if n.name in nodes}
    generators = {value: torch.Generator().manual_seed(seed) for value in nodes}
    moments: dict[str, MomentAccumulator] = {}
    for chunk in torch.split(inputs, CHUNK):
        sweep = Sweep(traced, chunk)
        for value in sweep:
            if value in nodes:
                patches = sampled_patches(
                    sweep.value(sources[value]),
                    nodes[value],
                    positions=positions_per_image,
                    generator=generators[value],
                )
                _accumulate(moments, nodes[value].name, patches)
    return FrozenDict({name: m.statistics() for name, m in moments.items()})


def _accumulate(moments: dict[str, MomentAccumulator], layer: str, patches: Tensor) -> None:
    if layer in moments:
        moments[layer].add(patches)
    else:
        moments[layer] = MomentAccumulator(patches)
