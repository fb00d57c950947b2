"""One search from a network to a file: what it promises, on the files and the runtime themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

import hawqsearch
from hawqsearch import api, pipeline
from hawqsearch.api import Options
from hawqsearch.cache import Cache
from hawqsearch.comparison import compare
from hawqsearch.core.budget import Budget
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.outcome import Outcome
from hawqsearch.core.placement import place
from hawqsearch.core.precision import Precision
from hawqsearch.core.profile_file import read_profile
from hawqsearch.core.progress import SILENT
from hawqsearch.core.space import SearchSpace
from hawqsearch.core.target import Target
from hawqsearch.errors import DeviceError, InfeasibleError, InputError
from hawqsearch.graph.trace import trace
from hawqsearch.hardware.local import LocalBackend
from hawqsearch.hardware.machines import find_machine, machine_names
from hawqsearch.hardware.targets import check_machine, find_target
from hawqsearch.pipeline import Context
from hawqsearch.quant.calibrated import calibrate
from hawqsearch.quant.simulate import simulate
from hawqsearch.run_folder import RunFolder
from hawqsearch.runtime.interface import Arithmetic
from hawqsearch.runtime.onnxruntime_cpu import OnnxRuntime
from hawqsearch.sensitivity.kl import KlAnalyzer
from hawqsearch.testing import tiny

WIDE, NARROW = "40% size", "20% size"


class Net(torch.nn.Module):
    """`TinyNet` with more channels, so that its file is mostly weights."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = torch.nn.Conv2d(1, 24, 3, padding=1, bias=False)
        self.norm = torch.nn.BatchNorm2d(24)
        self.first = torch.nn.Conv2d(24, 32, 3, padding=1)
        self.second = torch.nn.Conv2d(32, 24, 3, padding=1)
        self.head = torch.nn.Linear(24, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        x = torch.relu(x + self.second(torch.relu(self.first(x))))
        return self.head(torch.nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))


def net() -> Net:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Net()


@pytest.fixture(scope="module")
def target() -> Target:
    for name in ("x86-vnni", "x86-avx2"):
        try:
            check_machine(find_target(name))
        except DeviceError:
            continue
        return find_target(name)
    pytest.skip("this processor has neither VNNI nor AVX2, so no target here has int8 kernels")


@pytest.fixture(scope="module", autouse=True)
def short_rounds() -> Iterator[None]:
    """Milliseconds instead of seconds: what a median is worth is tested elsewhere."""
    real = pipeline.time_interleaved

    def short(*positional: Any, **named: Any) -> Any:
        return real(*positional, **named, round_ms=1.0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "time_interleaved", short)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


def run(
    folder: Path, target: Target, budget: str, name: str, model: torch.nn.Module | None = None
) -> Outcome:
    return hawqsearch.search(
        net() if model is None else model,
        tiny.data(),
        target=target,
        budget=budget,
        options=Options(out=RunFolder.open(folder / name, {"budget": budget})),
        context=Context(cache=Cache(folder / "cache")),
    )


@pytest.fixture(scope="module")
def wide(folder: Path, target: Target) -> Outcome:
    return run(folder, target, WIDE, "wide")


@pytest.fixture(scope="module")
def narrow(folder: Path, target: Target, wide: Outcome) -> Outcome:
    assert wide
    return run(folder, target, NARROW, "narrow")


@pytest.fixture(params=["wide", "narrow"])
def outcome(request: pytest.FixtureRequest) -> Outcome:
    found: Outcome = request.getfixturevalue(request.param)
    return found


def test_the_budget_is_met_by_the_file_itself(outcome: Outcome) -> None:
    assert outcome.run_dir is not None
    size = (outcome.run_dir / "model.onnx").stat().st_size
    share = Budget.parse(outcome.budget).terms[0].value
    assert size == outcome.size_bytes <= share * outcome.fp32_size_bytes
    assert outcome.limits["size_bytes"] == pytest.approx(share * outcome.fp32_size_bytes)


def test_two_budgets_give_two_answers_and_more_room_hurts_less(wide: Outcome, narrow: Outcome) -> None:
    assert wide.layers != narrow.layers
    assert narrow.size_bytes < wide.size_bytes
    assert narrow.result is not None
    assert wide.result is not None
    assert wide.result.score < narrow.result.score


def test_the_answer_is_proven(outcome: Outcome) -> None:
    assert outcome.status == "OPTIMAL"
    assert outcome.result is not None
    assert outcome.result.gap is not None
    assert outcome.result.gap <= 1e-6


def test_what_was_measured_says_so_and_what_was_predicted_too(outcome: Outcome) -> None:
    for latency in (outcome.measured, outcome.fp32, outcome.int8):
        assert latency.origin is not None
        assert latency.origin.startswith("measured: ")
        assert latency.latency_ms is not None
        assert latency.high_ms is not None
        assert 0 < latency.latency_ms <= latency.high_ms
    assert outcome.predicted.origin is not None
    assert outcome.predicted.origin.startswith("predicted: ")


def test_accuracy_is_that_of_the_test_split(outcome: Outcome) -> None:
    metric = outcome.metric
    assert metric is not None
    assert (metric.n, metric.n_groups) == (40, 40)
    assert metric.runtime.startswith("onnxruntime")
    assert outcome.run_dir is not None
    test = tiny.data().test
    with OnnxRuntime().open((outcome.run_dir / "model.onnx").read_bytes()) as session:
        answers = [session.run({"input": row[None]})[0].argmax() for row in test.inputs]
    assert metric.searched.value == pytest.approx(float(np.mean(np.array(answers) == test.labels)))


def test_the_run_file_holds_the_outcome(outcome: Outcome) -> None:
    assert outcome.run_dir is not None
    record = json.loads((outcome.run_dir / "run.json").read_text())
    assert (record["schema"], record["state"]) == ("hawqsearch.run", "done")
    assert record["outcome"]["layers"] == dict(outcome.layers)
    assert record["outcome"]["size_bytes"] == outcome.size_bytes
    assert record["data"]["test"] == {"sha256": tiny.data().test.sha256, "n": 40}
    rows = (outcome.run_dir / "layers.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["layer", *outcome.layers]


def test_the_exported_model_computes_the_simulation(outcome: Outcome, target: Target) -> None:
    """Calibrated anew, the same way: no output is off by more than a thousandth of the largest."""
    calibration = torch.from_numpy(tiny.data().calibration.inputs)
    traced = trace(net(), calibration[:2])
    calibrated = calibrate(traced, calibration, target.scheme, seed=0)
    simulation = simulate(calibrated, place(traced.spec, target, outcome.config), outcome.config)
    assert outcome.run_dir is not None
    inputs = tiny.data().test.inputs
    with OnnxRuntime().open((outcome.run_dir / "model.onnx").read_bytes()) as session:
        found = np.concatenate([session.run({"input": row[None]})[0] for row in inputs])
    expected = simulation(torch.from_numpy(inputs)).numpy()
    assert np.abs(found - expected).max() <= 1e-3 * np.abs(expected).max()


def test_exactly_the_layers_of_the_answer_run_int8(outcome: Outcome) -> None:
    assert outcome.run_dir is not None
    model = outcome.run_dir / "model.onnx"
    onnx.checker.check_model(onnx.load(model), full_check=True)
    runtime = OnnxRuntime()
    ran = runtime.kernels_ran(model.read_bytes(), {"input": tiny.data().test.inputs[:1]})
    for layer, precision in outcome.layers.items():
        (kernel,) = [op for name, op in ran.items() if name.startswith(f"{layer}/")]
        int8 = not Precision.parse(precision).is_float
        assert (runtime.arithmetic(kernel) is Arithmetic.INT8) == int8, layer


def test_a_second_run_takes_everything_from_the_cache_and_answers_the_same(
    folder: Path, target: Target, narrow: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("this is in the cache")

    for module, name in (
        (LocalBackend, "measure"),
        (pipeline, "calibrate"),
        (pipeline, "float_onnx"),
        (pipeline, "file_sizes"),
        (pipeline, "answers"),
    ):
        monkeypatch.setattr(module, name, refuse)
    monkeypatch.setattr("hawqsearch.sensitivity.kl._sweep", refuse)
    again = run(folder, target, NARROW, "again")
    assert again.layers == narrow.layers
    assert again.size_bytes == narrow.size_bytes
    assert again.metric == narrow.metric


def test_the_model_comes_back_unchanged(folder: Path, target: Target, narrow: Outcome) -> None:
    """In training mode, with gradients and a hook: and the random state is where it was."""
    assert narrow
    model = net().train()
    model.head.weight.requires_grad_(False)
    calls: list[int] = []
    model.stem.register_forward_hook(lambda *_: calls.append(1))
    model.first.weight.grad = torch.ones_like(model.first.weight)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random, numpy_random = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[union-attr]
    threads = torch.get_num_threads()
    run(folder, target, NARROW, "unchanged", model)
    assert all(m.training for m in model.modules())
    assert {n for n, p in model.named_parameters() if not p.requires_grad} == {"head.weight"}
    assert len(model.stem._forward_hooks) == 1
    assert model.first.weight.grad is not None
    assert model.first.weight.grad.eq(1).all()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert (np.random.get_state()[1] == numpy_random).all()  # type: ignore[index]
    assert torch.get_num_threads() == threads


def test_a_budget_that_nothing_meets_names_the_nearest(folder: Path, target: Target, narrow: Outcome) -> None:
    assert narrow
    with pytest.raises(InfeasibleError, match=r"no configuration meets 1% size .*size_bytes") as error:
        run(folder, target, "1% size", "impossible")
    nearest = error.value.outcome
    assert isinstance(nearest, Outcome)
    assert nearest.nearest is not None
    assert nearest.nearest["size_bytes"] <= narrow.size_bytes
    assert nearest.as_json()["nearest"] == dict(nearest.nearest)


def test_without_a_device_it_runs_too(tmp_path: Path) -> None:
    """`generic`: sizes are counted, accuracy is simulated, nothing is measured."""
    found = hawqsearch.search(
        net(),
        tiny.data(),
        target="generic",
        budget="20% size",
        options=Options(analyzer=KlAnalyzer(n_examples=8)),
        context=Context(cache=Cache(tmp_path)),
    )
    assert found.measured.latency_ms is None
    assert found.origin.startswith("predicted")
    assert found.size_bytes <= 0.2 * found.fp32_size_bytes
    assert found.metric is not None
    assert found.metric.runtime == "simulation"


def test_the_function_stays_a_function_after_it_was_called(wide: Outcome, narrow: Outcome) -> None:
    """A module of the same name, imported on the way, would take its place."""
    assert wide
    assert narrow
    assert hawqsearch.search is api.search
    assert callable(hawqsearch.search)


def test_a_layer_that_ran_in_another_kernel_is_not_returned(
    folder: Path, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runtime's profile is the proof: where it shows another kernel than the answer says, the run fails."""
    ran = OnnxRuntime.kernels_ran

    def wrong(*arguments: Any, **named: Any) -> dict[str, str]:
        swapped = {"QLinearConv": "FusedConv", "FusedConv": "QLinearConv", "Conv": "QLinearConv"}
        return {name: swapped.get(op, op) for name, op in ran(*arguments, **named).items()}

    monkeypatch.setattr(OnnxRuntime, "kernels_ran", wrong)
    with pytest.raises(DeviceError, match="did not run"):
        run(folder, target, NARROW, "wrong")


def test_the_next_best_is_returned_where_the_best_ran_otherwise(
    folder: Path, target: Target, narrow: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the configuration that would be returned is run in another kernel than it says."""
    ran = OnnxRuntime.kernels_ran
    seen: list[bytes] = []

    def wrong_at_first(runtime: OnnxRuntime, model: bytes, *arguments: Any, **named: Any) -> dict[str, str]:
        seen.append(model)
        found = ran(runtime, model, *arguments, **named)
        return dict.fromkeys(found, "Clip") if model == seen[0] else found

    monkeypatch.setattr(OnnxRuntime, "kernels_ran", wrong_at_first)
    notes: list[str] = []
    monkeypatch.setattr(type(SILENT), "note", lambda progress, text: notes.append(text))
    outcome = run(folder, target, NARROW, "next best")
    assert outcome.config != narrow.config
    assert outcome.chosen_by.startswith("proven: ")
    assert any("is not returned: the runtime did not run" in note for note in notes)


def test_average_bits_that_nothing_meets_are_not_met(tmp_path: Path) -> None:
    with pytest.raises(InfeasibleError, match="1bpw") as error:
        hawqsearch.search(
            net(),
            tiny.data(),
            target="generic",
            budget="1bpw",
            options=Options(analyzer=KlAnalyzer(n_examples=8)),
            context=Context(cache=Cache(tmp_path)),
        )
    assert isinstance(error.value.outcome, Outcome)
    assert error.value.outcome.nearest is not None
    assert error.value.outcome.nearest["weight_bits"] >= 2 * sum(
        p.numel() for n, p in net().named_parameters() if n.endswith("weight") and not n.startswith("norm")
    )


@pytest.mark.parametrize("name", ["arm-neon", "x86-vnni"])
def test_a_pinned_layer_is_searched_around(name: str, folder: Path, target: Target) -> None:
    asked = target if name.startswith("x86") else find_target(name)
    space = SearchSpace(
        precisions=tuple(map(Precision.parse, ("fp32", "w8a8"))),
        pins=FrozenDict({"stem": Precision.parse("fp32")}),
    )
    found = hawqsearch.search(
        net(),
        tiny.data(),
        target=asked,
        budget="60% size",
        options=Options(space=space),
        context=Context(cache=Cache(folder / "cache")),
    )
    assert found.layers["stem"] == "fp32"
    assert "w8a8" in found.layers.values()


def test_a_machine_that_is_not_here_is_priced_by_its_profile(folder: Path) -> None:
    """Nothing is timed: what the shipped grid lacks is predicted from it, and called so."""
    target = find_target("x86-vnni")
    profile = read_profile(find_machine(target, machine_names(target)[0]))
    found = hawqsearch.search(
        net(),
        tiny.data(),
        target=target,
        budget="40% size",
        options=Options(board=profile),
        context=Context(cache=Cache(folder / "cache")),
    )
    assert found.measured.latency_ms is None
    assert found.predicted.latency_ms is not None
    assert found.predicted.latency_ms > 0
    assert found.origin.startswith(f"predicted: {profile.rig.device}")


def test_a_profile_of_another_version_of_the_runtime_does_not_stand_for_this_one() -> None:
    target = find_target("x86-vnni")
    profile = read_profile(find_machine(target, machine_names(target)[0]))
    old = replace(profile, rig=replace(profile.rig, runtime="onnxruntime 1.10.0"))
    with pytest.raises(InputError, match=r"the profile is of onnxruntime 1\.10\.0"):
        hawqsearch.search(net(), tiny.data(), target=target, budget="40% size", options=Options(board=old))


def test_shipped_tables_stand_for_one_thread_and_one_example() -> None:
    with pytest.raises(InputError, match="one thread and batch 1"):
        hawqsearch.search(
            net(), tiny.data(), target="arm-neon", budget="40% size", options=Options(threads=4)
        )


def test_compare_prices_a_core_that_is_not_here_and_calls_nothing_measured() -> None:
    arm, context = find_target("arm-neon"), Context()
    space = SearchSpace(precisions=tuple(map(Precision.parse, ("fp32", "w8a8"))))
    network = pipeline.open_network(net(), tiny.data(), arm, space, context=context)
    rows = {row.name: row.as_json() for row in compare(network, {}, threads=1, context=context)}
    assert set(rows) == {"fp32", "int8"}
    for row in rows.values():
        assert row["measured"]["latency_ms"] is None
        assert row["predicted"]["latency_ms"] > 0
