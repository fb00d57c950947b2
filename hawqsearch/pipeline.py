"""Where the stages meet: one function per arrow of the picture, and `search`, which walks all of them.

model + data -> `open_network` -> `analyze` -> SensitivityTable
target -> `profile` -> HardwareProfile -> `correct` -> LatencyModel
tables -> `allocate` -> SearchResult -> `deploy` -> ONNX -> `time_whole`, `judge`
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
import onnx
import torch

from hawqsearch.cache import Cache, code_version
from hawqsearch.core.allocation import Tables, allocation_problem
from hawqsearch.core.conditions import Conditions
from hawqsearch.core.data import Split, Splits
from hawqsearch.core.design import all_float, random_mixed
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.hardware import (
    Change,
    ChangeKey,
    HardwareProfile,
    KernelKey,
    Measurement,
    Rig,
    Signature,
)
from hawqsearch.core.latency import LatencyModel, Term, terms_of
from hawqsearch.core.model import ModelSpec
from hawqsearch.core.placement import place
from hawqsearch.core.precision import FP32, Precision
from hawqsearch.core.problem import Config, SearchProblem
from hawqsearch.core.profile_file import expired
from hawqsearch.core.profile_notes import conditions_of
from hawqsearch.core.progress import SILENT, Progress
from hawqsearch.core.sensitivity import PairScore, QuantizerChoice, Score, SensitivityTable
from hawqsearch.core.size import SizeModel, container_sizes
from hawqsearch.core.space import Allowed, SearchSpace
from hawqsearch.core.target import Target
from hawqsearch.core.timing import Timing
from hawqsearch.errors import DeviceError, InputError
from hawqsearch.export.bitconfig import bitconfig_files
from hawqsearch.export.onnx_qdq import write_qdq
from hawqsearch.export.sizes import file_sizes
from hawqsearch.graph.onnx_float import float_onnx
from hawqsearch.graph.threads import one_thread
from hawqsearch.graph.trace import TracedModel, trace
from hawqsearch.hardware.arm.cores import parse_core
from hawqsearch.hardware.arm.memory import working_set
from hawqsearch.hardware.board.lost import BoardLostError
from hawqsearch.hardware.board_profile import cover, fill_from, only_measured
from hawqsearch.hardware.fit import TimedConfig, fit
from hawqsearch.hardware.processor import device_name
from hawqsearch.hardware.shipped import (
    NotInTableError,
    run_ms,
    select,
    shipped_profile,
    shipped_whole,
)
from hawqsearch.quant import calibrated_file
from hawqsearch.quant.arbitrary import ArbitraryValues
from hawqsearch.quant.calibrated import CalibratedModel, calibrate
from hawqsearch.quant.simulate import simulate
from hawqsearch.runtime.find import RUNTIMES, find_runtime
from hawqsearch.runtime.interface import Arithmetic
from hawqsearch.runtime.pinned import pinned
from hawqsearch.runtime.timing import time_interleaved
from hawqsearch.sensitivity.choices import quantizer_choices
from hawqsearch.validate.accuracy import Answers, answers, simulated_answers

if TYPE_CHECKING:
    from hawqsearch.core.bitconfig import Origin
    from hawqsearch.core.energy import EnergyModel
    from hawqsearch.core.protocols import MeasureBackend, SensitivityAnalyzer
    from hawqsearch.runtime.interface import Runtime

__all__ = [
    "Context",
    "Designed",
    "Network",
    "allocate",
    "analyze",
    "correct",
    "correction_groups",
    "deploy",
    "describe",
    "design",
    "design_configs",
    "designed",
    "from_board",
    "judge",
    "judged_by",
    "loaded",
    "local_rig",
    "no_scores",
    "open_network",
    "profile",
    "prove",
    "rows_of",
    "shipped",
    "time_whole",
]

_CALIBRATION_IMAGES: Final = 64
_DESIGN: Final = 16
"""Mixed configurations that the end-to-end correction is fitted on before the first solve."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What every stage is run with."""

    cache: Cache = field(default_factory=lambda: Cache(None))
    progress: Progress = SILENT
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network under search on one target: traced, calibrated, and as the float ONNX to export from.

    Args:
        float_model: None where the target has no runtime.
    """

    traced: TracedModel
    splits: Splits
    target: Target
    space: SearchSpace
    allowed: Allowed
    calibrated: CalibratedModel
    sizes: SizeModel
    float_model: onnx.ModelProto | None
    batch: int

    @property
    def spec(self) -> ModelSpec:
        """Layers, joins and tensors."""
        return self.traced.spec


# ---------------------------------------------------------------- model + data -> network


def open_network(
    model: torch.nn.Module,
    splits: Splits,
    target: Target,
    space: SearchSpace,
    *,
    batch: int = 1,
    context: Context,
    to_time: bool = False,
) -> Network:
    """`model` traced, folded and calibrated for `target`.

    Args:
        to_time: nobody will read its answers, so codes and scales may be arbitrary, which saves their search.

    Raises `InputError` (see `trace`, `SearchSpace.allowed`) before any long work.
    """
    with context.progress.stage("reading the network", 4) as advance:
        with one_thread():
            traced = trace(model, torch.from_numpy(splits.calibration.inputs[:2]))
        advance(1)
        allowed = space.allowed(traced.spec, target)
        for op, dropped in allowed.dropped.items():
            context.progress.note(
                f"{target.name} has no {op} kernel for {', '.join(map(str, dropped))}: left out"
            )
        if to_time:
            calibrated = cast("CalibratedModel", ArbitraryValues(traced.spec, target.scheme))
        else:
            calibrated = _calibrated(traced, splits.calibration, target, allowed, context)
        advance(1)
        float_model = None if target.runtime is None else _float_model(traced, batch, context.cache)
        advance(1)
        if to_time or float_model is None:
            sizes = container_sizes(traced.spec, allowed.precisions)
        else:
            sizes = _sizes(traced.spec, target, allowed, calibrated, float_model, context.cache)
        advance(1)
    return Network(
        traced=traced,
        splits=splits,
        target=target,
        space=space,
        allowed=allowed,
        calibrated=calibrated,
        sizes=sizes,
        float_model=float_model,
        batch=batch,
    )


def _calibrated(
    traced: TracedModel, split: Split, target: Target, allowed: Allowed, context: Context
) -> CalibratedModel:
    rows = split[slice(_CALIBRATION_IMAGES)]
    weights = _quantized_weights(traced.spec, allowed)
    key = {
        "model": traced.spec.fingerprint,
        "data": rows.sha256,
        "scheme": asdict(target.scheme),
        "weights": sorted(weights),
        "seed": context.seed,
        "code": code_version("quant", "graph"),
    }
    parse = lambda content: calibrated_file.parse(content, traced, target.scheme)  # noqa: E731
    known = context.cache.read("calibrated", key, parse)
    if known is not None:
        return known
    with one_thread():
        calibrated = calibrate(traced, torch.from_numpy(rows.inputs), target.scheme, seed=context.seed)
        content = calibrated_file.dump(calibrated, weights)
    context.cache.write("calibrated", key, content)
    return calibrated


def _quantized_weights(spec: ModelSpec, allowed: Allowed) -> set[tuple[str, int]]:
    return {
        (layer.name, precision.weight.bits)
        for layer in spec.layers
        for precision in allowed.precisions[layer.name]
        if not precision.is_float
    }


def _float_model(traced: TracedModel, batch: int, cache: Cache) -> onnx.ModelProto:
    key = {
        "model": traced.spec.fingerprint,
        "batch": batch,
        "onnx": onnx.__version__,
        "code": code_version("graph"),
    }
    known = cache.read("float", key, onnx.load_from_string)
    if known is not None:
        return known
    model = float_onnx(traced, batch)
    cache.write("float", key, model.SerializeToString())
    return model


def _sizes(
    spec: ModelSpec,
    target: Target,
    allowed: Allowed,
    calibrated: CalibratedModel,
    float_model: onnx.ModelProto,
    cache: Cache,
) -> SizeModel:
    key = {
        "model": spec.fingerprint,
        "precisions": {n: list(map(str, p)) for n, p in allowed.precisions.items()},
        "scheme": asdict(target.scheme),
        "functions": target.functions,
        "code": code_version("export", "quant", "graph"),
    }
    known = cache.read("sizes", key, _parse_sizes)
    if known is not None:
        return known
    sizes = file_sizes(
        float_model, spec, target.scheme, allowed.precisions, calibrated, functions=target.functions
    )
    layers = [[*pair, size] for pair, size in sizes.layers.items()]
    parts = {
        "base": sizes.base,
        "quantizers": dict(sizes.quantizers),
        "guards": dict(sizes.guards),
        "layers": layers,
    }
    cache.write_json("sizes", key, parts)
    return sizes


def _parse_sizes(content: bytes) -> SizeModel:
    parts = json.loads(content)
    return SizeModel(
        base=parts["base"],
        layers=FrozenDict({(layer, precision): size for layer, precision, size in parts["layers"]}),
        quantizers=FrozenDict(parts["quantizers"]),
        guards=FrozenDict(parts["guards"]),
    )


# ---------------------------------------------------------------- network -> sensitivities


def analyze(network: Network, analyzer: SensitivityAnalyzer, *, context: Context) -> SensitivityTable:
    """How much every quantizer choice of the space hurts, from the cache where it is there."""
    choices = quantizer_choices(network.spec, network.target, network.allowed)
    split = network.splits.calibration
    key = {
        "model": network.spec.fingerprint,
        "data": split.sha256,
        "scheme": asdict(network.target.scheme),
        "analyzer": repr(analyzer),
        "seed": context.seed,
        "code": code_version("sensitivity", "quant", "graph"),
    }
    if analyzer.gives_pairs:
        return _whole_table(network, analyzer, choices, key, context)
    known = {c: s for c in choices if (s := _known_score(context.cache, key, c)) is not None}
    with context.progress.stage(f"sensitivity ({analyzer.name})", len(choices)) as advance:
        advance(len(known))

        def keep(choice: QuantizerChoice, score: Score) -> None:
            context.cache.write_json("score", {**key, "choice": asdict(choice)}, asdict(score))
            advance(1)

        return analyzer.analyze(network.calibrated, split, choices, known=known, on_score=keep)


def no_scores(network: Network) -> SensitivityTable:
    """A table in which nothing hurts: to ask what can be afforded before anything is analyzed."""
    choices = quantizer_choices(network.spec, network.target, network.allowed)
    return SensitivityTable(
        quantity="kl",
        analyzer="none",
        scores=FrozenDict({c: Score(0.0, 0.0) for c in choices}),
        n_examples=0,
        n_groups=0,
        fingerprint=network.spec.fingerprint,
    )


def _known_score(cache: Cache, key: Mapping[str, Any], choice: QuantizerChoice) -> Score | None:
    return cache.read(
        "score", {**key, "choice": asdict(choice)}, lambda content: Score(**json.loads(content))
    )


def _whole_table(
    network: Network,
    analyzer: SensitivityAnalyzer,
    choices: tuple[QuantizerChoice, ...],
    key: Mapping[str, Any],
    context: Context,
) -> SensitivityTable:
    """A table with pairs, kept as one piece."""
    known = context.cache.read(
        "table",
        {**key, "choices": [asdict(c) for c in choices]},
        lambda content: _parse_table(content, network, choices),
    )
    if known is not None:
        return known
    with context.progress.stage(f"sensitivity ({analyzer.name})", len(choices)) as advance:
        table = analyzer.analyze(
            network.calibrated, network.splits.calibration, choices, on_score=lambda choice, score: advance(1)
        )
    index = {c: k for k, c in enumerate(choices)}
    content = {
        "quantity": table.quantity,
        "analyzer": table.analyzer,
        "scores": [asdict(table.scores[c]) for c in choices],
        "pairs": [[index[p.first], index[p.second], p.score] for p in table.pairs],
        "n_examples": table.n_examples,
        "n_groups": table.n_groups,
        "seconds": table.seconds,
    }
    context.cache.write_json("table", {**key, "choices": [asdict(c) for c in choices]}, content)
    return table


def _parse_table(content: bytes, network: Network, choices: tuple[QuantizerChoice, ...]) -> SensitivityTable:
    table = json.loads(content)
    scores = {c: Score(**s) for c, s in zip(choices, table.pop("scores"), strict=True)}
    pairs = tuple(PairScore(choices[i], choices[j], score) for i, j, score in table.pop("pairs"))
    return SensitivityTable(
        scores=FrozenDict(scores), pairs=pairs, fingerprint=network.spec.fingerprint, **table
    )


# ---------------------------------------------------------------- target -> hardware profile -> latency model


def local_rig(target: Target, *, threads: int, batch: int) -> Rig:
    """This machine, as profiles of `target` name it."""
    return Rig(device=device_name(), runtime=_runtime(target).version, threads=threads, batch=batch)


def profile(network: Network, rig: Rig, backend: MeasureBackend, *, context: Context) -> HardwareProfile:
    """Times of every distinct kernel and precision change; rows in the cache are not measured again.

    Raises `BoardLostError` where a board fails on the way, with all rows that there are; these are kept.
    """
    kernels, changes = _profile_keys(network)
    base = {"rig": asdict(rig), "scheme": asdict(network.target.scheme), "backend": repr(backend)}
    sources = ("hardware/micro.py", "hardware/local.py", "hardware/rows.py", "runtime")
    base["code"] = code_version(*sources, *_folder_of(backend))
    keys: list[KernelKey | ChangeKey] = [*kernels, *changes]
    cached = {k: r for k in keys if (r := _known_row(context.cache, base, k)) is not None}
    known = {k: row for k, (row, _) in cached.items()}
    conditions = dict.fromkeys(c for _, found in cached.values() for c in found)
    todo = [k for k in keys if k not in known]

    def keep(measured: HardwareProfile) -> None:
        known.update(measured.kernels.items())
        known.update(measured.changes.items())
        conditions.update(dict.fromkeys(measured.conditions))
        seen = [asdict(c) for c in measured.conditions]
        for key, row in (*measured.kernels.items(), *measured.changes.items()):
            kept = {"row": asdict(row), "conditions": seen}
            context.cache.write_json("kernel", {**base, "row": repr(key)}, kept)

    def found() -> HardwareProfile:
        return HardwareProfile(
            target=network.target.name,
            rig=rig,
            date=max((m.date for m in known.values()), default=""),
            kernels=FrozenDict({k: known[k] for k in kernels if k in known}),
            changes=FrozenDict({k: known[k] for k in changes if k in known}),
            conditions=tuple(conditions),
        )

    if todo:
        with context.progress.stage("kernels and edges", backend.n_rounds) as advance:
            try:
                keep(
                    backend.measure(
                        network.target,
                        rig,
                        [k for k in todo if isinstance(k, KernelKey)],
                        [k for k in todo if isinstance(k, ChangeKey)],
                        on_round=advance,
                    )
                )
            except BoardLostError as lost:
                keep(lost.partial)
                raise BoardLostError(str(lost), found()) from lost
    return found()


def _folder_of(backend: MeasureBackend) -> tuple[str, ...]:
    """The folder of our sources that a backend lives in, where it has one of its own."""
    package, *folders, _ = type(backend).__module__.split(".")
    return ("/".join(folders),) if package == "hawqsearch" and len(folders) > 1 else ()


def _known_row(
    cache: Cache, base: Mapping[str, Any], key: KernelKey | ChangeKey
) -> tuple[Measurement, tuple[Conditions, ...]] | None:
    """The row, and what it was measured under."""
    return cache.read("kernel", {**base, "row": repr(key)}, _parse_row)


def _parse_row(content: bytes) -> tuple[Measurement, tuple[Conditions, ...]]:
    kept = json.loads(content)
    return Measurement(**kept["row"]), tuple(conditions_of(c) for c in kept["conditions"])


def _profile_keys(network: Network) -> tuple[list[KernelKey], list[ChangeKey]]:
    kernels = {
        KernelKey(Signature.of(node, network.batch), kernel.timed_as)
        for node in network.spec.nodes
        for precision in _timed_precisions(network, node.name)
        if (kernel := network.target.kernel(node.op, str(precision))) is not None
    }
    shapes = {(network.batch, *t.shape[1:]) for t in network.spec.tensors}
    changes = {ChangeKey(shape, change) for shape in shapes for change in Change}
    return sorted(kernels, key=repr), sorted(changes, key=repr)


def _timed_precisions(network: Network, node: str) -> set[Precision]:
    """What may be chosen, and what every network is compared with: fp32 and all-int8."""
    return {*network.allowed.precisions[node], FP32, Precision.parse("w8a8")}


def parts_alone(network: Network, hardware: HardwareProfile) -> dict[Term, float]:
    """Every term of the network's latency as it was measured on its own, in ms."""
    return {term: row.median_ms for term, row in rows_of(network, hardware).items()}


def rows_of(network: Network, hardware: HardwareProfile) -> dict[Term, Measurement]:
    """The row of `hardware` that each term of the network's cost is priced by."""
    rows = {}
    for node in network.spec.nodes:
        for precision in _timed_precisions(network, node.name):
            kernel = network.target.kernel(node.op, str(precision))
            if kernel is not None:
                key = KernelKey(Signature.of(node, network.batch), kernel.timed_as)
                rows[Term(node.name, kernel.timed_as)] = hardware.kernels[key]
    for tensor in network.spec.tensors:
        for change in Change:
            shape = (network.batch, *tensor.shape[1:])
            rows[Term(tensor.name, change.value)] = hardware.changes[ChangeKey(shape, change)]
    return rows


def correct(
    network: Network, hardware: HardwareProfile, ratios: Mapping[FrozenDict[str, str], float], fp32_ms: float
) -> LatencyModel:
    """The profile's end-to-end correction: parts measured alone, refined by whole networks timed.

    Args:
        ratios: configuration -> measured latency as a share of fp32's in the same run.
    """
    parts = parts_alone(network, hardware)
    timed = [
        TimedConfig(tuple(terms_of(network.spec, network.target, config)), ratio * fp32_ms)
        for config, ratio in ratios.items()
    ]
    return fit(parts, correction_groups(network, parts), timed)


def shipped(network: Network) -> tuple[HardwareProfile, LatencyModel]:
    """The target's machine as its shipped tables have it, rows that they lack predicted from those they hold.

    The correction is fitted on whole networks that ship with the tables; for a network without any it is the sum
    of the parts and what every run costs.
    """
    core = parse_core(network.target.variant)
    kernels, changes = _profile_keys(network)
    hardware = select(_shipped_rows(network, [*kernels, *changes]), kernels, changes)
    parts = parts_alone(network, hardware)
    timed = [
        TimedConfig(tuple(terms_of(network.spec, network.target, config)), latency_ms)
        for config, latency_ms in shipped_whole(core, network.spec, network.target).items()
    ]
    return hardware, fit(parts, correction_groups(network, parts), timed, fixed_ms=run_ms(core))


def from_board(
    network: Network, measured: HardwareProfile, *, context: Context
) -> tuple[HardwareProfile, LatencyModel]:
    """A board, GPU or other machine as it was measured; rows that it lacks are predicted from the shipped tables (see
    `fill_from`) or, where none ship, from its own.

    The latency of a configuration is the sum of its parts and what every run costs on the target's core.
    Of GPUs no table ships: every row must be there, and a run costs nothing beyond its parts.

    Raises:
        InputError: the board's profile shares no row with those tables.
        DeviceError: the GPU's profile lacks a row.
    """
    measured = only_measured(measured)
    kernels, changes = _profile_keys(network)
    if network.target.on_gpu:
        hardware = cover(measured, kernels, changes)
        parts = parts_alone(network, hardware)
        return hardware, fit(parts, correction_groups(network, parts), [])
    wanted: list[KernelKey | ChangeKey] = [*kernels, *changes]
    if network.target.device != "tables":
        return _from_machine(network, measured, wanted, context)
    known = measured.rows
    lacking = [k for k in wanted if k not in known]
    if lacking:
        hardware = fill_from(measured, _shipped_rows(network, wanted), wanted)
        context.progress.note(
            f"{len(lacking)} of {len(wanted)} rows are not in the board's profile: predicted from the shipped table; "
            "`hawqsearch profile --host` measures them"
        )
    else:
        hardware = select(measured, kernels, changes)
    here = judged_by(network.target)
    if expired(hardware, here):
        context.progress.note(f"the board ran {hardware.rig.runtime}; accuracy is checked by {here}")
    parts = parts_alone(network, hardware)
    fixed_ms = run_ms(parse_core(network.target.variant))
    return hardware, fit(parts, correction_groups(network, parts), [], fixed_ms=fixed_ms)


def _from_machine(
    network: Network, measured: HardwareProfile, wanted: list[KernelKey | ChangeKey], context: Context
) -> tuple[HardwareProfile, LatencyModel]:
    """A machine of the target by its profile: rows that it lacks are predicted from those that it has, and the
    correction is fitted on this very network's whole runs where the profile has them.

    Raises `InputError` where there are too few rows of a kind to predict one.
    """
    known = measured.rows
    lacking = [k for k in wanted if k not in known]
    hardware = measured
    if lacking:
        from hawqsearch.hardware.predictor import (
            fit_predictor,  # scikit-learn, where a shape was not measured
        )

        hardware = fit_predictor(measured, wanted=lacking).fill(measured, lacking)
        context.progress.note(
            f"{len(lacking)} of {len(wanted)} rows are not in the profile of {measured.rig.device}: "
            "predicted from its others"
        )
    kernels = [k for k in wanted if isinstance(k, KernelKey)]
    hardware = select(hardware, kernels, [k for k in wanted if isinstance(k, ChangeKey)])
    parts = parts_alone(network, hardware)
    timed = [
        TimedConfig(tuple(terms_of(network.spec, network.target, run.config)), run.measured_ms)
        for whole in measured.whole
        if whole.network == network.spec.fingerprint
        for run in whole.runs
        if all(term in parts for term in terms_of(network.spec, network.target, run.config))
    ]
    return hardware, fit(parts, correction_groups(network, parts), timed)


def _shipped_rows(network: Network, wanted: list[KernelKey | ChangeKey]) -> HardwareProfile:
    """The shipped tables, with every one of `wanted` that they lack predicted.

    Raises `NotInTableError` where they have too few rows of a kind to predict one.
    """
    table = shipped_profile(parse_core(network.target.variant), network=working_set(network.spec))
    known = table.rows
    lacking = [k for k in wanted if k not in known]
    if not lacking:
        return table
    from hawqsearch.hardware.predictor import fit_predictor  # scikit-learn, where a shape is not in the table

    try:
        return fit_predictor(table, wanted=lacking).fill(table, lacking)
    except InputError as error:
        raise NotInTableError(lacking) from error


def correction_groups(network: Network, parts: Iterable[Term]) -> dict[Term, str]:
    """Terms whose corrections go together: kernels of one operator and precision, changes of one direction."""
    ops = {n.name: n.op for n in network.spec.nodes}
    return {term: f"{ops.get(term.name, 'edge')} {term.what}" for term in parts}


# ---------------------------------------------------------------- tables -> result


def allocate(
    network: Network,
    sensitivity: SensitivityTable,
    latency: LatencyModel | None,
    limits: Mapping[str, float],
    *,
    energy: EnergyModel | None = None,
    interactions: bool = False,
) -> SearchProblem:
    """The allocation problem of the network within `limits`."""
    tables = Tables(
        spec=network.spec,
        target=network.target,
        precisions=network.allowed.precisions,
        sensitivity=sensitivity,
        sizes=network.sizes,
        latency=latency,
        energy=energy,
    )
    return allocation_problem(tables, limits, ties=network.space.ties, interactions=interactions)


# ---------------------------------------------------------------- configuration -> file -> truth


def deploy(network: Network, config: Config) -> bytes:
    """The configuration as the ONNX file that the target's runtime loads."""
    if network.float_model is None:
        raise InputError(f"{network.target.name} has no runtime to export for; name a target that has one")
    placement = place(network.spec, network.target, config)
    written = write_qdq(
        network.float_model,
        network.spec,
        network.target.scheme,
        placement,
        config,
        network.calibrated,
        functions=network.target.functions,
    )
    content: bytes = written.SerializeToString()
    return content


def describe(network: Network, config: Config, *, origin: Origin) -> tuple[str, bytes]:
    """The configuration for other tools: content of `config.json` and of `scales.safetensors`."""
    return bitconfig_files(
        network.spec, network.target, config, network.calibrated, origin=origin, ties=network.space.ties
    )


def prove(network: Network, config: Config) -> None:
    """Raise `DeviceError` unless the runtime's own profile shows every layer in the kernel that `config` says."""
    feed = {"input": np.repeat(network.splits.calibration.inputs[:1], network.batch, axis=0)}
    signed = network.target.scheme.signed_activations
    runtime = _runtime(network.target)
    ran = runtime.kernels_ran(deploy(network, config), feed, signed_activations=signed)
    for layer in network.spec.layers:
        own = {op for name, op in ran.items() if name.split("/")[0] == layer.name}
        int8 = Precision.parse(config[layer.name]).quantizes_input
        if (Arithmetic.INT8 if int8 else Arithmetic.FLOAT) not in map(runtime.arithmetic, own):
            raise DeviceError(
                f"the runtime did not run {layer.name} as {config[layer.name]}: its profile shows "
                f"{', '.join(sorted(own)) or 'no such node'}; pin the layer to fp32, or report it"
            )


def time_whole(
    network: Network, rig: Rig, configs: Mapping[str, Config], *, rounds: int, context: Context, title: str
) -> dict[str, Timing]:
    """Whole-network latency of each configuration, interleaved with fp32; `"fp32"` is among the answers.

    Raises `DeviceError` for a target whose runtime is not one of this machine's processor.
    """
    if network.target.on_gpu:
        raise DeviceError(
            f"whole networks are not timed on {network.target.name}: nothing here runs one on a GPU with its "
            "precisions; `hawqsearch profile` times its kernels"
        )
    models = {"fp32": deploy(network, all_float(network.spec))} | {
        n: deploy(network, c) for n, c in configs.items()
    }
    row = network.splits.calibration.inputs[:1]
    feed = {"input": np.repeat(row, network.batch, axis=0)}
    signed = network.target.scheme.signed_activations
    runtime = _runtime(network.target)
    with ExitStack() as stack, context.progress.stage(title, rounds) as advance:
        stack.enter_context(pinned(rig.threads))
        sessions = {
            n: stack.enter_context(runtime.open(m, threads=rig.threads, signed_activations=signed))
            for n, m in models.items()
        }
        return time_interleaved(sessions, feed, reference="fp32", rounds=rounds, on_round=advance)


@contextmanager
def loaded(network: Network, rig: Rig, config: Config) -> Iterator[Callable[[], object]]:
    """The configuration on the target's runtime: every call is one inference."""
    row = network.splits.calibration.inputs[:1]
    feed = {"input": np.repeat(row, network.batch, axis=0)}
    signed = network.target.scheme.signed_activations
    with _runtime(network.target).open(
        deploy(network, config), threads=rig.threads, signed_activations=signed
    ) as session:
        yield lambda: session.run(feed)


def design_configs(network: Network, *, context: Context) -> list[FrozenDict[str, str]]:
    """Mixed configurations that the end-to-end correction is fitted on."""
    precisions = network.allowed.precisions
    return random_mixed(network.spec, network.target, precisions, n=_DESIGN, seed=context.seed)


def design(network: Network, rig: Rig, *, context: Context) -> dict[FrozenDict[str, str], float]:
    """Ratio to fp32 of the configurations that the correction is fitted on."""
    return dict(designed(network, rig, context=context).ratios)


@dataclass(frozen=True, slots=True, kw_only=True)
class Designed:
    """Configurations timed whole, as shares of fp32 in the same run.

    Args:
        half_widths: half of the 95 % interval of each ratio's median, as a share of it.
    """

    fp32_ms: float
    ratios: FrozenDict[FrozenDict[str, str], float]
    half_widths: FrozenDict[FrozenDict[str, str], float]


def designed(network: Network, rig: Rig, *, context: Context) -> Designed:
    """The configurations that the correction is fitted on, timed; cached as a whole."""
    configs = design_configs(network, context=context)
    key: dict[str, Any] = {"rig": asdict(rig), "model": network.spec.fingerprint}
    key |= {
        "scheme": asdict(network.target.scheme),
        "configs": [dict(c) for c in configs],
        "code": code_version("export", "runtime", "graph"),
    }
    known = context.cache.read_json("design", key)
    if known is None:
        named = {str(k): c for k, c in enumerate(configs)}
        timed = time_whole(network, rig, named, rounds=9, context=context, title="whole networks")
        known = {
            "fp32_ms": timed["fp32"].latency_ms.median,
            "ratios": [timed[name].ratio.median for name in named],
            "half_widths": [timed[name].ratio.relative_half_width for name in named],
        }
        context.cache.write_json("design", key, known)
    return Designed(
        fp32_ms=known["fp32_ms"],
        ratios=FrozenDict(zip(configs, known["ratios"], strict=True)),
        half_widths=FrozenDict(zip(configs, known["half_widths"], strict=True)),
    )


def judge(network: Network, config: Config, split: Split, *, context: Context, title: str) -> Answers:
    """What the target's runtime answers on `split` with `config`; the simulation does where there is none."""
    key = {
        "model": network.spec.fingerprint,
        "config": dict(config),
        "data": split.sha256,
        "scheme": asdict(network.target.scheme),
        "runtime": judged_by(network.target),
        "batch": network.batch,
        "calibration": network.splits.calibration.sha256,
        "seed": context.seed,
        "code": code_version("quant", "graph", "export", "validate"),
    }
    known = context.cache.read("answers", key, Answers.parse)
    if known is not None:
        return known
    with context.progress.stage(title, len(split)) as advance:
        if network.target.runtime is None:
            placement = place(network.spec, network.target, config)
            found = simulated_answers(
                simulate(network.calibrated, placement, config), split, on_examples=advance
            )
        else:
            found = answers(
                deploy(network, config),
                split,
                runtime=_runtime(network.target),
                batch=network.batch,
                signed_activations=network.target.scheme.signed_activations,
                on_examples=advance,
            )
    context.cache.write("answers", key, found.dump())
    return found


def judged_by(target: Target) -> str:
    """What answers for `target`: its runtime with its version, or the simulation."""
    return "simulation" if target.runtime is None else _runtime(target).version


def _runtime(target: Target) -> Runtime:
    """The target's runtime on this machine; onnxruntime loads the files of a target whose own loads none."""
    return find_runtime(target.runtime if target.runtime and target.runtime in RUNTIMES else "onnxruntime")
