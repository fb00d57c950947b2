"""Which quantizers a search can choose, and what each does to the network on its own."""

from __future__ import annotations

import torch

from hawqsearch.core.model import ModelSpec, NodeSpec
from hawqsearch.core.placement import place
from hawqsearch.core.precision import Format
from hawqsearch.core.sensitivity import QuantizerChoice
from hawqsearch.core.space import Allowed
from hawqsearch.core.target import Target
from hawqsearch.graph.run import Sweep
from hawqsearch.quant.calibrated import CalibratedModel

__all__ = ["choices_at", "perturbed", "quantizer_choices"]


def quantizer_choices(spec: ModelSpec, target: Target, allowed: Allowed) -> tuple[QuantizerChoice, ...]:
    """Every quantizer that some allowed configuration has: weights in node order, then tensors."""
    weights = [
        QuantizerChoice("weight", layer.name, precision.weight.name)
        for layer in spec.layers
        for precision in allowed.precisions[layer.name]
        if not precision.is_float
    ]
    tensors: dict[str, None] = {}
    for node in spec.nodes:
        for precision in allowed.precisions[node.name]:
            placement = place(spec, target, {node.name: str(precision)})
            tensors |= dict.fromkeys(placement.activations)
    ordered = [t.name for t in spec.tensors if t.name in tensors]
    return (*dict.fromkeys(weights), *(QuantizerChoice("activation", name, "int8") for name in ordered))


def choices_at(
    name: str, by_value: dict[str, NodeSpec], choices: tuple[QuantizerChoice, ...]
) -> list[QuantizerChoice]:
    """The choices that take effect at the graph's value `name`: its layer's weights, or the tensor itself."""
    layer = by_value[name].name if name in by_value else None
    return [
        c
        for c in choices
        if (c.kind == "activation" and c.name == name) or (c.kind == "weight" and c.name == layer)
    ]


def perturbed(sweep: Sweep, name: str, choice: QuantizerChoice, calibrated: CalibratedModel) -> torch.Tensor:
    """The value at `name`, where `sweep` stands, if only `choice` were made: same shape."""
    if choice.kind == "activation":
        return calibrated.activation(choice.name).fake_quantize(sweep.value(name), calibrated.scheme)
    node = calibrated.traced.spec.node(choice.name)
    weight = calibrated.weight(choice.name, Format(choice.format).bits)
    if node.has_bias:
        return sweep.again({f"{choice.name}.weight": weight.dequantized, f"{choice.name}.bias": weight.bias})
    value = sweep.again({f"{choice.name}.weight": weight.dequantized})
    channels = (1, -1, *[1] * (value.dim() - 2)) if node.op == "conv" else (-1,)
    return value + weight.bias.view(channels)
