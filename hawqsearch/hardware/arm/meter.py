"""Runs -> amounts of work: instructions of a kernel set, or cycles of a core."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import onnx

from hawqsearch.core.hardware import Change, ChangeKey, KernelKey, Signature
from hawqsearch.core.target import Scheme
from hawqsearch.hardware.arm.attribution import (
    CALIBRATION,
    CostOf,
    Overheads,
    calibration_model,
    change_cost,
    kernel_cost,
    named_cost,
    overheads,
)
from hawqsearch.hardware.arm.counts import ModelRun
from hawqsearch.hardware.arm.simulator import Job, Simulator
from hawqsearch.hardware.micro import change_model, kernel_model

__all__ = ["Meter", "calibration_runs", "jobs_of"]


@dataclass(frozen=True, slots=True)
class Meter:
    """A unit of cost, and what in every run is no kernel's, in that unit."""

    cost_of: CostOf
    around: Overheads

    @classmethod
    def calibrated(cls, cost_of: CostOf, runs: dict[str, ModelRun]) -> Meter:
        """With its overheads from the calibration runs."""
        return cls(cost_of, overheads(runs, cost_of))

    def cost(self, key: object, run: ModelRun) -> float:
        """What `run` cost: a kernel's or a change's own part, or all of any other model."""
        match key:
            case KernelKey() if _has_a_neighbour(key):
                return named_cost(run, self.around, self.cost_of)
            case KernelKey():
                return kernel_cost(run, self.around, self.cost_of)
            case ChangeKey():
                return change_cost(run, self.around, self.cost_of)
            case _:
                return self.cost_of(run.whole)


def calibration_runs(simulator: Simulator) -> dict[str, ModelRun]:
    """Runs that `Meter.calibrated` reads."""
    jobs = {name: Job(partial(calibration_model, name), nodes=True) for name in CALIBRATION}
    return simulator.run_all(jobs, lambda name, run: run)


def jobs_of(
    kernels: Iterable[KernelKey], changes: Iterable[ChangeKey], scheme: Scheme
) -> dict[KernelKey | ChangeKey, Job]:
    """The smallest models of kernels and changes; only an int8 kernel's has nodes that must be told apart."""
    jobs: dict[KernelKey | ChangeKey, Job] = {}
    for kernel in kernels:
        int8 = kernel.precision != "fp32"
        build = _after_a_convolution if _has_a_neighbour(kernel) else kernel_model
        jobs[kernel] = Job(partial(build, kernel.signature, int8=int8, scheme=scheme), nodes=int8)
    for change in changes:
        to_int8 = change.change is Change.TO_INT8
        jobs[change] = Job(partial(change_model, change.shape, to_int8=to_int8, scheme=scheme), nodes=True)
    return jobs


def _has_a_neighbour(key: KernelKey) -> bool:
    """Whether the kernel runs as it does in a network only beside an int8 convolution.

    onnxruntime has a fast int8 max pooling for channels-last tensors, which it takes where the tensor is so
    already, and a slow one for all others.
    """
    return key.signature.op == "max_pool" and key.precision != "fp32"


def _after_a_convolution(signature: Signature, *, int8: bool, scheme: Scheme) -> onnx.ModelProto:
    """The kernel's model behind a 1x1 convolution that leaves its input channels-last."""
    channels = signature.input_shape[1]
    before = Signature(
        op="conv",
        input_shape=signature.input_shape,
        output_shape=signature.input_shape,
        weight_shape=(channels, channels, 1, 1),
        stride=(1, 1),
        padding=(0, 0),
        dilation=(1, 1),
    )
    alone = [kernel_model(s, int8=int8, scheme=scheme) for s in (before, signature)]
    first, second = (onnx.shape_inference.infer_shapes(model) for model in alone)
    first = onnx.compose.add_prefix(first, "before_")
    joint = [(first.graph.output[0].name, second.graph.input[0].name)]
    return onnx.compose.merge_models(first, second, io_map=joint)
