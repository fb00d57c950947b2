"""`cuda-int8` without a GPU: profiled on a fake device, searched by that profile, refused where nothing is known."""

from __future__ import annotations

import dataclasses
import importlib.resources
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hawqsearch.cli.app import main
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.profile_file import read_profile, write_profile
from hawqsearch.hardware import targets
from hawqsearch.hardware.cuda import backend as cuda_backend
from hawqsearch.testing import tiny
from tests.hardware.cuda.fake import FakeDevice

GPU = ("--target", "cuda-int8", "--space", "tiny.toml", "--cache-dir", "cache")
SEARCH = ("search", *GPU, "--budget", "99.98% bops", "--json")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in a folder of its own, with the tiny space in it."""
    monkeypatch.chdir(tmp_path)
    tiny.write_space(tmp_path, precisions=("fp32", "w8a8"))
    monkeypatch.setattr(targets, "missing_gpu", lambda: "no NVIDIA driver is here")

    def command(*arguments: str) -> tuple[int, str, str]:
        code = main(list(arguments))
        said = capsys.readouterr()
        assert code == 0 or len(said.err.splitlines()) == 1, said.err
        return code, said.out, said.err

    return command


@pytest.fixture
def profile(run: Run, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that `profile` wrote on a GPU that is none; int4, whose operands only CUDA makes, has rows too."""
    with monkeypatch.context() as patch:
        patch.setattr(cuda_backend, "TorchCuda", FakeDevice)
        code, _, err = run("profile", *GPU, "--out", "gpu.csv", "--json")
    assert code == 0, err
    found = read_profile("gpu.csv")
    int4 = {
        dataclasses.replace(k, precision="w4a16"): m
        for k, m in found.kernels.items()
        if k.precision == "w8a8"
    }
    write_profile("gpu.csv", dataclasses.replace(found, kernels=FrozenDict({**found.kernels, **int4})))
    tiny.write_space(Path(), precisions=("fp32", "w8a8", "w4a16"))
    return Path("gpu.csv")


def test_a_search_by_the_profile_of_a_gpu(run: Run, profile: Path) -> None:
    code, out, err = run(*SEARCH, "--profile", str(profile), "--out", "run")
    assert code == 0, err
    found = json.loads(out)
    assert found["origin"].startswith("measured: Fake GPU, torch 0.0, CUDA 0.0")
    assert found["measured"]["latency_ms"] is None
    assert found["predicted"]["origin"].startswith("predicted: parts measured alone; Fake GPU")
    assert {name: p for name, p in found["layers"].items() if p != "fp32"}.keys() == {
        "head"
    }  # no int8 convolution
    layers = json.loads(Path("run/config.json").read_text())["layers"]
    assert {layer["precision"] for layer in layers} == set(found["layers"].values())


def test_without_a_gpu_or_a_profile_it_says_how_to_get_one(run: Run) -> None:
    code, out, err = run(*SEARCH)
    assert (code, out) == (4, "")
    assert "hawqsearch profile --target cuda-int8 --out gpu.csv" in err
    assert "--profile gpu.csv" in err


def test_a_gpu_that_is_here_is_measured(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "missing_gpu", lambda: None)
    monkeypatch.setattr(cuda_backend, "TorchCuda", FakeDevice)
    code, out, err = run(*SEARCH)
    assert code == 0, err
    assert json.loads(out)["origin"].startswith("measured: Fake GPU")


def test_a_profile_that_does_not_cover_the_network(run: Run, profile: Path) -> None:
    whole = read_profile(profile)
    few = dict(list(whole.kernels.items())[1:])
    write_profile(profile, dataclasses.replace(whole, kernels=FrozenDict(few)))
    code, out, err = run(*SEARCH, "--profile", str(profile))
    assert (code, out) == (4, "")
    assert f"lacks 1 of {len(whole.kernels) + len(whole.changes)} rows" in err
    assert "hawqsearch profile --target cuda-int8 --out FILE.csv" in err


@pytest.mark.parametrize("precision", ["tf32", "fp16", "bf16", "fp8e4m3"])
@pytest.mark.parametrize("verb", ["search", "analyze"])
def test_what_nothing_simulates_is_not_searched(verb: str, precision: str, run: Run, profile: Path) -> None:
    more = ("--budget", "99.98% bops", "--profile", str(profile)) if verb == "search" else ()
    code, out, err = run(verb, *GPU, *more, "--precisions", f"fp32,{precision}")
    assert (code, out) == (2, "")
    assert "precisions fp32, w8a8, w4a16 can be searched" in err
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("change", "arguments", "code", "says"),
    [
        ({}, ("--batch", "2"), 2, "other settings"),
        ({}, ("--threads", "2"), 2, "other settings"),
        ({"target": "arm-neon"}, (), 2, "the profile is of arm-neon"),
        ({"origin": "published"}, (), 2, "nothing in the profile was measured"),
    ],
)
def test_a_profile_that_is_not_of_this(
    change: dict[str, Any], arguments: tuple[str, ...], code: int, says: str, run: Run, profile: Path
) -> None:
    whole = read_profile(profile)
    if "origin" in change:
        rows = {k: dataclasses.replace(m, origin="published") for k, m in whole.kernels.items()}
        change = {"kernels": FrozenDict(rows), "changes": FrozenDict()}
    write_profile(profile, dataclasses.replace(whole, **change))
    ended, out, err = run(*SEARCH, "--profile", str(profile), *arguments)
    assert (ended, out) == (code, "")
    assert says in err


def test_a_published_table_is_no_profile(run: Run) -> None:
    table = Path(str(importlib.resources.files("hw_profiles"))) / "cuda-int8/profiles/t4_hawqv3_resnet18.csv"
    code, out, err = run(*SEARCH, "--profile", str(table))
    assert (code, out) == (2, "")
    assert f"hawqsearch solve {table}" in err


def test_whole_networks_are_not_compared_on_it(run: Run, profile: Path) -> None:
    assert run(*SEARCH, "--profile", str(profile), "--out", "run")[0] == 0
    code, _, err = run("compare", "run", "--target", "cuda-int8", "--space", "tiny.toml")
    assert code == 2
    assert "whole networks are not timed on cuda-int8" in err
