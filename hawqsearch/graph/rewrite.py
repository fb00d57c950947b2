"""Rewrites of a functional aten graph: batch-norm folded, no-ops gone, one form for each idea.

A `Constants` maps the target of each `get_attr` node to its tensor; modules come later, in `naming`.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final

import torch
from torch.fx import Graph, Node

from hawqsearch.graph.operators import arguments, weight_of

__all__ = ["Constants", "fold_batch_norms", "simplify"]

Constants = dict[str, torch.Tensor]

aten = torch.ops.aten

_NO_OPS: Final = frozenset(
    {
        aten.clone.default,
        aten.detach.default,
        aten.alias.default,
        aten.contiguous.default,
        aten.lift_fresh_copy.default,
    }
)
_CHECKS: Final = frozenset(
    {
        aten._assert_tensor_metadata.default,
        aten._assert_scalar.default,
        aten._assert_async.msg,
        aten.sym_constrain_range_for_size.default,
        aten.sym_constrain_range.default,
    }
)
_BATCH_NORM: Final = aten._native_batch_norm_legit_no_training.default


def simplify(graph: Graph, constants: Constants) -> None:
    """Rewrite `graph` in place, adding to `constants`; what it computes stays the same up to rounding."""
    for rewrite in (
        _drop_checks,
        _drop_no_ops,
        _compute_constants,
        _plain_clamps,
        _plain_pools,
        _plain_padding,
        _plain_reshapes,
    ):
        rewrite(graph, constants)
        graph.eliminate_dead_code()


def _calls(graph: Graph) -> Iterator[Node]:
    """Operator calls in execution order; the caller may erase what it is given."""
    yield from [n for n in graph.nodes if n.op == "call_function"]


def _replace(node: Node, target: Callable[..., Any], *args: Any) -> Node:
    """A call of `target` in the place of `node`."""
    with node.graph.inserting_before(node):
        new = node.graph.call_function(target, args)
    new.meta = dict(node.meta)
    node.replace_all_uses_with(new)
    node.graph.erase_node(node)
    return new


def _constant(before: Node, constants: Constants, value: torch.Tensor) -> Node:
    """A new constant, under a target that no module path can have."""
    target = f":{len(constants)}"
    constants[target] = value.detach()
    with before.graph.inserting_before(before):
        return before.graph.create_node("get_attr", target)


# ---------------------------------------------------------------- things that compute nothing


def _drop_checks(graph: Graph, constants: Constants) -> None:
    del constants
    for node in [n for n in graph.nodes if n.op == "call_module" or n.target in _CHECKS]:
        if not node.users:
            graph.erase_node(node)


def _drop_no_ops(graph: Graph, constants: Constants) -> None:
    del constants
    for node in _calls(graph):
        if _is_no_op(node):
            source = node.args[0]
            assert isinstance(source, Node)
            node.replace_all_uses_with(source)
            graph.erase_node(node)


def _is_no_op(node: Node) -> bool:
    given = arguments(node)
    match node.target:
        case aten.dropout.default | aten.feature_dropout.default | aten.alpha_dropout.default:
            return not given["train"]
        case aten.slice.Tensor:
            return not given["start"] and given["end"] in (None, sys.maxsize) and given["step"] == 1
        case aten._to_copy.default | aten.to.dtype | aten.to.dtype_layout:
            return _same_kind(node)
        case target:
            return target in _NO_OPS


def _same_kind(node: Node) -> bool:
    source = node.args[0]
    if not isinstance(source, Node) or "val" not in source.meta:
        return False
    before, after = source.meta["val"], node.meta["val"]
    return (before.dtype, before.device) == (after.dtype, after.device)


def _compute_constants(graph: Graph, constants: Constants) -> None:
    """Compute what depends on constants alone: reparametrized weights, position tables."""
    known: dict[Node, Any] = {n: constants[str(n.target)] for n in graph.nodes if n.op == "get_attr"}
    computed = []
    for node in _calls(graph):
        if all(i in known for i in node.all_input_nodes) and _is_deterministic(node):
            args, kwargs = torch.fx.map_arg((node.args, node.kwargs), known.__getitem__)
            with torch.no_grad():
                known[node] = node.target(*args, **kwargs)  # type: ignore[operator]
            computed.append(node)
    for node in computed:
        readers = [u for u in node.users if u not in known]
        if readers and isinstance(known[node], torch.Tensor):
            constant = _constant(node, constants, known[node])
            for reader in readers:
                reader.replace_input_with(node, constant)


def _is_deterministic(node: Node) -> bool:
    if isinstance(node.target, torch._ops.OpOverload):
        return torch.Tag.nondeterministic_seeded not in node.target.tags
    return node.target is operator.getitem


# ---------------------------------------------------------------- one form for each idea


def _plain_clamps(graph: Graph, constants: Constants) -> None:
    """ReLU is `relu`, ReLU6 is `hardtanh(0, 6)`, however they were written."""
    del constants
    for node in _calls(graph):
        match _clamp_bounds(node):
            case (0, None):
                _replace(node, aten.relu.default, node.args[0])
            case (0, 6):
                _replace(node, aten.hardtanh.default, node.args[0], 0.0, 6.0)


def _clamp_bounds(node: Node) -> tuple[float, float | None] | None:
    given = arguments(node)
    match node.target:
        case aten.relu6.default:
            return 0, 6
        case aten.hardtanh.default:
            return given["min_val"], given["max_val"]
        case aten.clamp.default:
            return given["min"], given["max"]
        case aten.clamp_min.default:
            return given["min"], None
        case _:
            return None


def _plain_pools(graph: Graph, constants: Constants) -> None:
    """Averages over whole windows are `avg_pool2d`: runtimes have a quantized kernel for that."""
    del constants
    for node in _calls(graph):
        given = arguments(node)
        if node.target is aten.adaptive_avg_pool2d.default:
            _pool_of(node, list(given["output_size"]))
        elif node.target is aten.mean.dim and _is_spatial_mean(node, given):
            pooled = _pool_of(node, [1, 1])
            if pooled is not None and not given["keepdim"]:
                with graph.inserting_after(pooled):
                    flat = graph.call_function(aten.flatten.using_ints, (pooled, 1))
                for reader in [r for r in pooled.users if r is not flat]:
                    reader.replace_input_with(pooled, flat)


def _is_spatial_mean(node: Node, given: Any) -> bool:
    source = node.args[0]
    assert isinstance(source, Node)
    axes = sorted(d % 4 for d in given["dim"] or ()) if source.meta["val"].dim() == 4 else []
    return axes == [2, 3] and given["dtype"] is None


def _pool_of(node: Node, size: list[int]) -> Node | None:
    """`node` as an average pool that leaves `size`; None where the windows would be of unequal size."""
    source = node.args[0]
    assert isinstance(source, Node)
    shape = source.meta["val"].shape[-2:]
    if any(not isinstance(d, int) or d % s for d, s in zip(shape, size, strict=True)):
        return None
    kernel = [d // s for d, s in zip(shape, size, strict=True)]
    return _replace(node, aten.avg_pool2d.default, source, kernel, kernel)


def _plain_padding(graph: Graph, constants: Constants) -> None:
    """`padding="same"` and `"valid"` in numbers, where both ends get the same."""
    del constants
    for node in _calls(graph):
        if node.target is not aten.conv2d.padding:
            continue
        given = arguments(node)
        kernel = given["weight"].meta["val"].shape[2:]
        reach = [d * (k - 1) for d, k in zip(given["dilation"] * 2, kernel, strict=False)]
        if given["padding"] == "valid":
            reach = [0, 0]
        if not any(r % 2 for r in reach):
            padding = [r // 2 for r in reach]
            _replace(
                node,
                aten.conv2d.default,
                *(given[k] for k in ("input", "weight", "bias", "stride")),
                padding,
                given["dilation"],
                given["groups"],
            )


def _plain_reshapes(graph: Graph, constants: Constants) -> None:
    """`reshape(x, [-1, …])`: any strides will do, and no node is left that only carries the batch size."""
    del constants
    for node in _calls(graph):
        if node.target in (aten.view.default, aten._unsafe_view.default, aten.reshape.default):
            source, size = node.args
            assert isinstance(size, list | tuple)
            open_size = [-1 if isinstance(s, Node) else s for s in size]
            _replace(
                node, aten.reshape.default, source, open_size if open_size.count(-1) == 1 else list(size)
            )


# ---------------------------------------------------------------- batch normalization


def fold_batch_norms(graph: Graph, constants: Constants) -> None:
    """w' = w·γ/√(σ²+ε), b' = (b − μ)·γ/√(σ²+ε) + β; a norm without a layer before it stays, as one node."""
    done: dict[tuple[Any, ...], tuple[Node, Node]] = {}
    for norm in _calls(graph):
        if norm.target is _BATCH_NORM and all(u.target is operator.getitem for u in norm.users):
            outputs = [u for u in norm.users if u.args[1] == 0]
            layer = _foldable_into(norm)
            if layer is None:
                _single_norm(norm, outputs)
            else:
                _fold(layer, norm, constants, done)
                for output in outputs:
                    output.replace_all_uses_with(layer)
    graph.eliminate_dead_code()


def _foldable_into(norm: Node) -> Node | None:
    layer = norm.args[0]
    if not isinstance(layer, Node) or weight_of(layer) is None or len(layer.users) != 1:
        return None
    if layer.target is aten.linear.default and layer.meta["val"].dim() != 2:
        return None
    constant = all(isinstance(a, Node) and a.op == "get_attr" for a in norm.args[1:5] if a is not None)
    return layer if constant else None


def _fold(
    layer: Node, norm: Node, constants: Constants, done: dict[tuple[Any, ...], tuple[Node, Node]]
) -> None:
    given, (gamma, beta, mean, variance), epsilon = arguments(layer), norm.args[1:5], norm.args[6]
    key = (given["weight"], given["bias"], gamma, beta, mean, variance, epsilon)
    if key not in done:
        weight = constants[str(given["weight"].target)]
        vectors = [
            constants[str(a.target)].double() if isinstance(a, Node) else torch.full((len(weight),), default)
            for a, default in zip(key[1:6], (0.0, 1.0, 0.0, 0.0, 1.0), strict=True)
        ]
        scaled, shift = _folded(weight.double(), *vectors, epsilon=float(str(epsilon)))
        done[key] = (
            _constant(layer, constants, scaled.to(weight.dtype)),
            _constant(layer, constants, shift.to(weight.dtype)),
        )
    layer.args = (layer.args[0], *done[key], *layer.args[3:])


def _folded(
    weight: torch.Tensor,
    bias: torch.Tensor,
    gamma: torch.Tensor,
    beta: torch.Tensor,
    mean: torch.Tensor,
    variance: torch.Tensor,
    *,
    epsilon: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight (out, …) and bias (out,) of a layer and its norm in one."""
    scale = gamma * (variance + epsilon).rsqrt()
    return weight * scale.reshape(-1, *[1] * (weight.dim() - 1)), (bias - mean) * scale + beta


def _single_norm(norm: Node, outputs: list[Node]) -> None:
    data, gamma, beta, mean, variance, momentum, epsilon = norm.args
    for output in outputs:
        _replace(
            output,
            aten.batch_norm.default,
            data,
            gamma,
            beta,
            mean,
            variance,
            False,
            momentum,
            epsilon,
            False,
        )
