"""Every runtime on one small network of quantizers: its answers, which kernels it ran, and what it tells of them."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.precision import Precision
from hawqsearch.errors import DeviceError, MissingDependencyError, UnknownNameError
from hawqsearch.runtime import find
from hawqsearch.runtime.find import RUNTIMES, find_runtime
from hawqsearch.runtime.interface import Arithmetic, Runtime
from tests.export import networks

WIDTHS = ("fp32", "w8a8", "w6a8", "w5a8", "w4a8", "w3a8", "w2a8")
NAME = "residual"


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> Runtime:
    if find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed; the test extra brings it")
    return find_runtime(request.param)


def configured(precision: str) -> FrozenDict[str, str]:
    """Every layer at `precision`, joins at int8 where the layers are."""
    spec = networks.traced(NAME).spec
    join = "fp32" if precision == "fp32" else "w8a8"
    return FrozenDict({n.name: precision if n in spec.layers else join for n in spec.nodes})


def model(config: FrozenDict[str, str]) -> bytes:
    content: bytes = networks.exported(NAME, config, functions=False).SerializeToString()
    return content


def feed() -> dict[str, np.ndarray]:
    return {"input": networks.inputs(NAME).numpy()}


def answer(runtime: Runtime, content: bytes) -> np.ndarray:
    with runtime.open(content) as session:
        (output,) = session.run(feed())
        again = session.run(feed())[0]
    assert (output == again).all()
    return output


def test_the_version_names_the_runtime(runtime: Runtime) -> None:
    name, version = runtime.version.split(" ")
    assert name == runtime.name in RUNTIMES
    assert all(part.isdecimal() for part in version.split("."))


@pytest.mark.parametrize("precision", WIDTHS)
def test_answers_are_onnxruntimes_within_rounding(runtime: Runtime, precision: str) -> None:
    """A code may round the other way where kernels add in another order, which moves what is behind it by less."""
    content = model(configured(precision))
    expected = answer(find_runtime("onnxruntime"), content)
    off = np.abs(answer(runtime, content) - expected).max() / np.abs(expected).max()
    assert off <= (1e-5 if precision == "fp32" else 0.05)


@pytest.mark.parametrize("precision", WIDTHS)
def test_layers_run_as_they_are_configured(runtime: Runtime, precision: str) -> None:
    assert arithmetic(runtime, configured(precision)) == dict.fromkeys(layers(), expected(precision))


@pytest.mark.parametrize("odd", [0, 1])
def test_mixed_neighbours_run_as_they_are_configured(runtime: Runtime, odd: int) -> None:
    """A float layer between quantized ones stays float."""
    config = dict(configured("w8a8"))
    config |= {layer: "fp32" for k, layer in enumerate(layers()) if k % 2 == odd}
    found = arithmetic(runtime, FrozenDict(config))
    assert found == {layer: expected(config[layer]) for layer in layers()}


def layers() -> list[str]:
    return [layer.name for layer in networks.traced(NAME).spec.layers]


def expected(precision: str) -> set[Arithmetic]:
    return {Arithmetic.FLOAT if Precision.parse(precision).is_float else Arithmetic.INT8}


def arithmetic(runtime: Runtime, config: FrozenDict[str, str]) -> dict[str, set[Arithmetic]]:
    """Layer -> what its kernels computed in."""
    ran = runtime.kernels_ran(model(config), feed())
    found: dict[str, set[Arithmetic]] = {layer: set() for layer in layers()}
    for name, op in ran.items():
        layer, kind = name.split("/")[0], runtime.arithmetic(op)
        if layer in found and kind is not None:
            found[layer].add(kind)
    return found


@pytest.mark.parametrize("precision", ["fp32", "w8a8"])
@pytest.mark.parametrize("runs", [3, 100])
def test_a_profiled_session_times_every_run_of_every_node(
    runtime: Runtime, precision: str, runs: int
) -> None:
    content = model(configured(precision))
    with runtime.open(content, profiled=True) as session:
        outputs = [session.run(feed())[0] for _ in range(runs)]
        nodes = session.kernels(skip_runs=2)
    assert all((output == outputs[0]).all() for output in outputs)
    kernels = [node for node in nodes if runtime.arithmetic(node.op) is not None]
    assert len(kernels) == len(layers())
    assert {runtime.arithmetic(node.op) for node in kernels} == expected(precision)
    assert all(len(node.times_ms) == runs - 2 for node in nodes)
    assert all(time_ms > 0 for node in kernels for time_ms in node.times_ms) or runtime.name == "onnxruntime"
    assert all(time_ms >= 0 for node in nodes for time_ms in node.times_ms)


def test_what_is_not_profiled_tells_no_times(runtime: Runtime) -> None:
    with runtime.open(model(configured("fp32"))) as session:
        session.run(feed())
        assert session.kernels() == []


def test_what_is_no_model_is_refused_in_one_line(runtime: Runtime) -> None:
    broken = onnx.ModelProto()
    broken.CopyFrom(networks.exported(NAME, configured("fp32")))
    broken.graph.node[0].op_type = "NoSuchOperator"
    for content in (b"nothing", broken.SerializeToString()):
        with (
            pytest.raises(DeviceError, match=f"{runtime.name} cannot load the model: .") as error,
            runtime.open(content),
        ):
            pass
        assert "\n" not in str(error.value)


def test_an_unknown_runtime_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean openvino"):
        find_runtime("openvno")


def test_one_that_is_not_installed_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'hawqsearch\[openvino\]'"):
        find_runtime("openvino")


def test_openvino_opens_no_connection_and_leaves_nothing_at_home(tmp_path: Path) -> None:
    """It brings a telemetry client that would, as soon as it is imported."""
    if find_spec("openvino") is None:
        pytest.skip("openvino is not installed; the test extra brings it")
    code = """
import json, sys
seen = []
def audit(event, arguments):
    if event.startswith(("socket.", "subprocess.", "os.fork", "os.posix_spawn")):
        seen.append(event)
sys.addaudithook(audit)
from hawqsearch.runtime.find import find_runtime
content = sys.stdin.buffer.read()
import numpy as np
with find_runtime("openvino").open(content) as session:
    session.run({"input": np.zeros(json.loads(sys.argv[1]), np.float32)})
print(json.dumps([*seen, *(m for m in sys.modules if "openvino_telemetry" in m)]))
"""
    shape = json.dumps(list(feed()["input"].shape))
    done = subprocess.run(
        [sys.executable, "-c", code, shape],
        input=model(configured("fp32")),
        capture_output=True,
        check=True,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )
    assert json.loads(done.stdout) == []
    assert not list(tmp_path.iterdir())
