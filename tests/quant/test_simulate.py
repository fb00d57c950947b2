"""A simulated placement: who sees a rounded value, what is applied, and that nothing else is."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from hawqsearch.core.placement import Placement, place
from hawqsearch.core.sensitivity import QuantizerChoice
from hawqsearch.core.target import Scheme
from hawqsearch.errors import InputError, UnknownNameError
from hawqsearch.graph.run import evaluate
from hawqsearch.quant.calibrated import CalibratedModel, calibrate
from hawqsearch.quant.simulate import Simulation, simulate
from tests.quant import networks

REQUANTIZES, STAYS_FLOAT = networks.target(requantizes=True), networks.target(requantizes=False)


@pytest.fixture(scope="module")
def model() -> CalibratedModel:
    return calibrate(networks.traced(), networks.images(), Scheme(), seed=0)


def simulated(model: CalibratedModel, config: dict[str, str], *, requantizes: bool = True) -> Simulation:
    target = REQUANTIZES if requantizes else STAYS_FLOAT
    return simulate(model, place(model.traced.spec, target, config), config)


def everywhere(model: CalibratedModel, layers: str, joins: str = "fp32") -> dict[str, str]:
    spec = model.traced.spec
    return {n.name: layers for n in spec.layers} | {n.name: joins for n in spec.joins}


def choices(placement: Placement) -> set[QuantizerChoice]:
    """The quantizers that a placement names."""
    weights = {QuantizerChoice("weight", n, str(f)) for n, f in placement.weights.items()}
    return weights | {QuantizerChoice("activation", n, str(f)) for n, f in placement.activations.items()}


def test_at_fp32_it_is_the_float_network(model: CalibratedModel) -> None:
    simulation = simulated(model, everywhere(model, "fp32"))
    assert torch.equal(simulation(networks.images()), evaluate(model.traced, networks.images()))
    assert simulation.applied == frozenset()


@pytest.mark.parametrize("joins", ["fp32", "w8a8"])
def test_error_shrinks_with_bits_and_is_small_at_eight(model: CalibratedModel, joins: str) -> None:
    expected = evaluate(model.traced, networks.images())
    errors = [
        float((simulated(model, everywhere(model, f"w{b}a8", joins))(networks.images()) - expected).norm())
        for b in (2, 3, 4, 6, 8)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.03 * float(expected.norm())


@pytest.mark.parametrize("requantizes", [True, False])
def test_float_readers_see_the_rounding_only_where_the_kernel_requantizes(
    model: CalibratedModel, requantizes: bool
) -> None:
    """`stem` and `left` are int8, `right` reads the same tensor in float."""
    config = {"stem": "w8a8", "left": "w8a8"}
    by_hand = _by_hand(model, right_sees_rounded=requantizes, left_output_rounded=requantizes)
    wrong = _by_hand(model, right_sees_rounded=not requantizes, left_output_rounded=requantizes)
    found = simulated(model, config, requantizes=requantizes)(networks.images())
    torch.testing.assert_close(found, by_hand, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found, wrong, rtol=1e-4, atol=1e-5)


def _by_hand(model: CalibratedModel, *, right_sees_rounded: bool, left_output_rounded: bool) -> torch.Tensor:
    """The same network, written out."""
    spec = model.traced.spec
    parameters = {n.name: model.float_parameters(n.name) for n in spec.layers}

    def rounded(tensor: str, x: torch.Tensor) -> torch.Tensor:
        return model.activation(tensor).fake_quantize(x, model.scheme)

    def eight_bit(layer: str, x: torch.Tensor) -> torch.Tensor:
        weight = model.weight(layer, 8)
        scale = torch.tensor(model.activation(spec.node(layer).inputs[0]).scale) * weight.scale
        bias = torch.round(weight.bias / scale) * scale
        return F.conv2d(x, weight.codes * weight.scale[:, None, None, None], bias, padding=1)

    stem = spec.node("stem").tensor
    raw = eight_bit("stem", rounded(spec.node("stem").inputs[0], networks.images())).relu()
    left = eight_bit("left", rounded(stem, raw))
    left = rounded(spec.node("left").tensor, left) if left_output_rounded else left
    right = F.conv2d(rounded(stem, raw) if right_sees_rounded else raw, *parameters["right"])
    joined = F.conv2d((left + right).relu(), *parameters["depthwise"], stride=2, groups=4)
    return F.linear(F.max_pool2d(joined, 2).flatten(1), *parameters["head"])


def test_a_quantizer_is_seen_through_a_view(model: CalibratedModel) -> None:
    """`head` reads a flattened tensor; the quantizer belongs to what was flattened."""
    found = simulated(model, {"head": "w8a8"}, requantizes=False)
    (tensor,) = model.traced.spec.node("head").inputs
    assert tensor not in model.traced.views
    weight, quantizer = model.weight("head", 8), model.activation(tensor)
    values = {}

    def keep(name: str, value: torch.Tensor) -> torch.Tensor:
        values[name] = value
        return value

    evaluate(model.traced, networks.images(), replace=keep)
    x = quantizer.fake_quantize(values[tensor], model.scheme).flatten(1)
    scale = quantizer.scale * weight.scale
    expected = F.linear(x, weight.dequantized, torch.round(weight.bias / scale) * scale)
    torch.testing.assert_close(found(networks.images()), expected, rtol=1e-5, atol=1e-6)


def test_weight_only_rounds_no_input_and_no_bias(model: CalibratedModel) -> None:
    config = everywhere(model, "w4a16")
    simulation = simulated(model, config)
    spec = model.traced.spec
    stored = {spec.node(n.name).weight: model.weight(n.name, 4).dequantized for n in spec.layers}
    biases = {f"{n.name}.bias": model.weight(n.name, 4).bias for n in spec.layers}
    own = model.traced.module.state_dict()
    assert "right.bias" not in own
    uncorrected = {str(k): v for k, v in (stored | biases).items() if k in own}
    found = simulation(networks.images())
    assert {c.kind for c in simulation.applied} == {"weight"}
    without_rights_bias = evaluate(model.traced, networks.images(), parameters=uncorrected)
    assert not torch.allclose(found, without_rights_bias, atol=1e-5)
    torch.testing.assert_close(
        found.mean(0), evaluate(model.traced, networks.images()).mean(0), atol=0.3, rtol=0
    )


@given(st.data(), st.booleans())
@settings(max_examples=40, deadline=None)
def test_what_is_applied_is_the_placement(
    model: CalibratedModel, data: st.DataObject, requantizes: bool
) -> None:
    spec = model.traced.spec
    options = {n.name: ["fp32", "w8a8", "w3a8", "w4a16"] for n in spec.layers}
    options |= {n.name: ["fp32", "w8a8"] for n in spec.joins}
    config = {name: data.draw(st.sampled_from(names)) for name, names in options.items()}
    simulation = simulated(model, config, requantizes=requantizes)
    assert simulation(networks.images(3)).isfinite().all()
    target = REQUANTIZES if requantizes else STAYS_FLOAT
    assert simulation.applied == choices(place(spec, target, config))


@pytest.mark.parametrize("precision", ["w8a8d", "w8ai16"])
def test_what_is_not_simulated_is_refused(model: CalibratedModel, precision: str) -> None:
    config = {"head": precision}
    with pytest.raises(InputError, match=f"head: {precision} cannot be simulated"):
        simulate(model, place(model.traced.spec, REQUANTIZES, config), config)


# ---------------------------------------------------------------- calibration


def test_calibration_repeats_with_its_seed_and_leaves_the_random_state(model: CalibratedModel) -> None:
    before = torch.get_rng_state()
    again = calibrate(networks.traced(), networks.images(), Scheme(), seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    assert again.ranges == model.ranges
    for layer in model.statistics:
        assert torch.equal(again.statistics[layer].covariance, model.statistics[layer].covariance)
        assert torch.equal(again.weight(layer, 3).codes, model.weight(layer, 3).codes)


def test_quantizing_does_not_change_the_traced_network(model: CalibratedModel) -> None:
    before = {name: value.clone() for name, value in model.traced.module.state_dict().items()}
    simulated(model, everywhere(model, "w2a8", "w8a8"))(networks.images())
    after = model.traced.module.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_tensors_behind_a_relu_start_at_the_lowest_code(model: CalibratedModel) -> None:
    floored = [t.name for t in model.traced.spec.tensors if t.floor_at_zero]
    assert len(floored) == 2
    assert all(model.activation(name).zero_point == 0 for name in floored)


def test_a_max_pool_hands_its_codes_on(model: CalibratedModel) -> None:
    (pool,) = [n for n in model.traced.spec.nodes if n.op == "max_pool"]
    assert model.activation(pool.tensor) == model.activation(pool.inputs[0])


def test_statistics_are_those_of_what_the_layer_reads(model: CalibratedModel) -> None:
    """The head reads a view: as many entries as its weight has columns, all 12 images, one position each."""
    statistics = model.statistics["head"]
    assert statistics.mean.shape == (1, 36)
    assert statistics.n == 12
    assert model.statistics["depthwise"].covariance.shape == (4, 9, 9)


def test_threads_may_share_it_and_it_pickles(model: CalibratedModel) -> None:
    fresh = pickle.loads(pickle.dumps(calibrate(networks.traced(), networks.images(), Scheme(), seed=0)))
    with ThreadPoolExecutor(4) as pool:
        weights = list(pool.map(lambda _: fresh.weight("left", 3), range(16)))
    assert all(w is weights[0] for w in weights)
    assert torch.equal(weights[0].codes, model.weight("left", 3).codes)


def test_an_unknown_tensor_is_named(model: CalibratedModel) -> None:
    with pytest.raises(UnknownNameError, match="inputs"):
        model.activation("inputs")
