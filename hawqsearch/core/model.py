"""What a network looks like to a search: weighted layers, joins, and the tensors between them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

from hawqsearch.errors import UnknownNameError

__all__ = ["INPUT", "JOIN_OPS", "OUTPUT", "WEIGHTED_OPS", "ModelSpec", "NodeSpec", "TensorSpec"]

INPUT: Final = "input"
OUTPUT: Final = "output"
WEIGHTED_OPS: Final = frozenset({"conv", "linear"})
JOIN_OPS: Final = frozenset({"add", "concat", "avg_pool", "max_pool"})


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpec:
    """One node of the problem: a weighted layer, a join, or an operator that only float runs.

    Args:
        name: module path (`layer1.0.conv1`); joins and others are named after the value they produce.
        op: `conv`, `linear`; a join: `add`, `concat`, `avg_pool`, `max_pool`; else `other`.
        value: what the operator itself produces (name of the traced value, before an activation).
        tensor: the tensor that neighbours read, after the fused activation; `value` where none is.
        activation: `relu`, `relu6` or None: fused into this node.
        inputs: tensors read, views (flatten, reshape, slice, zero padding) seen through; each once.
        weight: parameter name (`layer1.0.conv1.weight`), None for nodes without one.
        weight_shape: (out, in / groups, kernel…) or (out, in).
        input_shape, output_shape: with the batch dimension at the batch that was traced.
        window: height and width of a pooling window.
        macs: multiply-accumulates of one example.
    """

    name: str
    op: str
    value: str
    tensor: str
    inputs: tuple[str, ...]
    output_shape: tuple[int, ...]
    input_shape: tuple[int, ...] = ()
    activation: str | None = None
    weight: str | None = None
    weight_shape: tuple[int, ...] = ()
    has_bias: bool = False
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    window: tuple[int, ...] = ()
    groups: int = 1
    macs: int = 0

    @property
    def is_weighted(self) -> bool:
        """Whether the node carries weights: what users see as a layer."""
        return self.op in WEIGHTED_OPS

    @property
    def n_weights(self) -> int:
        """Weights of the layer, bias not counted."""
        return math.prod(self.weight_shape) if self.weight_shape else 0

    @property
    def n_bias(self) -> int:
        """Bias entries (0 where there is none)."""
        return self.weight_shape[0] if self.has_bias else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """A tensor that a quantizer can belong to, with who makes it and who reads it.

    Args:
        name: name of the traced value.
        source: producing node, or `INPUT`.
        targets: reading nodes in order, `OUTPUT` among them where the network returns it.
        shape: with the batch dimension.
        floor_at_zero: never negative (behind a ReLU): its range starts at 0.
        ceiling: upper clip of the fused activation (6 for ReLU6), or None.
    """

    name: str
    source: str
    targets: tuple[str, ...]
    shape: tuple[int, ...]
    floor_at_zero: bool = False
    ceiling: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """Nodes in execution order and the tensors between them; `fingerprint` hashes graph and weights."""

    nodes: tuple[NodeSpec, ...]
    tensors: tuple[TensorSpec, ...]
    input_shape: tuple[int, ...]
    fingerprint: str
    ties: tuple[tuple[str, ...], ...] = ()
    _by_name: dict[str, NodeSpec] = field(init=False, repr=False, compare=False, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {n.name: n for n in self.nodes})

    def node(self, name: str) -> NodeSpec:
        """The node of that name; raises `UnknownNameError` with the nearest."""
        if name not in self._by_name:
            raise UnknownNameError("layer", name, self._by_name)
        return self._by_name[name]

    def tensor(self, name: str) -> TensorSpec:
        """The tensor of that name; raises `UnknownNameError` with the nearest."""
        for tensor in self.tensors:
            if tensor.name == name:
                return tensor
        raise UnknownNameError("tensor", name, [t.name for t in self.tensors])

    @property
    def layers(self) -> tuple[NodeSpec, ...]:
        """Weighted layers, in execution order."""
        return tuple(n for n in self.nodes if n.is_weighted)

    @property
    def joins(self) -> tuple[NodeSpec, ...]:
        """Joins (add, concat, pooling), in execution order."""
        return tuple(n for n in self.nodes if n.op in JOIN_OPS)

    @property
    def n_weights(self) -> int:
        """Weights of all layers, biases not counted."""
        return sum(n.n_weights for n in self.layers)
