"""A network with all that its quantizers need: ranges of tensors, statistics of layers."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.model import ModelSpec, NodeSpec
from hawqsearch.core.target import Scheme
from hawqsearch.errors import UnknownNameError
from hawqsearch.graph.trace import TracedModel
from hawqsearch.quant.bias import least_weight_scale
from hawqsearch.quant.ranges import ActivationRange, calibrate_range, observe
from hawqsearch.quant.statistics import InputStatistics, collect_statistics
from hawqsearch.quant.weights import QuantizedWeight, quantize_weight

__all__ = ["CalibratedModel", "calibrate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibratedModel:
    """A traced network and the quantizers of its every weight and tensor, under one scheme.

    What it returns depends on nothing but its fields, so threads may share it: two that ask for the same
    weight at once both compute it, and get the same.

    Args:
        statistics: of each weighted layer's unfolded input.
        ranges: of each floating-point tensor.
        known: (layer, bits) -> weights that were quantized before.
    """

    traced: TracedModel
    scheme: Scheme
    statistics: FrozenDict[str, InputStatistics]
    ranges: FrozenDict[str, ActivationRange]
    known: FrozenDict[tuple[str, int], QuantizedWeight] = FrozenDict()  # noqa: RUF009  (frozen)
    _weights: dict[tuple[str, int], QuantizedWeight] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def weight(self, layer: str, bits: int) -> QuantizedWeight:
        """The weight of `layer` in `bits` bits with its corrected bias; computed once."""
        if (layer, bits) in self.known:
            return self.known[layer, bits]
        if (layer, bits) not in self._weights:
            self._weights.setdefault((layer, bits), self._quantized(layer, bits))
        return self._weights[layer, bits]

    def activation(self, tensor: str) -> ActivationRange:
        """Scale and zero point of `tensor`; raises `UnknownNameError` with the nearest."""
        if tensor not in self.ranges:
            raise UnknownNameError("tensor", tensor, self.ranges)
        return self.ranges[tensor]

    def float_parameters(self, layer: str) -> tuple[Tensor, Tensor | None]:
        """Weight and bias of `layer` as they are, batch normalization folded in."""
        return _parameters(self.traced, self.traced.spec.node(layer))

    def _quantized(self, layer: str, bits: int) -> QuantizedWeight:
        node = self.traced.spec.node(layer)
        weight, bias = _parameters(self.traced, node)
        floor = None
        if bias is not None and node.inputs[0] in self.ranges:
            floor = least_weight_scale(bias, self.ranges[node.inputs[0]].scale)
        return quantize_weight(
            weight, bias, self.statistics[layer], bits=bits, scheme=self.scheme, least_scale=floor
        )


def calibrate(traced: TracedModel, images: Tensor, scheme: Scheme, *, seed: int) -> CalibratedModel:
    """`traced` with its ranges and statistics taken from `images` (n, …), which 64 examples are enough for.

    Raises:
        UnsupportedModelError: where a tensor is not finite on the images.
    """
    spec = traced.spec
    observed = observe(traced, images, [t.name for t in spec.tensors], seed=seed)
    floats = [t for t in spec.tensors if observed[t.name].sample.is_floating_point()]
    ranges = {t.name: calibrate_range(t, observed[t.name], scheme) for t in floats}
    return CalibratedModel(
        traced=traced,
        scheme=scheme,
        statistics=collect_statistics(traced, images, [n.name for n in spec.layers], seed=seed),
        ranges=FrozenDict(_through_max_pools(spec, ranges)),
    )


def _through_max_pools(spec: ModelSpec, ranges: dict[str, ActivationRange]) -> dict[str, ActivationRange]:
    """Ranges where what a max pool returns has the range of what it reads: int8 kernels hand the codes on."""
    for node in spec.nodes:
        if node.op == "max_pool":
            ranges[node.tensor] = ranges[node.inputs[0]]
    return ranges


def _parameters(traced: TracedModel, node: NodeSpec) -> tuple[Tensor, Tensor | None]:
    """What the layer's operator reads besides its data."""
    (call,) = [n for n in traced.module.graph.nodes if n.name == node.value]
    weight, *bias = call.all_input_nodes[1:]
    state = traced.module.state_dict()
    return state[str(weight.target)], state[str(bias[0].target)] if bias else None
