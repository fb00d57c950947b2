"""Which quantizers are scored: those that some configuration of the space places, and no other."""

from __future__ import annotations

import itertools

import pytest

from hawqsearch.core.placement import place
from hawqsearch.core.sensitivity import QuantizerChoice
from hawqsearch.sensitivity.choices import quantizer_choices
from tests.export import networks


@pytest.mark.parametrize("name", ["shortcut", "mlp", "mobile"])
def test_they_are_those_of_all_configurations(name: str) -> None:
    """Every configuration of int8 and float layers and of the joins, against the union."""
    spec, target, allowed = networks.traced(name).spec, networks.target(), networks.allowed(name)
    few = {n.name: [str(p) for p in allowed.precisions[n.name]] for n in spec.nodes}
    few = {n: [p for p in options if p in ("fp32", "w8a8")] for n, options in few.items()}
    union = set()
    for chosen in itertools.product(*few.values()):
        placement = place(spec, target, dict(zip(few, chosen, strict=True)))
        union |= {QuantizerChoice("weight", n, str(f)) for n, f in placement.weights.items()}
        union |= {QuantizerChoice("activation", n, str(f)) for n, f in placement.activations.items()}
    found = quantizer_choices(spec, target, allowed)
    assert len(found) == len(set(found))
    assert {c for c in found if c.format == "int8"} == union
