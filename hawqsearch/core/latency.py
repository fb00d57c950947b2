"""Latency of a whole configuration: kernels, precision changes on edges, and a fixed part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.hardware import Change
from hawqsearch.core.model import OUTPUT, ModelSpec, TensorSpec
from hawqsearch.core.placement import leaves_quantized
from hawqsearch.core.precision import FP32, Precision
from hawqsearch.core.problem import Config
from hawqsearch.core.target import Target

__all__ = ["LatencyModel", "Term", "changes_of", "terms_of"]


@dataclass(frozen=True, slots=True)
class Term:
    """One addend: a node's kernel at the precision that is timed, or a change of precision on a tensor."""

    name: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyModel:
    """Milliseconds of every term of one network, and of the fixed part.

    Args:
        spread: standard deviation of measured / predicted over configurations that it was not fitted on.
        n_fitted: whole configurations that it was fitted on; 0 for a plain sum of parts.
    """

    fixed_ms: float
    terms: FrozenDict[Term, float]
    spread: float
    n_fitted: int

    def predict_ms(self, spec: ModelSpec, target: Target, config: Config) -> float:
        """Latency of `config`."""
        return self.fixed_ms + sum(self.terms[term] for term in terms_of(spec, target, config))


def terms_of(spec: ModelSpec, target: Target, config: Config) -> Iterator[Term]:
    """The terms that `config` pays: one per node that has a kernel, one per change on a tensor."""
    for node in spec.nodes:
        kernel = target.kernel(node.op, config.get(node.name, "fp32"))
        if kernel is not None:
            yield Term(node.name, kernel.timed_as)
    for tensor in spec.tensors:
        for change in changes_of(spec, target, config, tensor):
            yield Term(tensor.name, change.value)


def changes_of(spec: ModelSpec, target: Target, config: Config, tensor: TensorSpec) -> Iterator[Change]:
    """Changes of precision on `tensor`: each is paid once, however many read it."""
    readers = [FP32 if r == OUTPUT else Precision.parse(config.get(r, "fp32")) for r in tensor.targets]
    if leaves_quantized(spec, target, config, tensor):
        if any(not r.quantizes_input for r in readers):
            yield Change.TO_FLOAT
    elif any(r.quantizes_input for r in readers):
        yield Change.TO_INT8
