"""Micro models run the kernel that they are timed for: the runtime's own profile says so."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest

from hawqsearch.core.hardware import Change, ChangeKey, KernelKey, Rig, Signature
from hawqsearch.core.target import Scheme
from hawqsearch.hardware import local
from hawqsearch.hardware.micro import arbitrary_feed, change_model, kernel_model, micro_model
from hawqsearch.hardware.rows import between_kernels, kernel_time
from hawqsearch.hardware.targets import find_target
from hawqsearch.runtime.find import find_runtime
from hawqsearch.runtime.interface import Arithmetic, KernelRun, Runtime
from hawqsearch.runtime.onnxruntime_cpu import OnnxRuntime

AROUND = {"QuantizeLinear", "DequantizeLinear", "Reshape"}


def conv(into: int, out: int, size: int, activation: str | None = None, groups: int = 1) -> Signature:
    return Signature(
        op="conv",
        input_shape=(1, into, 8, 8),
        output_shape=(1, out, 8, 8),
        weight_shape=(out, into // groups, size, size),
        stride=(1, 1),
        padding=(size // 2, size // 2),
        dilation=(1, 1),
        groups=groups,
        activation=activation,
    )


def linear(*shape: int, activation: str | None = None) -> Signature:
    return Signature(
        op="linear",
        input_shape=(*shape, 12),
        output_shape=(*shape, 5),
        weight_shape=(5, 12),
        activation=activation,
    )


def join(op: str, activation: str | None = None, window: tuple[int, ...] = ()) -> Signature:
    shape = (1, 8, 8, 8)
    return Signature(
        op=op,
        input_shape=shape,
        output_shape=shape,
        weight_shape=window,
        stride=window,
        padding=(0, 0) if window else (),
        activation=activation,
    )


KERNELS = [
    (conv(3, 8, 3), {"QLinearConv"}, {"Conv"}),
    (conv(8, 8, 3, "relu"), {"QLinearConv"}, {"FusedConv"}),
    (conv(8, 4, 1, "relu6"), {"QLinearConv"}, {"FusedConv"}),
    (conv(8, 8, 3, "relu6", groups=8), {"QLinearConv"}, {"FusedConv"}),
    (linear(1), {"QGemm"}, {"Gemm"}),
    (linear(4, activation="relu"), {"QGemm"}, {"FusedGemm"}),
    (linear(4, activation="relu6"), {"QGemm"}, {"Gemm", "Clip"}),
    (linear(1, 7), {"QGemm"}, {"Gemm"}),
    (linear(1, 7, activation="relu"), {"QGemm"}, {"Gemm", "Relu"}),
    (join("add"), {"QLinearAdd"}, {"Add"}),
    (join("add", "relu"), {"QLinearAdd"}, {"Add", "Relu"}),
    (join("concat"), {"QLinearConcat"}, {"Concat"}),
    (join("avg_pool", window=(8, 8)), {"QLinearAveragePool"}, {"AveragePool"}),
    (join("avg_pool", window=(2, 2)), {"QLinearAveragePool"}, {"AveragePool"}),
    (join("max_pool", window=(2, 2)), {"MaxPool"}, {"MaxPool"}),
]


@pytest.mark.parametrize(("signature", "int8", "floats"), KERNELS, ids=[str(k[0]) for k in KERNELS])
def test_a_kernel_model_runs_that_kernel(signature: Signature, int8: set[str], floats: set[str]) -> None:
    for integer, expected in ((True, int8), (False, floats)):
        model = kernel_model(signature, int8=integer, scheme=Scheme())
        ran = OnnxRuntime().kernels_ran(model.SerializeToString(), arbitrary_feed(model))
        assert set(ran.values()) - AROUND == expected
        assert integer or not set(ran.values()) & {"QuantizeLinear", "DequantizeLinear"}


@pytest.mark.parametrize(
    "shape", [(1, 8, 6, 6), (2, 3, 6, 6), (1, 12), (4, 1), (1, 7, 12), (3,), (1, 2, 3, 4, 5)]
)
@pytest.mark.parametrize("change", Change)
def test_a_change_model_has_the_change_between_two_kernels(shape: tuple[int, ...], change: Change) -> None:
    model = change_model(shape, to_int8=change is Change.TO_INT8, scheme=Scheme())
    ran = list(OnnxRuntime().kernels_ran(model.SerializeToString(), arbitrary_feed(model)).values())
    operators = {
        Change.TO_INT8: [{"Conv", "Gemm"}, {"QuantizeLinear"}, {"QLinearConv", "QGemm"}],
        Change.TO_FLOAT: [{"QLinearConv", "QGemm"}, {"DequantizeLinear"}, {"Conv", "Gemm"}],
    }[change]
    assert len(ran) == 3
    assert all(op in expected for op, expected in zip(ran, operators, strict=True))


def test_measuring_counts_the_runs_of_its_rounds_and_says_under_what_conditions() -> None:
    kernels = [KernelKey(s, p) for s, *_ in KERNELS[:6] for p in ("w8a8", "fp32")]
    changes = [ChangeKey((1, 8, 6, 6), change) for change in Change]
    done: list[int] = []
    before = os.sched_getaffinity(0)
    rig = Rig(device="this", runtime="onnxruntime", threads=1, batch=1)
    backend = local.LocalBackend(rounds=3)
    profile = backend.measure(find_target("x86-vnni"), rig, kernels, changes, on_round=done.append)
    assert sum(done) == backend.n_rounds == 3
    assert list(profile.kernels) == kernels
    assert list(profile.changes) == changes
    for row in (*profile.kernels.values(), *profile.changes.values()):
        assert 3 * 3 <= row.n <= 3 * 40
        assert 0 <= row.low_ms <= row.median_ms <= row.high_ms
        assert row.half_width is None  # three rounds have no interval
    (conditions,) = profile.conditions
    assert (conditions.rounds, conditions.thrown, conditions.threads) == (3, 0, 1)
    assert len(conditions.cores) == 1
    assert os.sched_getaffinity(0) == before
    assert profile.origin.startswith("measured: this")


# ---------------------------------------------------------------- a runtime that computes quantizers in kernels


@pytest.fixture(scope="module")
def fusing() -> Runtime:
    if find_spec("openvino") is None:
        pytest.skip("openvino is not installed; the test extra brings it")
    return find_runtime("openvino")


def nodes(runtime: Runtime, key: KernelKey | ChangeKey) -> list[KernelRun]:
    model = micro_model(key, Scheme(), fuses=runtime.fuses)
    with runtime.open(model.SerializeToString(), profiled=True) as session:
        for _ in range(4):
            session.run(arbitrary_feed(model))
        return session.kernels()


@pytest.mark.parametrize("precision", ["w8a8", "fp32"])
@pytest.mark.parametrize("signature", [k[0] for k in KERNELS], ids=str)
def test_a_kernel_that_fuses_is_told_from_what_brings_its_tensors(
    fusing: Runtime, signature: Signature, precision: str
) -> None:
    ran = nodes(fusing, KernelKey(signature, precision))
    arithmetic = {kind for run in ran if (kind := fusing.arithmetic(run.op)) is not None}
    if signature.is_weighted:
        assert arithmetic == {Arithmetic.FLOAT if precision == "fp32" else Arithmetic.INT8}
    else:
        assert not arithmetic
        assert any(run.name.startswith("kernel") for run in ran)
    assert kernel_time(ran, [2, 2]).median_ms >= 0


@pytest.mark.parametrize("shape", [(1, 8, 6, 6), (2, 3, 6, 6), (1, 12), (4, 1), (1, 7, 12)])
@pytest.mark.parametrize("change", Change)
def test_a_change_stands_alone_where_another_reader_needs_the_tensor_too(
    fusing: Runtime, shape: tuple[int, ...], change: Change
) -> None:
    ran = nodes(fusing, ChangeKey(shape, change))
    kinds = [fusing.arithmetic(run.op) for run in ran]
    one, other = Arithmetic.FLOAT, Arithmetic.INT8
    if change is Change.TO_FLOAT:
        one, other = other, one
    assert sorted(kind for kind in kinds if kind is not None) == sorted([one, other, one])
    assert between_kernels(ran, [2, 2]).median_ms > 0
