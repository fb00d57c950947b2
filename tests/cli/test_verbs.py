"""Each verb on the tiny network: one JSON object, or tables; exit 0."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hawqsearch.cli.app import main
from hawqsearch.cli.profile_report import key_cells
from hawqsearch.core.profile_file import read_profile
from hawqsearch.errors import DeviceError
from hawqsearch.hardware.targets import check_machine, find_target, target_names
from hawqsearch.spaces import space_names
from hawqsearch.testing import tiny

Print = Callable[..., str]


@pytest.fixture
def prints(capsys: pytest.CaptureFixture[str]) -> Print:
    """What a command that ends well prints to stdout."""

    def command(*arguments: object) -> str:
        assert main([str(a) for a in arguments]) == 0
        return capsys.readouterr().out

    return command


@pytest.fixture
def shared(tmp_path: Path) -> list[object]:
    return ["--space", tiny.write_space(tmp_path), "--cache-dir", tmp_path / "cache"]


def x86() -> str:
    """The x86 target that this machine is; skips where it is none."""
    for name in ("x86-vnni", "x86-avx2"):
        try:
            check_machine(find_target(name))
        except DeviceError:
            continue
        return name
    pytest.skip("this processor has neither VNNI nor AVX2: its kernels cannot be timed")


@pytest.mark.parametrize("analyzer", ["kl", "interaction"])
def test_analyze(analyzer: str, prints: Print, shared: list[object], tmp_path: Path) -> None:
    out = tmp_path / "table.json"
    found = json.loads(prints("analyze", "--analyzer", analyzer, *shared, "--json", "--out", out))
    assert json.loads(out.read_text()) == found
    assert found["quantity"] == "kl"
    assert list(found["layers"]) == ["stem", "first", "second", "head"]
    assert set(found["layers"]["first"]) == {"int8", "int4"}
    cells = [c for part in ("layers", "activations") for f in found[part].values() for c in f.values()]
    assert all(math.isfinite(c["value"]) and c["stderr"] >= 0 for c in cells)
    assert (found["pairs"] is None) == (analyzer == "kl")
    if found["pairs"]:
        sizes = [abs(pair["score"]) for pair in found["pairs"]]
        assert sizes == sorted(sizes, reverse=True)


def test_analyze_in_words(prints: Print, shared: list[object]) -> None:
    words = prints("analyze", *shared)
    rows = [line.split()[0] for line in words.splitlines() if "±" in line]
    assert rows[:4] == ["stem", "first", "second", "head"]
    assert "24 examples of 24 sources" in words


def test_profile(prints: Print, shared: list[object], tmp_path: Path) -> None:
    name, out = x86(), tmp_path / "profile.csv"
    found = json.loads(prints("profile", "--target", name, *shared, "--json", "--out", out))
    rows = [*found["kernels"], *found["changes"]]
    assert found["origin"].startswith("measured: ")
    assert {r["precision"] for r in found["kernels"]} == {"fp32", "w8a8"}
    assert {r["precision"] for r in found["changes"]} == {"to_int8", "to_float"}
    tick = 1e-3  # the runtime's clock: the median is finer, the quartiles are not
    assert all(r["quartile1_ms"] - tick < r["median_ms"] < r["quartile3_ms"] + tick for r in rows)
    assert all(r["median_ms"] > 0 and r["n"] > 10 for r in rows)
    written = read_profile(out)
    keys = [*written.kernels, *written.changes]
    assert [key_cells(key)["signature"] for key in keys] == [r["signature"] for r in rows]
    words = prints("profile", "--target", name, *shared)
    assert "quartiles, ms" in words
    assert found["kernels"][0]["signature"] in words


def test_compare(prints: Print, shared: list[object], tmp_path: Path) -> None:
    run = tmp_path / "run"
    budget = ("search", "--target", "generic", "--budget", "30% size")
    prints(*budget, *shared, "--out", run, "--json")
    found = json.loads(prints("compare", run, "--target", "generic", *shared, "--json"))
    rows: dict[str, Any] = found["configurations"]
    assert list(rows) == ["fp32", "int8", str(run)]
    assert found["metric"]["n"] == 20
    assert rows[str(run)]["size_bytes"] <= 0.3 * rows["fp32"]["size_bytes"]
    assert rows["fp32"]["versus_fp32"] == {"value": 0.0, "stderr": 0.0}
    assert all(row["measured"]["latency_ms"] is None for row in rows.values())


def test_compare_on_this_machine(
    prints: Print, shared: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, run = x86(), Path("run")
    monkeypatch.chdir(tmp_path)
    prints("search", "--target", "generic", "--budget", "30% size", *shared, "--out", run, "--json")
    words = prints("compare", run / "config.json", "--target", name, *shared)
    assert str(run / "config.json") in words
    assert "measured: " in words


def test_targets(prints: Print) -> None:
    found = json.loads(prints("targets", "--json"))["targets"]
    assert tuple(found) == target_names()
    kernels = found["x86-vnni"]["kernels"]
    assert kernels["conv"]["fp32"]["buys"] == []
    assert kernels["conv"]["w8a8"]["buys"] == ["time", "size"]
    assert kernels["conv"]["w4a8"]["buys"] == ["size"]
    assert kernels["add"]["w8a8"]["buys"] == ["time"]
    assert found["generic"]["kernels"]["conv"]["w8a8"]["buys"] == ["size"]
    assert found["generic"]["this_machine"] is None
    assert found["arm-neon"]["this_machine"] is None
    assert found["cuda-int8"]["published"] == ["cuda-int8/t4_hawqv3_resnet18"]
    assert all(
        kernel["source"] for kernels in found["cuda-int8"]["kernels"].values() for kernel in kernels.values()
    )


def test_one_target_in_words(prints: Print) -> None:
    words = prints("targets", "x86-vnni")
    (narrow,) = [line for line in words.splitlines() if line.split()[:1] == ["w4a8"]]
    assert "buys size, w8a8's time" in narrow
    assert "does not exist" in narrow


def test_spaces(prints: Print, tmp_path: Path) -> None:
    found = json.loads(prints("spaces", "--json", "--data", tmp_path))
    assert tuple(found["spaces"]) == space_names()
    assert Path(found["spaces"][found["default"]]["weights"]).exists()
    assert found["spaces"]["digits"]["missing_data"] == []
    assert found["spaces"]["cifar10_resnet20"]["weights"] is None
    assert found["spaces"]["cifar10_resnet20"]["missing_data"]
    assert "HAWQSEARCH_DATA" in prints("spaces", "--data", tmp_path)


def test_doctor(prints: Print, tmp_path: Path) -> None:
    found = json.loads(prints("doctor", "--json", "--cache-dir", tmp_path))
    what = {finding["what"]: finding for finding in found["findings"]}
    assert {"processor", "targets", "governor", "load", "energy", "packages", "cache", "data"} <= set(what)
    assert "torch" in what["packages"]["found"]
    assert what["cache"]["state"] == "good"
    (tmp_path / "file").write_text("")
    assert "--cache-dir" in prints("doctor", "--cache-dir", tmp_path / "file" / "below")


@pytest.mark.parametrize("verb", ["targets", "spaces", "doctor"])
def test_what_only_looks_loads_nothing_heavy(verb: str) -> None:
    probe = f"import sys; from hawqsearch.cli.app import main; main([{verb!r}]); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert not {"torch", "onnxruntime", "sklearn"} & {m.partition(".")[0] for m in done.stderr.split()}
