"""The product of a search: the precision of every layer and join, said so that any tool can carry it out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.model import ModelSpec, NodeSpec
from hawqsearch.core.placement import Placement, place
from hawqsearch.core.precision import Precision
from hawqsearch.core.problem import Config
from hawqsearch.core.target import Scheme, Target
from hawqsearch.errors import InputError

__all__ = [
    "ActivationFormat",
    "BitConfig",
    "BitJoin",
    "BitLayer",
    "Metric",
    "Origin",
    "ScalesFile",
    "WeightFormat",
    "bit_config",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFormat:
    """How a layer's weights are stored; what only integers have is None for float ones.

    Args:
        dtype: `float32`, `int2` … `int8`: the format of one code.
        container: what codes lie in: `float32`, `int8`, or `packed_int4` (eight codes share four bytes).
        granularity, axis: `per_channel` along that axis of the weight, one scale each.
        group_size: weights that share a scale, None where a whole channel does.
    """

    dtype: str
    bits: int
    container: str
    symmetric: bool | None = None
    narrow_range: bool | None = None
    granularity: str | None = None
    axis: int | None = None
    group_size: int | None = None
    scale_dtype: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationFormat:
    """The quantizer of a tensor, shared by all that read it quantized.

    Args:
        dtype: of its codes: `uint8`, `int8`, `int16`.
        mode: `static` (the scale is in the scales file) or `dynamic` (computed from each input).
        floor_at_zero: its range starts at zero, so that quantizing does what a ReLU does.
    """

    tensor: str
    dtype: str
    bits: int
    symmetric: bool
    mode: str
    floor_at_zero: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BitLayer:
    """A weighted layer, fp32 ones too.

    Args:
        param: name of the weight.
        tie: first layer of the group that makes the same choice, or None.
        input: None where the layer reads float.
        output: None where the kernel hands float on; readers may quantize it then.
        aliases: what other tools call the layer: `onnx_node`.
    """

    name: str
    op: str
    param: str
    shape: tuple[int, ...]
    tie: str | None
    precision: str
    weight: WeightFormat
    input: ActivationFormat | None
    output: ActivationFormat | None
    aliases: FrozenDict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class BitJoin:
    """An addition, concatenation or pooling: the tensors that it reads and makes.

    Args:
        quantized: those of its tensors that it reads or hands on quantized.
    """

    name: str
    op: str
    precision: str
    inputs: tuple[str, ...]
    output: str
    quantized: FrozenDict[str, ActivationFormat]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """What the configuration was found to be worth, as fractions of `split`."""

    name: str
    split: str
    fp32: float
    value: float
    stderr: float
    n: int
    runtime: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Which run a configuration comes from.

    Args:
        budget: as typed, None where nothing was bounded.
        costs: where the costs it was chosen by come from (`measured: …`).
        metric: None as long as nothing was judged.
        tool: name and version of what wrote it.
    """

    target: str
    budget: str | None
    costs: str
    metric: Metric | None
    tool: str


@dataclass(frozen=True, slots=True)
class ScalesFile:
    """The safetensors file beside a configuration, and the sha256 of its content."""

    file: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BitConfig:
    """The precision of every layer and join of one model, with the formats that it stands for."""

    model: str
    origin: Origin
    layers: FrozenDict[str, BitLayer]
    joins: FrozenDict[str, BitJoin]
    scales: ScalesFile | None

    @property
    def _parts(self) -> tuple[BitLayer | BitJoin, ...]:
        return (*self.layers.values(), *self.joins.values())

    @property
    def precisions(self) -> FrozenDict[str, str]:
        """Layer or join -> precision."""
        return FrozenDict({part.name: part.precision for part in self._parts})

    def config(self, spec: ModelSpec) -> FrozenDict[str, str]:
        """Every node of `spec` -> precision; checks first that it is the model's."""
        self.check_against(spec)
        return FrozenDict({node.name: self.precisions.get(node.name, "fp32") for node in spec.nodes})

    def check_against(self, spec: ModelSpec) -> None:
        """Raise `InputError` where this is not a configuration of the whole of that very model."""
        if self.model != spec.fingerprint:
            raise InputError(
                f"the configuration is of another model or other weights (fingerprint {self.model[:12]}, "
                f"here {spec.fingerprint[:12]}); name its own with --space and --weights, or search again"
            )
        for name in (*self.layers, *self.joins):
            spec.node(name)
        missing = [n.name for n in (*spec.layers, *spec.joins) if n.name not in self.precisions]
        if missing:
            raise InputError(
                f"the configuration says nothing of {missing[0]!r}; add it, or search this model again"
            )

    def check_kernels(self, target: Target) -> None:
        """Raise `InputError` where `target` has no kernel for one of the choices."""
        for part in self._parts:
            if part.precision != "fp32" and target.kernel(part.op, part.precision) is None:
                raise InputError(
                    f"{target.name} has no {part.precision} kernel for {part.name} ({part.op}); "
                    f"the configuration is for {self.origin.target}"
                )


def bit_config(
    spec: ModelSpec,
    target: Target,
    config: Config,
    zero_points: Mapping[str, int],
    *,
    origin: Origin,
    ties: tuple[tuple[str, ...], ...] = (),
    scales: ScalesFile | None = None,
) -> BitConfig:
    """`config` (node -> precision) with the formats that `target`'s kernels give it.

    Args:
        zero_points: tensor -> calibrated zero point, of all that are quantized.
        ties: the space's, beside those of the model.
    """
    writer = _Parts(spec, target, config, place(spec, target, config), zero_points)
    leaders = {name: group[0] for group in (*ties, *spec.ties) for name in group}
    return BitConfig(
        model=spec.fingerprint,
        origin=origin,
        layers=FrozenDict({n.name: writer.layer(n, leaders.get(n.name)) for n in spec.layers}),
        joins=FrozenDict({n.name: writer.join(n) for n in spec.joins}),
        scales=scales,
    )


@dataclass(frozen=True, slots=True)
class _Parts:
    """Layers and joins of one configuration as they are written down."""

    spec: ModelSpec
    target: Target
    config: Config
    placement: Placement
    zero_points: Mapping[str, int]

    def layer(self, node: NodeSpec, tie: str | None) -> BitLayer:
        """The entry of a weighted layer."""
        assert node.weight is not None
        (tensor,) = node.inputs
        return BitLayer(
            name=node.name,
            op=node.op,
            param=node.weight,
            shape=node.weight_shape,
            tie=tie,
            precision=str(self._precision(node)),
            weight=self._weight(node),
            input=self._read(node, tensor),
            output=self._made(node),
            aliases=FrozenDict({"onnx_node": f"{node.name}/{_onnx_op(node)}"}),
        )

    def join(self, node: NodeSpec) -> BitJoin:
        """The entry of a join."""
        found = [*(self._read(node, tensor) for tensor in node.inputs), self._made(node)]
        return BitJoin(
            name=node.name,
            op=node.op,
            precision=str(self._precision(node)),
            inputs=node.inputs,
            output=node.tensor,
            quantized=FrozenDict({f.tensor: f for f in found if f is not None}),
        )

    def _precision(self, node: NodeSpec) -> Precision:
        return Precision.parse(self.config.get(node.name, "fp32"))

    def _weight(self, node: NodeSpec) -> WeightFormat:
        precision = self._precision(node)
        if precision.is_float:
            return WeightFormat(dtype="float32", bits=32, container="float32")
        kernel = self.target.kernel(node.op, str(precision))
        bits = precision.weight.bits if kernel is None else kernel.storage_bits
        return WeightFormat(
            dtype=precision.weight.name,
            bits=precision.weight.bits,
            container="int8" if bits == 8 else f"packed_int{bits}",
            symmetric=True,
            narrow_range=self.target.scheme.narrow_weights,
            granularity="per_channel",
            axis=0,
            scale_dtype="float32",
        )

    def _read(self, node: NodeSpec, tensor: str) -> ActivationFormat | None:
        """How `node` sees what it reads, None where that is float."""
        precision = self._precision(node)
        if not self.placement.reads_quantized(precision, tensor):
            return None
        return self._activation(tensor, dynamic=precision.dynamic)

    def _made(self, node: NodeSpec) -> ActivationFormat | None:
        return self._activation(node.tensor) if node.tensor in self.placement.requantized else None

    def _activation(self, tensor: str, *, dynamic: bool = False) -> ActivationFormat:
        scheme, bits = self.target.scheme, self.placement.activations[tensor].bits
        return ActivationFormat(
            tensor=tensor,
            dtype=_code_type(scheme, bits),
            bits=bits,
            symmetric=scheme.symmetric_activations,
            mode="dynamic" if dynamic else "static",
            floor_at_zero=self.zero_points[tensor] == scheme.activation_codes[0],
        )


def _code_type(scheme: Scheme, bits: int) -> str:
    return f"int{bits}" if scheme.signed_activations or bits > 8 else f"uint{bits}"


def _onnx_op(node: NodeSpec) -> str:
    if node.op == "conv":
        return "Conv"
    return "Gemm" if len(node.input_shape) == 2 else "MatMul"
