"""Every kernel that the target lists runs, on CPU tensors and under PyTorch's own rules for CUDA tensors."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from hawqsearch.core.hardware import Change, ChangeKey, KernelKey, Signature
from hawqsearch.core.precision import Precision
from hawqsearch.errors import DeviceError, InputError
from hawqsearch.hardware.cuda.workloads import change_work, float_math, kernel_work
from hawqsearch.hardware.targets import find_target

CPU = torch.device("cpu")
CUDA = torch.device("cuda", 0)
CONV = Signature(
    op="conv",
    input_shape=(2, 8, 9, 9),
    output_shape=(2, 16, 5, 5),
    weight_shape=(16, 4, 3, 3),
    stride=(2, 2),
    padding=(1, 1),
    dilation=(1, 1),
    groups=2,
    activation="relu6",
)
LINEAR = Signature(
    op="linear", input_shape=(2, 5, 64), output_shape=(2, 5, 10), weight_shape=(10, 64), activation="relu"
)
POOL = {"weight_shape": (3, 3), "stride": (3, 3), "padding": (0, 0)}
SIGNATURES = {
    "conv": CONV,
    "linear": LINEAR,
    "add": Signature(op="add", input_shape=(2, 8, 9, 9), output_shape=(2, 8, 9, 9)),
    "concat": Signature(op="concat", input_shape=(2, 8, 9, 9), output_shape=(2, 16, 9, 9)),
    "avg_pool": Signature(op="avg_pool", input_shape=(2, 8, 9, 9), output_shape=(2, 8, 3, 3), **POOL),
    "max_pool": Signature(op="max_pool", input_shape=(2, 8, 9, 9), output_shape=(2, 8, 3, 3), **POOL),
}
LISTED = [
    KernelKey(SIGNATURES[op], p) for op, found in find_target("cuda-int8").kernels.items() for p in found
]
KINDS = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "w8a8": torch.float32,
    "fp8e4m3": torch.bfloat16,
    "w4a16": torch.float32,
}


@pytest.mark.parametrize("key", LISTED, ids=lambda key: f"{key.signature.op}-{key.precision}")
def test_every_listed_kernel_runs_on_cuda_as_far_as_its_rules_are_known(key: KernelKey) -> None:
    with FakeTensorMode():
        output = kernel_work(key, CUDA, (9, 0))()
    assert isinstance(output, torch.Tensor)
    assert output.device == CUDA
    assert output.dtype == KINDS[key.precision]
    if key.precision not in ("w8a8", "fp8e4m3", "w4a16"):  # these fill rows and columns up
        assert tuple(output.shape) == key.signature.output_shape


@pytest.mark.parametrize(
    "key",
    [key for key in LISTED if key.precision != "w4a16"],  # the CPU packs int4 otherwise
    ids=lambda key: f"{key.signature.op}-{key.precision}",
)
def test_and_on_the_cpu_where_it_has_the_kernel(key: KernelKey) -> None:
    assert isinstance(kernel_work(key, CPU, (9, 0))(), torch.Tensor)


@settings(max_examples=25)
@given(rows=st.integers(1, 70), inputs=st.integers(1, 300), outputs=st.integers(1, 300))
def test_any_linear_layer_is_filled_up_to_what_the_kernels_take(rows: int, inputs: int, outputs: int) -> None:
    signature = Signature(
        op="linear", input_shape=(rows, inputs), output_shape=(rows, outputs), weight_shape=(outputs, inputs)
    )
    with FakeTensorMode():
        for precision, multiple in (("w8a8", 8), ("fp8e4m3", 16), ("w4a16", 8)):
            output = kernel_work(KernelKey(signature, precision), CUDA, (9, 0))()
            assert isinstance(output, torch.Tensor)
            assert output.shape[0] >= max(rows, 17 if precision == "w8a8" else 1)
            assert 0 <= output.shape[1] - outputs < multiple
            assert output.shape[1] % multiple == 0


@pytest.mark.parametrize(
    ("precision", "capability"),
    [("bf16", (7, 5)), ("tf32", (7, 5)), ("w8a8", (7, 0)), ("fp8e4m3", (8, 6)), ("w4a16", (7, 5))],
)
def test_a_gpu_that_is_older_than_the_kernel(precision: str, capability: tuple[int, int]) -> None:
    with pytest.raises(DeviceError, match="needs a GPU of compute capability"):
        kernel_work(KernelKey(LINEAR, precision), CPU, capability)


@pytest.mark.parametrize(("op", "precision"), [("conv", "w8a8"), ("conv", "w4a8"), ("linear", "w4a8")])
def test_a_kernel_that_does_not_exist(op: str, precision: str) -> None:
    with pytest.raises(InputError, match=f"no {precision} kernel of {op} on CUDA.*size and no time"):
        kernel_work(KernelKey(SIGNATURES[op], precision), CPU, (9, 0))
    assert find_target("cuda-int8").kernel(op, precision) is None


@pytest.mark.parametrize("change", list(Change))
def test_changes(change: Change) -> None:
    output = change_work(ChangeKey((2, 3, 4), change), CPU)()
    assert isinstance(output, torch.Tensor)
    assert (tuple(output.shape), output.dtype) == (
        (2, 3, 4),
        torch.int8 if change is Change.TO_INT8 else torch.float32,
    )


@pytest.mark.parametrize(("precision", "chosen"), [("tf32", "tf32"), ("fp32", "ieee"), ("fp16", "ieee")])
def test_how_torch_multiplies_is_left_as_it_was(precision: str, chosen: str) -> None:
    backends = torch.backends

    def state() -> tuple[str, str, bool]:
        return (
            backends.cuda.matmul.fp32_precision,
            backends.cudnn.conv.fp32_precision,
            backends.cudnn.benchmark,
        )

    def broken_off() -> None:
        with float_math(precision):
            assert state() == (chosen, chosen, True)
            raise RuntimeError("on the way")

    before = state()
    with pytest.raises(RuntimeError, match="on the way"):
        broken_off()
    assert state() == before


def test_relu6_and_no_activation() -> None:
    plain = dataclasses.replace(LINEAR, activation=None)
    output = kernel_work(KernelKey(plain, "fp32"), CPU, (9, 0))()
    assert isinstance(output, torch.Tensor)
    assert output.min() < 0
    clipped = kernel_work(KernelKey(CONV, "fp32"), CPU, (9, 0))()
    assert isinstance(clipped, torch.Tensor)
    assert clipped.min() == 0
    assert clipped.max() <= 6


@pytest.mark.parametrize("name", ["tf32", "fp16", "bf16", "fp8e4m3"])
def test_precisions_of_whole_layers(name: str) -> None:
    precision = Precision.parse(name)
    assert str(precision) == name
    assert precision.weight == precision.activation
    assert precision.is_float == (name != "fp8e4m3")


def test_targets_of_processors_do_not_have_them() -> None:
    assert find_target("x86-vnni").kernel("linear", "fp16") is None
