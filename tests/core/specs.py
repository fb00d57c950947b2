"""Generated networks as numbers only: small specs with every kind of edge, and tables that price them."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

from hawqsearch.core.allocation import Tables
from hawqsearch.core.energy import EnergyModel
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.hardware import Change
from hawqsearch.core.latency import LatencyModel, Term
from hawqsearch.core.model import INPUT, OUTPUT, ModelSpec, NodeSpec, TensorSpec
from hawqsearch.core.placement import place
from hawqsearch.core.precision import Precision
from hawqsearch.core.sensitivity import PairScore, QuantizerChoice, Score, SensitivityTable
from hawqsearch.core.size import SizeModel
from hawqsearch.core.target import Kernel, Scheme, Target

LAYER_PRECISIONS = ("fp32", "w8a8", "w3a8", "w4a16")


def generated_spec(source: random.Random) -> ModelSpec:
    """Three or four nodes; a tensor may have several readers, the output and none among them."""
    nodes: list[NodeSpec] = []
    readers: dict[str, list[str]] = {"x": []}
    for index in range(source.randint(3, 4)):
        op = source.choice(["conv", "conv", "linear", "add", "max_pool", "other"])
        name, tensor = f"{op} {index}", f"t{index}"
        reads = source.sample(list(readers), min(len(readers), 2 if op == "add" else 1))
        for read in reads:
            readers[read].append(name)
        readers[tensor] = []
        weighted = op in ("conv", "linear")
        nodes.append(
            NodeSpec(
                name=name,
                op=op,
                value=tensor,
                tensor=tensor,
                inputs=tuple(reads),
                input_shape=(1, 4),
                output_shape=(1, 4),
                weight=f"{name}.weight" if weighted else None,
                weight_shape=(source.randint(1, 9), 4) if weighted else (),
                has_bias=weighted,
                macs=source.randint(1, 99) if weighted else 0,
            )
        )
    for tensor in readers:
        if not readers[tensor] or source.random() < 0.2:
            readers[tensor].append(OUTPUT)
    sources = {n.tensor: n.name for n in nodes} | {"x": INPUT}
    return ModelSpec(
        nodes=tuple(nodes),
        tensors=tuple(
            TensorSpec(name=t, source=sources[t], targets=tuple(r), shape=(1, 4)) for t, r in readers.items()
        ),
        input_shape=(1, 4),
        fingerprint="generated",
    )


def generated_target(source: random.Random) -> Target:
    """A target whose int8 kernels requantize their output or not, each kind by chance."""
    kernels: dict[str, FrozenDict[str, Kernel]] = {}
    for op in ("conv", "linear", "add", "max_pool"):
        eight = Kernel(timed_as="w8a8", requantizes=source.random() < 0.6)
        found = {"fp32": Kernel(timed_as="fp32"), "w8a8": eight}
        if op in ("conv", "linear"):
            found |= {"w3a8": eight, "w4a16": Kernel(timed_as="w4a16")}
        kernels[op] = FrozenDict(found)
    return Target(name="any", summary="", runtime=None, scheme=Scheme(), kernels=FrozenDict(kernels))


def generated_tables(seed: int, *, pairs: bool = False) -> Tables:
    """A network, a target, and prices drawn at random for everything that a configuration may pay."""
    source = random.Random(seed)
    spec, target = generated_spec(source), generated_target(source)
    precisions = {}
    for node in spec.nodes:
        options = [p for p in LAYER_PRECISIONS if p == "fp32" or target.kernel(node.op, p)]
        kept = source.sample(options, source.randint(1, len(options)))
        precisions[node.name] = tuple(Precision.parse(p) for p in kept)
    weights = [QuantizerChoice("weight", n.name, f"int{b}") for n in spec.layers for b in (3, 4, 8)]
    choices = [*weights, *(QuantizerChoice("activation", t.name, "int8") for t in spec.tensors)]
    terms = [Term(n.name, what) for n in spec.nodes for what in ("fp32", "w8a8", "w4a16")]
    terms += [Term(t.name, change.value) for t in spec.tensors for change in Change]
    found = [PairScore(a, b, source.gauss(0, 1)) for a, b in itertools.combinations(choices, 2)]
    return Tables(
        spec=spec,
        target=target,
        precisions=FrozenDict(precisions),
        sensitivity=SensitivityTable(
            quantity="kl",
            analyzer="generated",
            scores=FrozenDict({c: Score(source.gauss(0, 1), 0.0) for c in choices}),
            pairs=tuple(p for p in found if p.first.name != p.second.name) if pairs else (),
            n_examples=1,
            n_groups=1,
            fingerprint="generated",
        ),
        sizes=SizeModel(
            base=source.random(),
            layers=FrozenDict({(n.name, p): source.random() for n in spec.layers for p in LAYER_PRECISIONS}),
            quantizers=FrozenDict({t.name: source.random() for t in spec.tensors}),
            guards=FrozenDict({t.name: source.random() for t in spec.tensors}),
        ),
        latency=LatencyModel(
            fixed_ms=source.random(),
            terms=FrozenDict({term: source.random() for term in terms}),
            spread=0.0,
            n_fitted=0,
        ),
        energy=EnergyModel(
            fixed_mj=source.random(),
            terms=FrozenDict({term: source.random() for term in terms}),
            spread=0.0,
            n_fitted=0,
        ),
    )


def every_config(tables: Tables) -> Iterator[dict[str, str]]:
    """All configurations of the network's nodes."""
    names = [n.name for n in tables.spec.nodes]
    for chosen in itertools.product(*(tables.precisions[n] for n in names)):
        yield {name: str(p) for name, p in zip(names, chosen, strict=True)}


def placed(tables: Tables, config: dict[str, str]) -> list[QuantizerChoice]:
    """The quantizers that `config` places."""
    placement = place(tables.spec, tables.target, config)
    weights = [QuantizerChoice("weight", n, str(f)) for n, f in placement.weights.items()]
    return weights + [QuantizerChoice("activation", n, str(f)) for n, f in placement.activations.items()]
