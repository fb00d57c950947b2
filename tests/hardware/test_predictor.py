"""What a predictor learns from a profile whose times follow a law that the test knows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

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
from hawqsearch.core.profile_file import read_profile, write_profile
from hawqsearch.errors import InputError
from hawqsearch.hardware.grid import change_grid, kernel_grid
from hawqsearch.hardware.kernel_features import features_of, kind_of, work_of
from hawqsearch.hardware.predictor import LatencyPredictor, fit_predictor, learned
from hawqsearch.hardware.wide_grid import wide_change_grid, wide_kernel_grid

RIG = Rig(device="a machine", runtime="a runtime 1.0", threads=1, batch=1)
Key = KernelKey | ChangeKey


def row(ms: float) -> Measurement:
    return Measurement(median_ms=ms, low_ms=ms, high_ms=ms, n=9, date="2026-11-21")


def profile_of(keys: list[Key], law: Callable[[Key], float]) -> HardwareProfile:
    return HardwareProfile(
        target="x86-vnni",
        rig=RIG,
        date="2026-11-21",
        kernels=FrozenDict({k: row(law(k)) for k in keys if isinstance(k, KernelKey)}),
        changes=FrozenDict({k: row(law(k)) for k in keys if isinstance(k, ChangeKey)}),
    )


def pointwise(n: int, seed: int) -> list[Key]:
    return [k for k in kernel_grid(4 * n, seed=seed) if kind_of(k) == "pointwise conv w8a8"][:n]


def vector_law(key: Key) -> float:
    """A machine that computes whole blocks of 16 outputs, and needs 5 us for any kernel."""
    assert isinstance(key, KernelKey)
    out = key.signature.output_shape[1]
    return 0.005 + work_of(key) * (math.ceil(out / 16) * 16 / out) * 2e-8


@pytest.fixture(scope="module")
def predictor() -> LatencyPredictor:
    """Taught by 120 shapes that follow `vector_law`."""
    return fit_predictor(profile_of(pointwise(120, seed=1), vector_law))


def test_unseen_shapes_are_predicted_within_ten_percent(predictor: LatencyPredictor) -> None:
    asked = pointwise(60, seed=2)
    found = predictor.predict(asked)
    errors = [abs(found[k].median_ms / vector_law(k) - 1) for k in asked]
    assert np.mean(np.array(errors) < 0.10) >= 0.95


def test_a_predicted_row_says_so_and_its_interval_is_wider_far_from_what_was_taught(
    predictor: LatencyPredictor,
) -> None:
    near = pointwise(40, seed=2)[0]
    assert isinstance(near, KernelKey)
    far = KernelKey(
        Signature(
            op="conv",
            input_shape=(1, 16384, 2, 2),
            output_shape=(1, 16384, 2, 2),
            weight_shape=(16384, 16384, 1, 1),
            stride=(1, 1),
            padding=(0, 0),
            dilation=(1, 1),
        ),
        "w8a8",
    )
    found = predictor.predict([near, far])
    assert found[near].origin == "predicted"
    assert found[near].n == 0
    widths = {k: math.log(m.high_ms / m.low_ms) for k, m in found.items()}
    assert widths[far] > 2 * widths[near] > 0


def test_intervals_hold_what_was_measured_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    noise = {k: math.exp(rng.normal(0, 0.05)) for k in pointwise(80, seed=1) + pointwise(60, seed=2)}
    law = lambda key: vector_law(key) * noise[key]  # noqa: E731
    asked = pointwise(60, seed=2)
    found = fit_predictor(profile_of(pointwise(80, seed=1), law)).predict(asked)
    inside = [found[k].low_ms <= law(k) <= found[k].high_ms for k in asked]
    assert np.mean(inside) >= 0.85


def test_what_is_in_the_profile_stays_and_the_rest_is_filled() -> None:
    taught, asked = pointwise(60, seed=1), pointwise(20, seed=2)
    profile = profile_of(taught, vector_law)
    filled = fit_predictor(profile).fill(profile, [*taught, *asked])
    assert set(filled.kernels) == {*taught, *asked}
    assert all(filled.kernels[k] == profile.kernels[k] for k in profile.kernels)
    assert filled.origin.startswith("predicted")


def test_a_kind_that_few_rows_taught_is_refused() -> None:
    taught = fit_predictor(profile_of(pointwise(11, seed=1), vector_law))
    with pytest.raises(InputError, match=r"fewer than 12 pointwise conv w8a8.*hawqsearch profile"):
        taught.predict(pointwise(1, seed=2))


def test_scales_travel_in_the_profile_and_give_the_same_times(tmp_path: Path) -> None:
    taught, asked = pointwise(60, seed=1), pointwise(10, seed=2)
    plain, file = profile_of(taught, vector_law), tmp_path / "profile.csv"
    write_profile(file, learned(plain))
    shipped = read_profile(file)
    assert set(shipped.scales) == {"pointwise conv w8a8"}
    there, here = fit_predictor(shipped).predict(asked), fit_predictor(plain).predict(asked)
    for key in asked:
        assert there[key].median_ms == pytest.approx(here[key].median_ms, rel=0.01)


def test_scales_that_are_at_hand_are_not_learned_again() -> None:
    """Absurd ones are used as they are; those for another number of features are not."""
    asked = pointwise(10, seed=2)
    profile = profile_of(pointwise(60, seed=1), vector_law)
    own = learned(profile).scales["pointwise conv w8a8"]
    absurd = (own[0], *(-3.0 for _ in own[1:-1]), own[-1])
    good, bad, cut = (
        fit_predictor(replace(profile, scales=FrozenDict({"pointwise conv w8a8": scales}))).predict(asked)
        for scales in (own, absurd, absurd[:-1])
    )
    assert any(abs(bad[k].median_ms / good[k].median_ms - 1) > 0.1 for k in asked)
    assert all(abs(cut[k].median_ms / good[k].median_ms - 1) < 0.01 for k in asked)


def test_only_kinds_that_are_wanted_are_learned() -> None:
    profile = profile_of([*kernel_grid(60, seed=0)], work_of)
    taught = fit_predictor(profile, wanted=pointwise(1, seed=2))
    assert set(taught.processes) == {"pointwise conv w8a8"}


def test_every_shape_of_the_grids_has_features_and_those_of_a_kind_are_as_many() -> None:
    keys: list[Key] = [
        *kernel_grid(200, seed=3),
        *wide_kernel_grid(200, seed=3),
        *change_grid(40, seed=3),
        *wide_change_grid(40, seed=3),
    ]
    counts: dict[str, set[int]] = {}
    for key in keys:
        features = features_of(key)
        assert all(map(math.isfinite, features))
        counts.setdefault(kind_of(key), set()).add(len(features))
    assert all(len(found) == 1 for found in counts.values())
    assert {"linear fp32", "concat w8a8", "max_pool fp32", f"change {Change.TO_INT8} flat"} <= set(counts)


def test_padding_at_the_border_is_told_apart() -> None:
    """A 5x5 window on a 6x6 image sees padding at most places, a 3x3 one on 64x64 hardly ever."""

    def conv(size: int, window: int) -> KernelKey:
        shape = (1, 16, size, size)
        return KernelKey(
            Signature(
                op="conv",
                input_shape=shape,
                output_shape=shape,
                weight_shape=(16, 16, window, window),
                stride=(1, 1),
                padding=(window // 2, window // 2),
                dilation=(1, 1),
            ),
            "fp32",
        )

    inside = math.log2((3 + 4 + 5 + 5 + 4 + 3) / 30)
    assert any(f == pytest.approx(inside) for f in features_of(conv(6, 5)))
    assert any(f == pytest.approx(math.log2((64 * 3 - 2) / (64 * 3))) for f in features_of(conv(64, 3)))
