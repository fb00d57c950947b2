"""The network that a configuration computes: every quantizer of its placement, and no other.

Values are those that the int8 kernels stand for, computed in float32: int8 products add up
exactly in the kernel and nearly so here, which can move a value that lies on a rounding boundary by a step.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.fx import Interpreter, Node

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.placement import Placement
from hawqsearch.core.precision import FP32, Precision
from hawqsearch.core.problem import Config
from hawqsearch.core.sensitivity import QuantizerChoice
from hawqsearch.errors import InputError
from hawqsearch.quant.bias import round_bias
from hawqsearch.quant.calibrated import CalibratedModel

__all__ = ["Simulation", "simulate"]


def simulate(calibrated: CalibratedModel, placement: Placement, config: Config) -> Simulation:
    """What `config` computes with the quantizers of `placement`.

    Args:
        placement: of this very configuration: see `core.placement.place`.
        config: node name -> precision; nodes not named are fp32.

    Raises:
        InputError: for dynamic or 16-bit activations, which nothing here computes.
    """
    spec = calibrated.traced.spec
    precisions = {n.name: Precision.parse(config.get(n.name, "fp32")) for n in spec.nodes}
    for name, precision in precisions.items():
        if precision.dynamic or precision.activation.name not in ("fp32", "int8"):
            raise InputError(f"{name}: {precision} cannot be simulated; choose w8a8 … w2a8, w8a16 … or fp32")
    return Simulation(
        calibrated=calibrated,
        placement=placement,
        precisions=FrozenDict({n.value: precisions[n.name] for n in spec.nodes}),
        layers=FrozenDict({spec.node(name).value: name for name in placement.weights}),
        parameters=FrozenDict(
            {
                spec.node(name).value: _parameters(
                    calibrated, name, placement.weights[name].bits, precisions[name]
                )
                for name in placement.weights
            }
        ),
    )


def _parameters(
    calibrated: CalibratedModel, layer: str, bits: int, precision: Precision
) -> tuple[Tensor, Tensor]:
    """Weight and bias as the kernel has them: an int8 kernel's bias is rounded too."""
    weight = calibrated.weight(layer, bits)
    if not precision.quantizes_input:
        return weight.dequantized, weight.bias
    tensor = calibrated.traced.spec.node(layer).inputs[0]
    return weight.dequantized, round_bias(weight.bias, calibrated.activation(tensor).scale, weight.scale)


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """The quantized network, to be called with inputs (n, …); build it with `simulate`.

    Args:
        precisions: fx name of a node's operator -> its precision.
        layers: fx name -> the quantized layer of that name.
        parameters: fx name -> weight and bias that the layer computes with.
    """

    calibrated: CalibratedModel
    placement: Placement
    precisions: FrozenDict[str, Precision]
    layers: FrozenDict[str, str]
    parameters: FrozenDict[str, tuple[Tensor, Tensor]]
    _applied: set[QuantizerChoice] = field(default_factory=set, init=False, repr=False, compare=False)

    def __call__(self, inputs: Tensor) -> Tensor:
        """Outputs (n, …), no gradient recorded."""
        with torch.no_grad():
            output: Tensor = _Pass(self).run(inputs)
        return output

    @property
    def applied(self) -> frozenset[QuantizerChoice]:
        """The quantizers that calls have really applied so far; none before the first."""
        return frozenset(self._applied)

    def round_tensor(self, tensor: str, value: Tensor) -> Tensor:
        """`value` through the tensor's quantizer, which is noted as applied."""
        self._applied.add(QuantizerChoice("activation", tensor, str(self.placement.activations[tensor])))
        return self.calibrated.activation(tensor).fake_quantize(value, self.calibrated.scheme)

    def layer_parameters(self, fx_name: str) -> tuple[Tensor, Tensor]:
        """Weight and bias of a quantized layer, whose quantizer is noted as applied."""
        layer = self.layers[fx_name]
        self._applied.add(QuantizerChoice("weight", layer, str(self.placement.weights[layer])))
        return self.parameters[fx_name]


@dataclass(frozen=True, slots=True)
class _Both:
    """A tensor that some readers see rounded and others as it is."""

    raw: Tensor
    rounded: Tensor


class _Pass(Interpreter):
    """One forward pass; a value in its environment is a tensor or, where readers differ, a `_Both`."""

    def __init__(self, simulation: Simulation) -> None:
        super().__init__(simulation.calibrated.traced.module)
        self._simulation = simulation
        self._origins = simulation.calibrated.traced.views

    def run_node(self, n: Node) -> Any:
        """The node's value, rounded for all readers, for some, or for none."""
        if n.name in self._origins:
            return self._view(n)
        value = super().run_node(n)
        placement = self._simulation.placement
        if n.name not in placement.activations:
            return value
        rounded = self._simulation.round_tensor(n.name, value)
        return rounded if n.name in placement.requantized else _Both(value, rounded)

    def fetch_args_kwargs_from_env(self, n: Node) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments as this reader sees them, with a quantized layer's parameters in the place of its own."""
        rounded = self._simulation.precisions.get(n.name, FP32).quantizes_input
        args, kwargs = torch.fx.map_arg((n.args, n.kwargs), lambda source: self._seen(source, rounded))
        if n.name in self._simulation.layers:
            args = (args[0], *self._simulation.layer_parameters(n.name), *args[3:])
        return args, kwargs

    def _view(self, n: Node) -> Any:
        """A view of both values where there are two: a quantizer's tensor is seen through its views."""
        source = n.args[0]
        both = self.env[source] if isinstance(source, Node) else None
        if not isinstance(both, _Both):
            return super().run_node(n)
        function: Any = n.target
        rest = torch.fx.map_arg((n.args[1:], n.kwargs), lambda other: self._seen(other, False))
        return _Both(*(function(value, *rest[0], **rest[1]) for value in (both.raw, both.rounded)))

    def _seen(self, source: Node, rounded: bool) -> Any:
        value = self.env[source]
        if not isinstance(value, _Both):
            return value
        return value.rounded if rounded else value.raw
