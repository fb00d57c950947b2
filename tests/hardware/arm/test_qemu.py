"""onnxruntime's aarch64 kernels under qemu, where the tools for it are installed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.hardware import Change, ChangeKey, KernelKey, Rig, Signature
from hawqsearch.errors import DeviceError, InputError
from hawqsearch.hardware.arm.attribution import CALIBRATION, calibration_model
from hawqsearch.hardware.arm.backend import QemuBackend
from hawqsearch.hardware.arm.counts import Counts, instructions
from hawqsearch.hardware.arm.forms import decode
from hawqsearch.hardware.arm.qemu import Answer, Task, random_feed, run_models
from hawqsearch.hardware.arm.toolchain import Toolchain, build, missing
from hawqsearch.hardware.micro import change_model, kernel_model
from hawqsearch.hardware.shipped import shipped_profile
from hawqsearch.hardware.targets import find_target

LACKING = missing()
pytestmark = pytest.mark.skipif(bool(LACKING), reason=f"no simulator: {'; '.join(map(str, LACKING))}")

TARGET = find_target("arm-neon")
CONV = Signature(
    op="conv",
    input_shape=(1, 32, 12, 12),
    output_shape=(1, 64, 12, 12),
    weight_shape=(64, 32, 3, 3),
    stride=(1, 1),
    padding=(1, 1),
    dilation=(1, 1),
    activation="relu",
)
MACS = 64 * 32 * 9 * 12 * 12


@pytest.fixture(scope="module")
def toolchain(tmp_path_factory: pytest.TempPathFactory) -> Toolchain:
    return build(tmp_path_factory.mktemp("arm"))


MODELS: Mapping[str, onnx.ModelProto] = {
    "fp32": kernel_model(CONV, int8=False, scheme=TARGET.scheme),
    "int8": kernel_model(CONV, int8=True, scheme=TARGET.scheme),
    "change": change_model((1, 32, 12, 12), to_int8=True, scheme=TARGET.scheme),
}


@pytest.fixture(scope="module")
def dotprod(toolchain: Toolchain) -> dict[str, Answer]:
    """Each model once, in one process, on a processor with dot products."""
    return _answers(toolchain, "cortex-a76")


@pytest.fixture(scope="module")
def plain(toolchain: Toolchain) -> dict[str, Answer]:
    """The same without dot products."""
    return _answers(toolchain, "cortex-a72")


def _answers(toolchain: Toolchain, processor: str) -> dict[str, Answer]:
    tasks = [Task(model, nodes=name != "fp32") for name, model in MODELS.items()]
    return dict(zip(MODELS, run_models(toolchain, processor, tasks), strict=True))


def _executed(counts: Counts, mnemonic: str) -> int:
    return sum(n * sum(i.mnemonic == mnemonic for i in decode(code)) for code, n in counts.items())


def test_the_dot_products_are_the_multiply_accumulates(
    dotprod: dict[str, Answer], plain: dict[str, Answer]
) -> None:
    """16 in each SDOT: no other kernel ran, and no block was lost or counted twice."""
    assert _executed(dotprod["int8"].run.whole, "sdot") == MACS // 16
    assert _executed(plain["int8"].run.whole, "sdot") == 0
    assert _executed(dotprod["fp32"].run.whole, "fmla") == pytest.approx(MACS / 4, rel=0.02)


def test_fp32_runs_the_same_on_both(dotprod: dict[str, Answer], plain: dict[str, Answer]) -> None:
    counts = [instructions(answers["fp32"].run.whole) for answers in (dotprod, plain)]
    assert counts[0] == pytest.approx(counts[1], rel=2e-3)


def test_the_answers_are_those_of_this_machine(dotprod: dict[str, Answer], plain: dict[str, Answer]) -> None:
    """Integer kernels agree bit for bit, float ones to rounding."""
    for name, kind in (("int8", np.int8), ("fp32", np.float32)):
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.add_session_config_entry("session.qdqisint8allowed", "1")
        model = MODELS[name]
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        (expected,) = session.run(None, random_feed(model))
        for answers in (dotprod, plain):
            found = np.frombuffer(answers[name].output, kind).reshape(expected.shape)
            if name == "int8":
                np.testing.assert_array_equal(found, expected)
            else:
                np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_counts_per_node_are_those_of_the_kernels(dotprod: dict[str, Answer]) -> None:
    int8, change = dotprod["int8"].run, dotprod["change"].run
    assert [node.op for node in int8.nodes] == ["Transpose", "QLinearConv", "Transpose"]
    assert _executed(int8.nodes[1].counts, "sdot") == MACS // 16
    assert _executed(int8.nodes[0].counts, "sdot") == 0
    ops = [node.op for node in change.nodes]
    assert ops[:2] == ["Conv", "QuantizeLinear"]
    assert "QLinearConv" in ops


def test_two_runs_agree(toolchain: Toolchain, dotprod: dict[str, Answer]) -> None:
    """Also with one model before or after the other in the process."""
    again = run_models(toolchain, "cortex-a76", [Task(MODELS[name]) for name in ("int8", "fp32")])
    for name, answer in zip(("int8", "fp32"), again, strict=True):
        assert answer.output == dotprod[name].output
        assert instructions(answer.run.whole) == pytest.approx(
            instructions(dotprod[name].run.whole), rel=2e-3
        )


def test_the_backend_agrees_with_itself_and_the_shipped_table(tmp_path: Path, toolchain: Toolchain) -> None:
    table = shipped_profile(QemuBackend(folder=tmp_path).core)
    small = min(
        (k for k in table.kernels if k.signature.op == "conv"), key=lambda k: table.kernels[k].median_ms
    )
    change = ChangeKey((1, 32, 12, 12), Change.TO_INT8)
    backend = QemuBackend(folder=toolchain.runner.parents[1])
    rig = backend.rig(batch=1)
    steps: list[int] = []
    profile = backend.measure(TARGET, rig, [KernelKey(CONV, "w8a8"), small], [change], on_round=steps.append)
    assert sum(steps) == backend.n_rounds
    assert profile.origin.startswith("simulated: Cortex-A76 port model")
    assert profile.changes[change].median_ms > 0
    assert profile.kernels[small].median_ms == pytest.approx(table.kernels[small].median_ms, rel=0.05)
    assert profile == backend.measure(TARGET, rig, [KernelKey(CONV, "w8a8"), small], [change])


def test_threads_are_refused_before_anything_is_built(tmp_path: Path) -> None:
    rig = Rig(device="x", runtime="y", threads=2, batch=1)
    with pytest.raises(InputError, match="--threads 1"):
        QemuBackend(folder=tmp_path / "none").measure(TARGET, rig, [], [])
    assert not (tmp_path / "none").exists()


def test_a_model_that_the_runtime_refuses_is_told(toolchain: Toolchain) -> None:
    model = calibration_model(CALIBRATION[0])
    broken = onnx.ModelProto()
    broken.CopyFrom(model)
    broken.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(DeviceError, match="NoSuchOperator"):
        run_models(toolchain, "cortex-a76", [Task(broken, feed=FrozenDict(random_feed(model)))])
