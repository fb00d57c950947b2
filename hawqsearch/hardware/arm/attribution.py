"""What a kernel or a change of precision costs, out of the runs of its smallest model.

Three things in a run are not the kernel's: what every run costs however small the model (`Overheads.run`),
what brings tensors into the kernel's layout (Transpose nodes around an int8 convolution: whoever changes the
precision pays for them), and, in counts per node, the profiler's own work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.errors import DeviceError
from hawqsearch.hardware.arm.counts import Counts, ModelRun, NodeRun

__all__ = [
    "CALIBRATION",
    "Overheads",
    "calibration_model",
    "change_cost",
    "kernel_cost",
    "named_cost",
    "overheads",
]

CostOf = Callable[[Counts], float]

_AROUND: Final = frozenset(
    {"ReorderInput", "ReorderOutput", "Transpose", "QuantizeLinear", "DequantizeLinear"}
)
_KERNEL: Final = "kernel"
_SHAPE: Final = (1, 4, 2, 2)
_OPSET: Final = 21
CALIBRATION: Final[tuple[str, ...]] = ("one", "two", "Transpose", "QuantizeLinear", "DequantizeLinear")
"""Models whose runs `overheads` reads: one and two of the same node, and one of each that stands around kernels."""


@dataclass(frozen=True, slots=True)
class Overheads:
    """Costs that are no kernel's, in the unit of the cost function they were made with.

    Args:
        run: of one run of a model, its nodes apart.
        profiler: operator -> what the profiler adds to the counts of such a node.
    """

    run: float
    profiler: FrozenDict[str, float]


def calibration_model(name: str) -> onnx.ModelProto:
    """The model that `CALIBRATION` names."""
    float_in, float_out = name in ("one", "two", "QuantizeLinear"), name in ("one", "two", "DequantizeLinear")
    scale = numpy_helper.from_array(np.array(0.1, np.float32), "scale")
    zero = numpy_helper.from_array(np.array(-128, np.int8), "zero")
    constants = [scale, zero] if name.endswith("Linear") else []
    match name:
        case "one":
            nodes = [helper.make_node("Sqrt", ["x"], ["y"])]
        case "two":
            nodes = [helper.make_node("Sqrt", ["x"], ["h"]), helper.make_node("Sqrt", ["h"], ["y"])]
        case "Transpose":
            nodes = [helper.make_node("Transpose", ["x"], ["y"], perm=[0, 2, 3, 1])]
        case _:
            nodes = [helper.make_node(name, ["x", "scale", "zero"], ["y"])]
    kinds = {True: TensorProto.FLOAT, False: TensorProto.INT8}
    inputs = [helper.make_tensor_value_info("x", kinds[float_in], _SHAPE)]
    outputs = [helper.make_tensor_value_info("y", kinds[float_out], None)]
    graph = helper.make_graph(nodes, "calibration", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=10)


def overheads(runs: Mapping[str, ModelRun], cost_of: CostOf) -> Overheads:
    """Overheads from the runs of every calibration model, with their nodes."""
    run = 2 * cost_of(runs["one"].whole) - cost_of(runs["two"].whole)
    profiler = {
        op: cost_of(runs[op].nodes[0].counts) - (cost_of(runs[op].whole) - run)
        for op in CALIBRATION
        if op in _AROUND
    }
    return Overheads(run, FrozenDict(profiler))


def kernel_cost(run: ModelRun, around: Overheads, cost_of: CostOf) -> float:
    """Cost of the one kernel of a model that `kernel_model` made."""
    if run.nodes and all(node.op in _AROUND for node in run.nodes):
        raise DeviceError(f"the simulated run shows no kernel, only {sorted({n.op for n in run.nodes})}")
    outside = sum(_own(node, around, cost_of) for node in run.nodes if node.op in _AROUND)
    return max(0.0, cost_of(run.whole) - around.run - outside)


def named_cost(run: ModelRun, around: Overheads, cost_of: CostOf) -> float:
    """Cost of the kernel of a model in which other kernels run beside it."""
    own = [node for node in run.nodes if node.name.startswith(_KERNEL) and _is_kernel(node)]
    if not own:
        raise DeviceError(f"the simulated run shows no kernel, only {sorted({n.op for n in run.nodes})}")
    return sum(_own(node, around, cost_of) for node in own)


def change_cost(run: ModelRun, around: Overheads, cost_of: CostOf) -> float:
    """Cost of what ran between the two kernels of a model that `change_model` made."""
    first, second = (
        next(i for i, n in enumerate(run.nodes) if n.name.startswith(f"{_KERNEL}{k}") and _is_kernel(n))
        for k in (0, 1)
    )
    between = run.nodes[first + 1 : second]
    if not between:
        raise DeviceError("the runtime ran nothing between two kernels of different precision")
    return sum(_own(node, around, cost_of) for node in between)


def _own(node: NodeRun, around: Overheads, cost_of: CostOf) -> float:
    """A node's cost without the profiler's."""
    typical = max(around.profiler.values())
    return max(0.0, cost_of(node.counts) - around.profiler.get(node.op, typical))


def _is_kernel(node: NodeRun) -> bool:
    return node.op not in _AROUND and node.op != "Cast"
