"""Which tensors and weights a configuration quantizes: one rule, for simulation, scores and exporters."""

from __future__ import annotations

from dataclasses import dataclass

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.model import ModelSpec, TensorSpec
from hawqsearch.core.precision import FP32, Format, Precision
from hawqsearch.core.problem import Config
from hawqsearch.core.target import Target
from hawqsearch.errors import InputError

__all__ = ["Placement", "leaves_quantized", "place"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The set of quantizers of one configuration.

    Args:
        weights: layer -> format of its weights; float layers are absent.
        activations: tensor -> format of its quantizer; float tensors are absent.
        requantized: tensors that leave their kernel quantized, so that float readers see the rounding
            too; on other quantized tensors float readers read the float value.
    """

    weights: FrozenDict[str, Format]
    activations: FrozenDict[str, Format]
    requantized: frozenset[str]

    def reads_quantized(self, node_precision: Precision, tensor: str) -> bool:
        """Whether a node of that precision sees the tensor's quantized value."""
        return tensor in self.activations and (tensor in self.requantized or node_precision.quantizes_input)


def place(spec: ModelSpec, target: Target, config: Config) -> Placement:
    """The quantizers of `config` (node name -> precision; nodes not named are fp32). DESIGN section 2.

    A tensor is quantized if its producer's kernel requantizes its output, or if any reader is int8;
    one quantizer per tensor, shared by all of its readers.

    Raises `InputError` for a precision whose rounding nothing simulates: it would pass for fp32 or int8.
    """
    precision = {n.name: Precision.parse(config.get(n.name, "fp32")) for n in spec.nodes}
    for name, chosen in precision.items():
        if not chosen.is_simulated:
            raise InputError(
                f"{name}: {chosen} cannot be simulated; choose w8a8 … w2a8, w8a16 … w2a16 or fp32"
            )
    requantized = frozenset(t.name for t in spec.tensors if leaves_quantized(spec, target, config, t))
    return Placement(
        weights=FrozenDict(
            {n.name: precision[n.name].weight for n in spec.layers if not precision[n.name].is_float}
        ),
        activations=FrozenDict(
            {
                t.name: Format("int8")
                for t in spec.tensors
                if t.name in requantized or any(precision.get(r, FP32).quantizes_input for r in t.targets)
            }
        ),
        requantized=requantized,
    )


def leaves_quantized(spec: ModelSpec, target: Target, config: Config, tensor: TensorSpec) -> bool:
    """Whether the kernel that makes `tensor` hands it over quantized, whoever reads it."""
    if tensor.source not in config:
        return False
    kernel = target.kernel(spec.node(tensor.source).op, config[tensor.source])
    return kernel is not None and kernel.requantizes
