"""`hawqsearch solve`: its JSON object, its table, its errors."""

import importlib.resources
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hawqsearch.cli.app import main
from hawqsearch.core.problem_file import write_problem
from hawqsearch.strategies.exhaustive import ExhaustiveSearch
from hawqsearch.testing.problems import generated_problem, impossible_problem

PROBLEM = generated_problem(seed=5)


@pytest.fixture
def path(tmp_path: Path) -> str:
    write_problem(PROBLEM, tmp_path / "problem.json")
    return str(tmp_path / "problem.json")


def test_json_has_every_key(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["solve", path, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert list(document) == [
        *("status", "score", "bound", "gap", "strategy", "layers", "cost"),
        *("runner_up", "seconds", "runner_up_seconds", "origin"),
    ]
    best = ExhaustiveSearch().search(PROBLEM)
    assert document["status"] == "OPTIMAL"
    assert document["score"] == pytest.approx(best.score)
    assert document["gap"] <= 1e-6
    assert document["score"] == PROBLEM.score(document["layers"])
    assert set(document["runner_up"]) == {"score", "layers"}
    assert set(document["cost"]) == {"latency_ms", "energy_mj", "size_bytes", "bops", "weight_bits"}


def test_a_heuristic_has_no_bound(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["solve", path, "--strategy", "greedy", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["status"], document["bound"], document["gap"]) == ("FEASIBLE", None, None)
    assert document["strategy"] == "greedy"
    assert document["runner_up"] is None


def test_table_names_every_layer(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["solve", path]) == 0
    out = capsys.readouterr().out
    assert "OPTIMAL: score" in out
    assert "bound" in out
    for word in [*PROBLEM.choices, *PROBLEM.limits]:
        assert word in out


def test_infeasible_is_exit_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_problem(impossible_problem(seed=5), tmp_path / "problem.json")
    assert main(["solve", str(tmp_path / "problem.json"), "--json"]) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "the least is" in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (["--strategy", "magic"], "unknown strategy"),
        (["--time", "0"], "no duration"),
        (["--seed", "-1"], "seed"),
    ],
)
def test_bad_options(path: str, change: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["solve", path, *change]) == 2
    captured = capsys.readouterr()
    assert says in captured.err
    assert captured.err.count("\n") == 1


def test_bad_files(path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cut = tmp_path / "cut.json"
    cut.write_bytes(Path(path).read_bytes()[:40])
    for name in (str(cut), str(tmp_path / "none.json"), str(tmp_path)):
        assert main(["solve", name]) == 2
        captured = capsys.readouterr()
        assert name in captured.err
        assert captured.err.count("\n") == 1


def test_ctrl_c_is_exit_130(tmp_path: Path) -> None:
    layers = [f"l{i}" for i in range(40)]
    document = {
        "schema": "hawqsearch.problem",
        "schema_version": 1,
        "layers": {name: {"a": {"score": 0.0}, "b": {"score": 0.0}} for name in layers},
        "interactions": [
            {"layers": [x, y], "precisions": ["a", "b"], "score": ((i * 37 + j * 101) % 17) - 8.0}
            for i, x in enumerate(layers)
            for j, y in enumerate(layers[:i])
        ],
    }
    (tmp_path / "hard.json").write_text(json.dumps(document))
    command = [
        sys.executable,
        "-m",
        "hawqsearch.cli.app",
        "solve",
        str(tmp_path / "hard.json"),
        "--time",
        "60",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        time.sleep(2.0)
        os.kill(running.pid, signal.SIGINT)
        out, err = running.communicate(timeout=20)
    assert (running.returncode, out, err) == (130, "", "error: interrupted\n")


def test_a_limit_in_millijoules_binds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Changes of precision take energy too: the cheapest layers alone would fit, with the edge they do not."""

    def document(limit: float) -> dict[str, object]:
        layer = {
            "fp32": {"score": 0.0, "energy_mj": 2.0},
            "w8a8": {"score": 1.0, "energy_mj": 0.5},
        }
        edge = {"precisions": ["w8a8", "fp32"], "energy_mj": 0.4}
        return {
            "schema": "hawqsearch.problem",
            "schema_version": 1,
            "layers": {"first": layer, "second": layer},
            "edges": [{"from": "first", "to": "second", "costs": [edge]}],
            "base": {"energy_mj": 0.1},
            "limits": {"energy_mj": limit},
        }

    answers = {}
    for limit in (2.8, 2.6, 2.5):
        (tmp_path / "problem.json").write_text(json.dumps(document(limit)))
        assert main(["solve", str(tmp_path / "problem.json"), "--json"]) == 0
        answers[limit] = json.loads(capsys.readouterr().out)
    assert answers[2.8]["layers"] == answers[2.6]["layers"] == {"first": "fp32", "second": "w8a8"}
    assert answers[2.8]["cost"]["energy_mj"] == pytest.approx(2.6)
    assert answers[2.5]["layers"] == {"first": "w8a8", "second": "w8a8"}
    assert answers[2.5]["cost"]["latency_ms"] is None


def test_a_limit_in_millijoules_on_a_layer_without_energy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layers = {"first": {"fp32": {"score": 0.0, "latency_ms": 1.0}}}
    content = {"schema": "hawqsearch.problem", "schema_version": 1, "layers": layers}
    (tmp_path / "problem.json").write_text(json.dumps(content | {"limits": {"energy_mj": 1.0}}))
    assert main(["solve", str(tmp_path / "problem.json")]) == 2
    assert "energy_mj is limited but unknown for first fp32" in capsys.readouterr().err


# ---------------------------------------------------------------- published tables

T4 = "cuda-int8/t4_hawqv3_resnet18"
SHIPPED = Path(str(importlib.resources.files("hw_profiles"))) / "cuda-int8/profiles/t4_hawqv3_resnet18.csv"
REFERENCE = Path(os.environ.get("HAWQSEARCH_REFERENCE", Path(__file__).parents[3] / "shared" / "reference"))


def refused(capsys: pytest.CaptureFixture[str], *says: str) -> None:
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert all(word in said.err for word in says), said.err


def test_a_published_table_is_solved_and_says_where_it_is_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = str(tmp_path / "t4.json")
    assert main(["solve", T4, "--budget", "4ms", "--save", saved, "--json"]) == 0
    by_name = json.loads(capsys.readouterr().out)
    assert by_name["origin"].startswith("published: NVIDIA T4, HAWQ-V3")
    assert by_name["status"] == "OPTIMAL"
    assert by_name["cost"]["latency_ms"] <= 4
    for again in ([str(SHIPPED), "--budget", "4ms"], [saved]):
        assert main(["solve", *again, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["layers"] == by_name["layers"]
    assert main(["solve", T4]) == 0
    assert "costs and scores: published: NVIDIA T4" in capsys.readouterr().err


def test_bits_per_weight_of_a_published_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["solve", T4, "--budget", "4bpw", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["layers"].values()) == {"w4a4"}
    assert main(["solve", T4, "--budget", "8bpw", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["layers"].values()) == {"w8a8"}


@pytest.mark.skipif(
    not (REFERENCE / "hawqv3_resnet18.json").exists(),
    reason=f"no {REFERENCE}; set HAWQSEARCH_REFERENCE to the published instances",
)
@pytest.mark.parametrize("share", [0.75, 0.5, 0.25])
def test_the_published_configurations_come_out_of_the_command(
    share: float, capsys: pytest.CaptureFixture[str]
) -> None:
    published = json.loads((REFERENCE / "hawqv3_resnet18.json").read_text())
    low, high = (sum(row[f"latency_int{b}_ms"] for row in published["layers"]) for b in (4, 8))
    assert main(["solve", T4, "--budget", f"{low + share * (high - low)}ms", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["layers"]
    wanted = published["published"][f"latency_{share}"]
    assert {name: found[name] for name in wanted} == {name: f"w{b}a{b}" for name, b in wanted.items()}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["cuda-int8/t4"], ("published table 't4'", "t4_hawqv3_resnet18")),
        (["generic/t4"], ("published table 't4'", "generic has none")),
        (["no-target/t4"], ("cannot read no-target/t4",)),
        (["none.csv"], ("cannot read none.csv",)),
        ([T4, "--budget", "60%"], ("share of fp32's latency_ms",)),
        ([T4, "--budget", "3mJ"], ("energy_mj is limited but unknown",)),
        ([T4, "--budget", "4"], ("no unit",)),
    ],
)
def test_no_published_table(
    arguments: list[str], says: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["solve", *arguments]) == 2
    refused(capsys, *says)


def test_a_published_table_that_is_cut_short(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "short.csv"
    path.write_text(SHIPPED.read_text()[:-20])
    assert main(["solve", str(path)]) == 2
    refused(capsys, "short.csv, line 43", "cut short")


def test_a_budget_on_a_problem_file(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["solve", path, "--budget", "1KB", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["score"] < ExhaustiveSearch().search(PROBLEM).score
    assert main(["solve", path, "--budget", "1B"]) == 3
    capsys.readouterr()
    assert main(["solve", path, "--budget", "4bpw"]) == 2
    refused(capsys, "a problem file does not count weights")
