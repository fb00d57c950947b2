"""Questions about one node of an aten graph: what it computes and with which arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch.fx import Node

__all__ = ["VIEWS", "activation", "arguments", "is_view", "operator_name", "weight_of"]

aten = torch.ops.aten

VIEWS: Final = frozenset(
    {
        aten.reshape.default,
        aten.flatten.using_ints,
        aten.unflatten.int,
        aten.slice.Tensor,
        aten.select.int,
        aten.permute.default,
        aten.transpose.int,
        aten.t.default,
        aten.squeeze.default,
        aten.squeeze.dim,
        aten.squeeze.dims,
        aten.unsqueeze.default,
    }
)
"""Operators that only move or drop values, so that they commute with a quantizer of their input."""

_PADS: Final = frozenset({aten.pad.default, aten.constant_pad_nd.default})
_WEIGHTED: Final = frozenset({aten.conv2d.default, aten.linear.default})


def arguments(node: Node) -> Mapping[str, Any]:
    """Every argument of an aten call by its schema's name, defaults filled in."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return dict(node.kwargs)
    schema = node.target._schema.arguments
    given = dict(zip((a.name for a in schema), node.args, strict=False)) | dict(node.kwargs)
    return {a.name: given.get(a.name, a.default_value) for a in schema}


def operator_name(node: Node) -> str:
    """`conv2d` of `aten.conv2d.default`; a Python function's own name."""
    if isinstance(node.target, torch._ops.OpOverload):
        return node.target._schema.name.split("::")[-1]
    return getattr(node.target, "__name__", str(node.target))


def is_view(node: Node) -> bool:
    """Whether the node hands on values of its first argument unchanged; padding with zeros counts."""
    if node.op != "call_function":
        return False
    if node.target in _PADS:
        given = arguments(node)
        return given.get("mode", "constant") == "constant" and not given["value"]
    return node.target in VIEWS


def activation(node: Node) -> str | None:
    """`relu`, `relu6`, or None: what a simplified graph's node clips to."""
    if node.target is aten.relu.default:
        return "relu"
    if node.target is aten.hardtanh.default and (node.args[1:] == (0.0, 6.0)):
        return "relu6"
    return None


def weight_of(node: Node) -> Node | None:
    """The constant weight of a 2-d convolution or linear layer, None for every other node."""
    if node.op != "call_function" or node.target not in _WEIGHTED:
        return None
    given = arguments(node)
    data, weight, bias = given["input"], given["weight"], given["bias"]
    constant = weight.op == "get_attr" and (bias is None or bias.op == "get_attr")
    return weight if constant and data.op != "get_attr" else None
