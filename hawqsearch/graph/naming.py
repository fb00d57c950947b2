"""Names: layers after their module path, values after their operator, parameters after their layer."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping

import torch
from torch.fx import Graph, GraphModule, Node

from hawqsearch.core.model import INPUT, OUTPUT
from hawqsearch.graph.operators import operator_name, weight_of
from hawqsearch.graph.rewrite import Constants

__all__ = ["LAYER", "named_module", "remember_layers", "renamed", "value_names"]

LAYER = "hawqsearch_layer"
"""Key of `Node.meta` that holds a weighted node's layer name."""


def remember_layers(graph: Graph, model: torch.nn.Module) -> None:
    """Note on each weighted node which module of `model` it belongs to; a second call gets `<path>#2`.

    A module named like an end of the network (`output`) is `output#1`.
    """
    parameters = dict(model.named_parameters(remove_duplicate=False))
    taken: Counter[str] = Counter()
    for node in graph.nodes:
        weight = weight_of(node)
        if weight is not None:
            path = _module_path(node, str(weight.target), parameters)
            taken[path] += 1
            plain = taken[path] == 1 and path not in (INPUT, OUTPUT)
            node.meta[LAYER] = path if plain else f"{path}#{taken[path]}"


def _module_path(node: Node, target: str, parameters: Mapping[str, torch.Tensor]) -> str:
    stack = node.meta.get("nn_module_stack") or {}
    path = [entry[0] for entry in stack.values()][-1] if stack else ""
    own = parameters.get(f"{path}.weight")
    if own is not None and (target not in parameters or own is parameters[target]):
        return path
    if target in parameters:
        return target.removesuffix(".weight")
    return path or node.name


def named_module(graph: Graph, constants: Constants) -> GraphModule:
    """The graph with canonical names, over frozen copies of the constants it uses.

    The input is `x`; a value is named after its operator and counted (`conv2d`, `conv2d_1`); a
    layer's parameters are `<layer>.weight` and `<layer>.bias`, shared ones under the first layer's name.
    """
    targets = _constant_names(graph)
    root = torch.nn.Module()
    for old, new in targets.items():
        _put(root, new, constants[old].detach().clone())
    copy = _copy(graph, targets, _operator_names(graph))
    return GraphModule(root, copy, class_name="Traced").eval()


def _copy(graph: Graph, targets: Mapping[str, str], names: Mapping[Node, str]) -> Graph:
    copy, made = Graph(), dict[Node, Node]()
    for node in graph.nodes:
        made[node] = _copied(node, copy, made, targets, names)
    return copy


def _operator_names(graph: Graph) -> dict[Node, str]:
    """Operators counted: `add`, `add_1`; a join is a node of that name, so it takes no layer's."""
    layers = {n.meta[LAYER] for n in graph.nodes if LAYER in n.meta}
    names: dict[Node, str] = {}
    used: set[str] = set()
    for node in [n for n in graph.nodes if n.op == "call_function"]:
        taken = used if LAYER in node.meta else used | layers
        base = operator_name(node)
        candidates = itertools.chain([base], (f"{base}_{i}" for i in itertools.count(1)))
        names[node] = next(c for c in candidates if c not in taken)
        used.add(names[node])
    return names


def _constant_names(graph: Graph) -> dict[str, str]:
    """Target in `graph` -> parameter path."""
    names: dict[str, str] = {}
    for node in graph.nodes:
        if LAYER in node.meta:
            for kind, constant in zip(("weight", "bias"), node.args[1:3], strict=False):
                if isinstance(constant, Node) and constant.op == "get_attr":
                    names.setdefault(str(constant.target), f"{node.meta[LAYER]}.{kind}")
    modules = {path.rpartition(".")[0] for path in names.values()}
    for node in graph.nodes:
        if node.op == "get_attr" and str(node.target) not in names:
            names[str(node.target)] = _free(str(node.target).replace(":", "constant"), modules, names)
    return names


def _free(path: str, modules: set[str], names: Mapping[str, str]) -> str:
    while path in modules or path in names.values():
        path += "_"
    return path


def _put(root: torch.nn.Module, path: str, value: torch.Tensor) -> None:
    *parents, leaf = path.split(".")
    module = root
    for name in parents:
        if name not in module._modules:
            module.add_module(name, torch.nn.Module())
        module = module.get_submodule(name)
    if value.is_floating_point():
        module.register_parameter(leaf, torch.nn.Parameter(value, requires_grad=False))
    else:
        module.register_buffer(leaf, value)


def _copied(
    node: Node, graph: Graph, made: Mapping[Node, Node], targets: Mapping[str, str], names: Mapping[Node, str]
) -> Node:
    args, kwargs = torch.fx.map_arg((node.args, node.kwargs), made.__getitem__)
    match node.op:
        case "placeholder":
            return graph.placeholder("x")
        case "get_attr":
            target = targets.get(str(node.target), str(node.target))
            return graph.create_node("get_attr", target, name="p_" + target.replace(".", "_"))
        case "output":
            return graph.create_node("output", "output", (args[0],))
    new = graph.create_node("call_function", node.target, args, kwargs, name=names[node])
    new.meta = {k: v for k, v in node.meta.items() if k == LAYER}
    return new


# ---------------------------------------------------------------- names that survive a pickle


def value_names(module: GraphModule) -> tuple[str, ...]:
    """Names of the operator calls, in execution order."""
    return tuple(n.name for n in module.graph.nodes if n.op == "call_function")


def renamed(module: GraphModule, names: tuple[str, ...]) -> GraphModule:
    """The same module with its operator calls named `names`, in order; parameters are shared."""
    calls = [n for n in module.graph.nodes if n.op == "call_function"]
    return GraphModule(
        module, _copy(module.graph, {}, dict(zip(calls, names, strict=True))), class_name="Traced"
    ).eval()
