"""Reading a traced graph: which nodes a search chooses for, and the tensors between them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.fx import GraphModule, Node

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.model import INPUT, OUTPUT, ModelSpec, NodeSpec, TensorSpec
from hawqsearch.errors import UnsupportedModelError
from hawqsearch.graph.naming import LAYER
from hawqsearch.graph.operators import activation, arguments, is_view, weight_of

__all__ = ["fingerprint", "read_spec"]

aten = torch.ops.aten


def read_spec(module: GraphModule, values: Mapping[str, Any]) -> tuple[ModelSpec, FrozenDict[str, str]]:
    """The spec of `module`, and its views: fx name -> name of the tensor it shows.

    Args:
        module: as `naming.named_module` makes it.
        values: fx name -> what that node produced on one example.

    Raises:
        UnsupportedModelError: where the output does not depend on the input.
    """
    reading = _Reading(values)
    for node in module.graph.nodes:
        reading.read(node)
    if not reading.output_follows_input():
        raise UnsupportedModelError("the model's output does not depend on its input")
    shape = next(t.shape for t in reading.tensors.values() if t.source == INPUT)
    spec = ModelSpec(
        nodes=tuple(reading.nodes),
        tensors=tuple(reading.tensor_specs()),
        input_shape=shape,
        fingerprint=fingerprint(module, shape),
        ties=_ties(reading.nodes),
    )
    return spec, FrozenDict(reading.views)


def _ties(nodes: list[NodeSpec]) -> tuple[tuple[str, ...], ...]:
    users: dict[str, list[str]] = {}
    for node in nodes:
        if node.weight is not None:
            users.setdefault(node.weight, []).append(node.name)
    return tuple(tuple(names) for names in users.values() if len(names) > 1)


@dataclass(slots=True)
class _Tensor:
    """A `TensorSpec` whose readers are still being found."""

    source: str
    shape: tuple[int, ...]
    floor_at_zero: bool = False
    ceiling: float | None = None
    targets: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Reading:
    """One pass over the graph, in execution order.

    Args:
        origins: fx name -> the tensors that its value shows; none for constants and sizes.
    """

    values: Mapping[str, Any]
    nodes: list[NodeSpec] = field(default_factory=list)
    tensors: dict[str, _Tensor] = field(default_factory=dict)
    views: dict[str, str] = field(default_factory=dict)
    origins: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def tensor_specs(self) -> Iterator[TensorSpec]:
        for name, t in self.tensors.items():
            yield TensorSpec(
                name=name,
                source=t.source,
                targets=tuple(t.targets),
                shape=t.shape,
                floor_at_zero=t.floor_at_zero,
                ceiling=t.ceiling,
            )

    def output_follows_input(self) -> bool:
        reached = {name for name, t in self.tensors.items() if t.source == INPUT}
        for node in self.nodes:
            if not reached.isdisjoint(node.inputs):
                reached.add(node.tensor)
        return any(OUTPUT in self.tensors[name].targets for name in reached)

    def read(self, node: Node) -> None:
        sources = self._sources(node)
        if node.op == "placeholder":
            self._add_tensor(node, INPUT)
        elif node.op == "output":
            self._add_reader(sources, OUTPUT)
        elif node.op == "get_attr":
            self.origins[node.name] = ()
        elif not isinstance(self.values[node.name], torch.Tensor):
            # Sizes carry no tensor; a tuple's parts (`getitem`) are the nodes, reading what made the tuple.
            self.origins[node.name] = sources if isinstance(self.values[node.name], tuple | list) else ()
        elif is_view(node):
            self._add_view(node)
        elif node.name not in self.origins:
            self._add_node(node, sources)

    def _add_view(self, view: Node) -> None:
        data = view.args[0]
        origins = self.origins[data.name] if isinstance(data, Node) else ()
        self.origins[view.name] = origins
        if origins:
            self.views[view.name] = origins[0]

    def _sources(self, node: Node) -> tuple[str, ...]:
        """Tensors that `node` reads, each once, in order."""
        return tuple(dict.fromkeys(o for i in node.all_input_nodes for o in self.origins[i.name]))

    def _add_reader(self, tensors: tuple[str, ...], reader: str) -> None:
        for name in tensors:
            self.tensors[name].targets.append(reader)

    def _add_tensor(self, node: Node, source: str) -> _Tensor:
        tensor = _Tensor(source, tuple(self.values[node.name].shape))
        self.tensors[node.name] = tensor
        self.origins[node.name] = (node.name,)
        return tensor

    def _add_node(self, node: Node, sources: tuple[str, ...]) -> None:
        op = self._op(node, sources)
        clip = _fused_activation(node) if op in ("conv", "linear", "add") else None
        last = node if clip is None else clip
        name = node.meta[LAYER] if op in ("conv", "linear") else node.name
        self.nodes.append(
            NodeSpec(
                name=name,
                op=op,
                value=node.name,
                tensor=last.name,
                inputs=sources,
                input_shape=self._input_shape(node),
                output_shape=tuple(self.values[node.name].shape),
                activation=None if clip is None else activation(clip),
                **self._geometry(node, op),
            )
        )
        self._add_reader(sources, name)
        tensor = self._add_tensor(last, name)
        self.origins[node.name] = (last.name,)
        tensor.floor_at_zero, tensor.ceiling = self._range(last, op, sources)

    def _range(self, last: Node, op: str, sources: tuple[str, ...]) -> tuple[bool, float | None]:
        if activation(last) is not None:
            return True, 6.0 if activation(last) == "relu6" else None
        if op not in ("concat", "max_pool", "avg_pool"):
            return False, None
        ceilings = [c for s in sources if (c := self.tensors[s].ceiling) is not None]
        whole = len(ceilings) == len(sources)
        return all(self.tensors[s].floor_at_zero for s in sources), max(ceilings) if whole else None

    def _op(self, node: Node, sources: tuple[str, ...]) -> str:
        value = self.values[node.name]
        if not value.is_floating_point() or not sources:
            return "other"
        if weight_of(node) is not None:
            return "conv" if node.target is aten.conv2d.default else "linear"
        if not all(self.origins[i.name] for i in node.all_input_nodes):
            return "other"
        given = arguments(node)
        match node.target:
            case aten.add.Tensor if given["alpha"] == 1 and self._all_of_shape(node):
                return "add"
            case aten.cat.default:
                return "concat"
            case aten.avg_pool2d.default if given["divisor_override"] is None:
                return "avg_pool"
            case aten.max_pool2d.default:
                return "max_pool"
            case _:
                return "other"

    def _all_of_shape(self, node: Node) -> bool:
        """Whether both addends are tensors as large as the sum: no scalar, no broadcast."""
        addends = node.args[:2]
        shape = self.values[node.name].shape
        return all(isinstance(a, Node) and self.values[a.name].shape == shape for a in addends)

    def _input_shape(self, node: Node) -> tuple[int, ...]:
        for source in node.all_input_nodes:
            value = self.values.get(source.name)
            if source.op != "get_attr" and isinstance(value, torch.Tensor):
                return tuple(value.shape)
        return ()

    def _geometry(self, node: Node, op: str) -> dict[str, Any]:
        given = arguments(node)
        window = {
            k: tuple(given[k]) for k in ("stride", "padding", "dilation") if op in _WINDOWED and k in given
        }
        if op.endswith("pool"):
            window["window"] = tuple(given["kernel_size"])
            window["stride"] = window["stride"] or window["window"]
        window = {k: v * 2 if len(v) == 1 else v for k, v in window.items()}
        if op not in ("conv", "linear"):
            return window
        weight = self.values[given["weight"].name]
        return window | {
            "weight": str(given["weight"].target),
            "weight_shape": tuple(weight.shape),
            "has_bias": given["bias"] is not None,
            "groups": given.get("groups", 1),
            "macs": math.prod(self.values[node.name].shape) * math.prod(weight.shape[1:]),
        }


_WINDOWED = frozenset({"conv", "avg_pool", "max_pool"})


def _fused_activation(node: Node) -> Node | None:
    """The ReLU or ReLU6 that is the only reader of `node`, or None."""
    readers = list(node.users)
    return readers[0] if len(readers) == 1 and activation(readers[0]) is not None else None


def fingerprint(module: GraphModule, input_shape: tuple[int, ...]) -> str:
    """SHA-256 of operators, their arguments, names and every constant's bytes."""
    digest = hashlib.sha256(repr(input_shape).encode())
    for node in module.graph.nodes:
        digest.update(f"{node.name}={node.op}:{node.target}{node.args!r}{node.kwargs!r}\n".encode())
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name}:{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().cpu().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
