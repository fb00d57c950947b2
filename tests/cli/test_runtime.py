"""`--runtime`: what is refused in one line, what `targets` and `doctor` say of it, and a whole search by OpenVINO."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from hawqsearch import pipeline
from hawqsearch.cli import doctor
from hawqsearch.cli.app import main
from hawqsearch.core.profile_file import read_profile
from hawqsearch.errors import DeviceError
from hawqsearch.hardware.targets import check_machine, find_target, runtimes_of, target_names
from hawqsearch.runtime import find
from hawqsearch.testing import tiny

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in an empty folder: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments: object) -> tuple[int, str, str]:
        code = main([str(a) for a in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A network of milliseconds, timed for milliseconds."""
    real = pipeline.time_interleaved

    def short(*positional: Any, **named: Any) -> Any:
        return real(*positional, **named, round_ms=1.0)

    monkeypatch.setattr(pipeline, "time_interleaved", short)
    return tiny.write_space(tmp_path)


@pytest.fixture
def openvino_here() -> None:
    if find_spec("openvino") is None:
        pytest.skip("openvino is not installed; the test extra brings it")
    try:
        check_machine(find_target("x86-vnni"))
    except DeviceError as error:
        pytest.skip(str(error))


VERBS = {
    "search": ("search", "--budget", "70%", "--target"),
    "profile": ("profile", "--target"),
    "compare": ("compare", "config.json", "--target"),
    "targets": ("targets",),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("target", "runtime", "says"),
    [
        ("x86-vnni", "openvin", "unknown runtime 'openvin'; did you mean openvino?"),
        ("arm-neon", "openvino", "arm-neon is not run by openvino; it has onnxruntime"),
        ("arm-neon:cortex-a72", "openvino", "it has onnxruntime"),
        ("cuda-int8", "onnxruntime", "cuda-int8 is not run by onnxruntime; it has torch"),
        ("generic", "openvino", "generic is not run by openvino; it has none"),
    ],
)
def test_a_runtime_that_the_target_does_not_have(
    run: Run, verb: str, target: str, runtime: str, says: str
) -> None:
    code, out, err = run(*VERBS[verb], target, "--runtime", runtime)
    assert (code, out, len(err.splitlines())) == (2, "", 1), err
    assert says in err


@pytest.mark.parametrize("verb", VERBS)
def test_one_that_is_not_installed_says_how_to_get_it(
    run: Run, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find, "find_spec", lambda name: None)
    code, out, err = run(*VERBS[verb], "x86-vnni", "--runtime", "openvino")
    assert (code, out, len(err.splitlines())) == (2, "", 1), err
    assert "openvino is not installed; pip install 'hawqsearch[openvino]'" in err


@pytest.mark.usefixtures("openvino_here")
def test_a_board_is_measured_by_its_own_onnxruntime(run: Run) -> None:
    code, _, err = run("profile", "--target", "x86-vnni", "--runtime", "openvino", "--host", "me@board")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "--host measures with the board's own onnxruntime; leave --runtime away" in err


def test_a_runtime_without_a_target_is_refused(run: Run) -> None:
    code, _, err = run("targets", "--runtime", "openvino")
    assert code == 2
    assert "--runtime is about one target; name it" in err


@pytest.mark.parametrize("name", target_names())
def test_targets_tells_the_runtimes_the_default_first(run: Run, name: str) -> None:
    code, out, _ = run("targets", name, "--json")
    assert code == 0
    found = json.loads(out)["targets"][name]
    assert found["runtimes"] == list(runtimes_of(find_target(name)))
    assert found["runtimes"][:1] == ([found["runtime"]] if found["runtime"] else [])
    assert ("openvino" in found["runtimes"]) == name.startswith("x86-")


@pytest.mark.usefixtures("openvino_here")
@pytest.mark.parametrize("name", ["x86-avx2", "x86-vnni"])
def test_facts_of_a_runtime_are_its_own(run: Run, name: str) -> None:
    """Every kernel says where its fact comes from, and none of them is onnxruntime's."""
    code, out, _ = run("targets", name, "--runtime", "openvino", "--json")
    assert code == 0
    found = json.loads(out)["targets"][name]
    assert found["kernels"].keys() == find_target(name).kernels.keys()
    assert found["runtime"] == "openvino"
    for kernels in found["kernels"].values():
        for kernel in kernels.values():
            assert "OpenVINO" in kernel["source"]
            assert "onnxruntime" not in kernel["note"]
    assert "runs on openvino too" in run("targets", name)[1]
    assert "runs on onnxruntime too" in run("targets", name, "--runtime", "openvino")[1]


def test_doctor_says_whether_it_is_there(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    def finding() -> dict[str, Any]:
        findings = json.loads(run("doctor", "--json")[1])["findings"]
        (found,) = [f for f in findings if f["what"] == "openvino"]
        return dict(found)

    monkeypatch.setattr(doctor, "version", lambda name: "1.2.3")
    assert "openvino 1.2.3" in finding()["found"]
    monkeypatch.setattr(doctor, "version", missing)
    assert "not installed" in finding()["found"]
    assert "hawqsearch[openvino]" in finding()["remedy"]


@pytest.mark.usefixtures("openvino_here")
def test_a_search_is_timed_and_judged_by_openvino(run: Run, space: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    code, text, err = run(
        *("search", "--target", "native", "--runtime", "openvino", "--budget", "75% size", "--json"),
        *("--space", space, "--cache-dir", tmp_path / "cache", "--out", out),
    )
    assert code == 0, err
    found = json.loads(text)
    assert found["metric"]["runtime"].startswith("openvino ")
    assert ", openvino " in found["origin"]
    assert found["origin"].startswith("measured: ")
    for what in ("fp32", "int8", "measured"):
        assert found[what]["latency_ms"] > 0
        assert ", openvino " in found[what]["origin"]
    assert (out / "model.onnx").stat().st_size == found["size_bytes"]
    assert b"Unpack" not in (out / "model.onnx").read_bytes()


@pytest.mark.usefixtures("openvino_here")
def test_a_profile_of_one_runtime_is_not_one_of_the_other(run: Run, space: Path, tmp_path: Path) -> None:
    arguments = ("profile", "--target", "x86-vnni", "--space", space, "--out", tmp_path / "rows.csv")
    cache = ("--cache-dir", tmp_path / "cache")
    code, _, err = run(*arguments, "--runtime", "openvino", *cache)
    assert code == 0, err
    found = read_profile(tmp_path / "rows.csv")
    assert found.rig.runtime.startswith("openvino ")
    assert all(row.median_ms >= 0 for row in (*found.kernels.values(), *found.changes.values()))
    code, _, err = run(*arguments, *cache)
    assert code == 2
    assert "openvino" in err
    assert "onnxruntime" in err
    assert len(err.splitlines()) == 1
