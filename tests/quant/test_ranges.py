"""Ranges of activations: what kernels need of them, and that the search never loses to the full range."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hawqsearch.core.model import TensorSpec
from hawqsearch.core.target import Scheme
from hawqsearch.errors import UnsupportedModelError
from hawqsearch.quant.ranges import ActivationRange, Observed, calibrate_range

UNSIGNED, SIGNED = Scheme(), Scheme(signed_activations=True)
SYMMETRIC = Scheme(signed_activations=True, symmetric_activations=True)
SCHEMES = [UNSIGNED, SIGNED, SYMMETRIC]


def tensor(*, floor: bool = False, ceiling: float | None = None) -> TensorSpec:
    return TensorSpec(
        name="t", source="a", targets=("b",), shape=(1, 2), floor_at_zero=floor, ceiling=ceiling
    )


def observed(values: torch.Tensor) -> Observed:
    return Observed(sample=values, least=float(values.min()), greatest=float(values.max()))


def calibrated(values: torch.Tensor, scheme: Scheme, **kind: float | None) -> ActivationRange:
    return calibrate_range(tensor(**kind), observed(values), scheme)  # type: ignore[arg-type]


def ends(found: ActivationRange, scheme: Scheme) -> tuple[float, float]:
    low, high = scheme.activation_codes
    return (low - found.zero_point) * found.scale, (high - found.zero_point) * found.scale


values = st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=40).map(torch.tensor)


@given(values, st.sampled_from(SCHEMES), st.booleans())
@settings(deadline=None)
def test_range_contains_zero_and_is_positive(x: torch.Tensor, scheme: Scheme, floor: bool) -> None:
    found = calibrated(x.relu() if floor else x, scheme, floor=floor)
    low, high = scheme.activation_codes
    assert found.scale > 0
    assert float(torch.tensor(found.scale, dtype=torch.float32)) == found.scale
    assert low <= found.zero_point <= high


@given(values, st.sampled_from([UNSIGNED, SIGNED]))
@settings(deadline=None)
def test_behind_a_relu_the_zero_point_is_the_lowest_code(x: torch.Tensor, scheme: Scheme) -> None:
    assert calibrated(x.relu(), scheme, floor=True).zero_point == scheme.activation_codes[0]


@given(values, st.sampled_from([UNSIGNED, SIGNED]))
@settings(deadline=None)
def test_behind_a_relu6_the_ceiling_has_the_highest_code(x: torch.Tensor, scheme: Scheme) -> None:
    found = calibrated(x.clamp(0, 6), scheme, floor=True, ceiling=6.0)
    low, high = scheme.activation_codes
    assert found.zero_point == low
    assert torch.round(torch.tensor(6.0) / found.scale) >= high - low


@given(values)
@settings(deadline=None)
def test_a_symmetric_scheme_has_its_zero_point_in_the_middle(x: torch.Tensor) -> None:
    assert calibrated(x, SYMMETRIC).zero_point == 0
    assert calibrated(x, Scheme(symmetric_activations=True)).zero_point == 128


def full_range(x: torch.Tensor, scheme: Scheme) -> ActivationRange:
    lowest, highest = scheme.activation_codes
    low, high = min(0.0, float(x.min())), max(0.0, float(x.max()))
    scale = (high - low) / (highest - lowest)
    return ActivationRange(scale, round(lowest - low / scale))


def error(x: torch.Tensor, found: ActivationRange, scheme: Scheme) -> float:
    return float((found.fake_quantize(x, scheme) - x).double().square().mean())


@pytest.mark.parametrize("scheme", [UNSIGNED, SIGNED])
@pytest.mark.parametrize("tail", [1, 3, 30])
def test_clipping_never_loses_to_the_full_range(scheme: Scheme, tail: float) -> None:
    x = torch.randn(20000, generator=torch.Generator().manual_seed(0))
    x[:3] *= tail
    found = calibrated(x, scheme)
    assert error(x, found, scheme) <= error(x, full_range(x, scheme), scheme) * (1 + 1e-6)


def test_an_outlier_is_clipped() -> None:
    x = torch.randn(400_000, generator=torch.Generator().manual_seed(0))
    x[0] = 40.0
    assert ends(calibrated(x, UNSIGNED), UNSIGNED)[1] < 30


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("kind", [{}, {"floor": True}, {"floor": True, "ceiling": 6.0}])
def test_a_tensor_of_zeros_has_a_usable_range(scheme: Scheme, kind: dict[str, float]) -> None:
    found = calibrated(torch.zeros(5), scheme, **kind)
    assert found.scale > 1e-6
    assert (found.fake_quantize(torch.zeros(5), scheme) == 0).all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(UnsupportedModelError, match="'t' holds values that are not finite"):
        calibrated(torch.tensor([1.0, bad]), UNSIGNED)
