"""A module and an example become a `TracedModel`: a folded graph and what a search needs to know of it."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch.fx import Graph, GraphModule, Interpreter, Node
from torch.utils import _pytree as pytree

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.model import ModelSpec
from hawqsearch.errors import UnsupportedModelError
from hawqsearch.graph.naming import named_module, remember_layers, renamed, value_names
from hawqsearch.graph.quiet import quiet
from hawqsearch.graph.rewrite import Constants, fold_batch_norms, simplify
from hawqsearch.graph.spec import read_spec

__all__ = ["TracedModel", "trace"]

_ERRORS: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What a network's own `forward`, or torch while it traces one, raises."""

_OUTPUT: Final = "output"
_TOLERANCE: Final = 1e-3
"""Largest relative difference between model and folded graph: float32 rounding stays far below."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedModel:
    """A network for inference, as a graph of aten operators.

    Args:
        spec: its layers, joins and tensors.
        module: (n, …) -> (n, …), any n; batch normalization folded, parameters `<layer>.weight` and
            `<layer>.bias`, node names as in `spec`. Read it, never change it.
        views: fx name of a view -> the tensor of `spec` that it shows.
        input_dtype: of what `module` takes.
    """

    spec: ModelSpec
    module: GraphModule
    views: FrozenDict[str, str]
    input_dtype: torch.dtype = torch.float32

    def __reduce__(self) -> tuple[Any, ...]:
        # A pickled GraphModule is traced anew when read, under other names.
        return _restored, (self.spec, self.module, self.views, self.input_dtype, value_names(self.module))


def _restored(
    spec: ModelSpec,
    module: GraphModule,
    views: FrozenDict[str, str],
    input_dtype: torch.dtype,
    names: tuple[str, ...],
) -> TracedModel:
    return TracedModel(spec=spec, module=renamed(module, names), views=views, input_dtype=input_dtype)


def trace(model: torch.nn.Module, example: torch.Tensor) -> TracedModel:
    """`model` in evaluation mode as a graph; the model itself stays as it is.

    Args:
        model: takes one tensor, returns one tensor.
        example: (n, …), n at least 1.

    Raises:
        UnsupportedModelError: where the model does not run on `example`, cannot be traced for every
            batch size, takes or returns several tensors, answers NaN or infinity, or answers otherwise
            once traced. Names the reason.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        own = _own_copy(model)
        expected = _answer(own, example)
        module = _folded(own, example)
        values = _values(module, example[:1])
        _check_answer(expected, module(example))
        _check_rows(values[_OUTPUT], module(_pair(example[:1])))
        spec, views = read_spec(module, values)
    return TracedModel(spec=spec, module=module, views=views, input_dtype=example.dtype)


def _own_copy(model: torch.nn.Module) -> torch.nn.Module:
    """A copy for inference, which may change its input in place: it gets one of its own."""
    try:
        own = copy.deepcopy(model).eval().requires_grad_(False)
    except _ERRORS as error:
        raise UnsupportedModelError(f"the model cannot be copied: {_reason(error)}") from error
    own.register_forward_pre_hook(lambda _, inputs: (inputs[0].clone(), *inputs[1:]))
    return own


def _answer(model: torch.nn.Module, example: torch.Tensor) -> torch.Tensor:
    try:
        leaves = pytree.tree_leaves(model(example))
    except _ERRORS as error:
        shape = tuple(example.shape)
        raise UnsupportedModelError(
            f"the model does not run on an input of shape {shape}: {_reason(error)}"
        ) from error
    if len(leaves) != 1 or not isinstance(leaves[0], torch.Tensor):
        raise UnsupportedModelError(f"the model returns {len(leaves)} values; wrap it to return one tensor")
    if not leaves[0].isfinite().all():
        raise UnsupportedModelError(
            "the model answers NaN or infinity on the example; check its weights and its input"
        )
    return leaves[0]


def _check_answer(expected: torch.Tensor, answer: torch.Tensor) -> None:
    if not _agree(expected, answer):
        raise UnsupportedModelError(
            "the traced model answers otherwise than the model; does it draw random numbers when evaluated?"
        )


def _check_rows(alone: torch.Tensor, together: torch.Tensor) -> None:
    """One row, against the answer to that row twice."""
    if alone.dim() == 0 or len(alone) != 1 or not _agree(_pair(alone), together):
        raise UnsupportedModelError(
            "the model's answer to one input depends on the rest of the batch (a reshape to a constant, "
            "statistics over the batch?); its first dimension must be the batch throughout"
        )


def _agree(expected: torch.Tensor, answer: torch.Tensor) -> bool:
    scale = max(float(expected.abs().max()), 1e-6) if expected.numel() else 1.0
    return answer.shape == expected.shape and bool(((expected - answer).abs() <= _TOLERANCE * scale).all())


def _pair(example: torch.Tensor) -> torch.Tensor:
    """The first two rows, or the only one twice."""
    return torch.cat([example, example])[:2]


def _folded(model: torch.nn.Module, example: torch.Tensor) -> GraphModule:
    with quiet():
        graph, constants = _exported(model, example)
        simplify(graph, constants)
        remember_layers(graph, model)
        fold_batch_norms(graph, constants)
        return named_module(graph, constants)


def _values(module: GraphModule, example: torch.Tensor) -> dict[str, Any]:
    """fx name -> value of every node; the answer is `output`'s."""
    recorder = _Recorder(module)
    recorder.run(example)
    return recorder.values


class _Recorder(Interpreter):
    def __init__(self, module: GraphModule) -> None:
        super().__init__(module)
        self.values: dict[str, Any] = {}

    def run_node(self, n: Node) -> Any:
        value = super().run_node(n)
        self.values[n.name] = value
        return value


# ---------------------------------------------------------------- torch.export


def _exported(model: torch.nn.Module, example: torch.Tensor) -> tuple[Graph, Constants]:
    """A functional aten graph with one input and one output, and its constants by path."""
    # Two rows: torch specializes the graph where a dimension is 0 or 1.
    try:
        program = torch.export.export(model, (_pair(example),), dynamic_shapes=({0: torch.export.Dim.AUTO},))
        program = program.run_decompositions({})
    except _ERRORS as error:
        raise UnsupportedModelError(f"the model cannot be traced: {_reason(error)}") from error
    changed = [*program.graph_signature.buffers_to_mutate.values()]
    if changed:
        raise UnsupportedModelError(f"the model changes its buffer {changed[0]!r} while it answers")
    module = program.module()
    assert isinstance(module, GraphModule)
    graph = module.graph
    _plain_output(graph)
    _check_batch(graph)
    targets = [str(n.target) for n in graph.nodes if n.op == "get_attr"]
    graph.owning_module = None  # or every rewrite would be checked against the modules that it replaces
    return graph, {t: _attribute(module, t) for t in targets}


def _attribute(module: torch.nn.Module, path: str) -> torch.Tensor:
    parent, _, leaf = path.rpartition(".")
    found: torch.Tensor = getattr(module.get_submodule(parent), leaf)
    return found


def _plain_output(graph: Graph) -> None:
    """Return the tensor itself, whatever container the model put it in."""
    (output,) = [n for n in graph.nodes if n.op == "output"]
    output.args = tuple(output.all_input_nodes)
    graph.set_codegen(torch.fx.graph.CodeGen())


def _check_batch(graph: Graph) -> None:
    placeholders = [n for n in graph.nodes if n.op == "placeholder"]
    if len(placeholders) != 1:
        raise UnsupportedModelError(f"the model takes {len(placeholders)} tensors; wrap it to take one")
    if isinstance(placeholders[0].meta["val"].shape[0], int):
        raise UnsupportedModelError(
            "the model fixes its batch size (a reshape to a constant?); use x.shape[0] or -1 instead"
        )


# ---------------------------------------------------------------- reasons in one line


def _reason(error: BaseException) -> str:
    """One line on what stopped torch, with the line of the model's source where torch knows it."""
    text = str(error)
    line = re.search(r'File "([^"]+)", line (\d+), in \w+\n(?:[ \t]+(\S[^\n]*))?', text)
    line = line or re.search(r"Caused by: \(([^:()]+):(\d+) in (?!__torch_function__)\w+\)()", text)
    code = f" at `{line[3].strip()}`" if line and line[3] else ""
    where = f"{code} ({line[1].rpartition('/')[2]}:{line[2]})" if line else ""
    if "data-dependent" in text:
        return f"its control flow depends on the values of its input{where}; use torch.where or torch.cond"
    operator = re.search(r"\b(\w+)(?:::|\.)(\w+)\b(?:\.(\w+))?", text)
    if isinstance(error, NotImplementedError) or "nsupported" in type(error).__name__:
        named = f"operator {operator[0]}" if operator else "an operator"
        return f"{named} is not supported{where}: {_first_line(text)}"
    return _first_line(text) + where


def _first_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else "no reason given"
