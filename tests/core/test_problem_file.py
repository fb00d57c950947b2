"""`hawqsearch.problem` files: written and read back, and every way of being wrong."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hawqsearch.core.cost import Cost
from hawqsearch.core.problem import SearchProblem
from hawqsearch.core.problem_file import read_problem, write_problem
from hawqsearch.errors import FileFormatError, InputError
from hawqsearch.testing.problems import generated_problem

GOOD: dict[str, Any] = {
    "schema": "hawqsearch.problem",
    "schema_version": 1,
    "layers": {
        "conv1": {
            "w8a8": {"score": 0.1, "latency_ms": 1, "size_bytes": 8},
            "fp32": {"score": 0, "latency_ms": 3.0},
        },
        "conv2": {"w8a8": {"score": 0.2, "latency_ms": 1.0}, "fp32": {"score": -0.1, "latency_ms": 3.0}},
        "add": {"w8a8": {"score": 0.0, "latency_ms": 0.0}, "fp32": {"score": 0.0, "latency_ms": 0.0}},
    },
    "ties": [["conv1", "conv2"]],
    "edges": [
        {
            "from": "conv1",
            "to": ["conv2", "add"],
            "costs": [{"precisions": ["w8a8", "fp32"], "latency_ms": 0.5}],
        },
        {"from": "conv2", "to": "add", "costs": [{"precisions": [["w8a8", "fp32"], ["fp32"]], "score": 0.5}]},
    ],
    "interactions": [{"layers": ["conv1", "conv2"], "precisions": ["w8a8", "w8a8"], "score": -0.05}],
    "base": {"latency_ms": 0.1},
    "limits": {"latency_ms": 4.0},
}


def read(tmp_path: Path, document: object) -> SearchProblem:
    path = tmp_path / "problem.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return read_problem(path)


def broken(*path: str | int, value: Any = None, remove: bool = False) -> dict[str, Any]:
    """`GOOD` with the entry at `path` replaced or removed."""
    document = copy.deepcopy(GOOD)
    place: Any = document
    for key in path[:-1]:
        place = place[key]
    if remove:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return document


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_read_is_the_inverse_of_write(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    problem, path = generated_problem(seed=seed), tmp_path_factory.mktemp("files") / "problem.json"
    write_problem(problem, path)
    assert read_problem(path) == problem


def test_what_the_numbers_mean(tmp_path: Path) -> None:
    problem = read(tmp_path, GOOD)
    config = {"conv1": "w8a8", "conv2": "w8a8", "add": "fp32"}
    assert problem.score(config) == pytest.approx(0.1 + 0.2 + 0.5 - 0.05)
    assert problem.cost(config).latency_ms == pytest.approx(0.1 + 2.0 + 0.5)
    assert problem.cost(config).size_bytes is None  # conv2 does not say
    assert dict(problem.limits) == {"latency_ms": 4.0}


def test_weight_bits_and_unknown_prices_are_kept(tmp_path: Path) -> None:
    document = broken("layers", "add", "w8a8", value={"score": 0.0, "latency_ms": 0.0, "weight_bits": 8})
    document["edges"][0]["costs"][0]["energy_mj"] = None
    problem = read(tmp_path, document)
    assert problem.choices["add"]["w8a8"].cost == Cost(latency_ms=0.0, weight_bits=8.0)
    assert problem.edges[0].prices[0].cost.energy_mj is None
    write_problem(problem, tmp_path / "again.json")
    assert read_problem(tmp_path / "again.json") == problem


def test_all_but_layers_may_be_left_out(tmp_path: Path) -> None:
    problem = read(tmp_path, {key: GOOD[key] for key in ("schema", "schema_version", "layers")})
    assert problem.cost(dict.fromkeys(problem.choices, "fp32")).latency_ms == 6.0


NAN, HUGE = float("nan"), "1e999"
BAD = {
    "truncated": (json.dumps(GOOD)[:300], "cut short"),
    "empty": ("", "cut short"),
    "no object": ("[1]", "not a problem file"),
    "other schema": (broken("schema", value="hawqsearch.bitconfig"), "hawqsearch.bitconfig"),
    "no schema": (broken("schema", remove=True), "not a problem file"),
    "other version": (broken("schema_version", value=99), "schema_version is 99"),
    "true as version": (broken("schema_version", value=True), "schema_version is True"),
    "no layers": (broken("layers", remove=True), "layers: Field required"),
    "empty layers": (broken("layers", value={}), "at least one layer"),
    "no precision": (broken("layers", "add", value={}), "'add' has no precision"),
    "unknown key": (broken("layers", "add", "fp32", "latncy_ms", value=1.0), "layers.add.fp32.*latency_ms"),
    "unknown key at the top": (broken("edgs", value=[]), "did you mean edges"),
    "no score": (broken("layers", "add", "fp32", value={"latency_ms": 1.0}), "layers.add.fp32.score"),
    "text for a number": (broken("layers", "add", "fp32", "score", value="low"), "layers.add.fp32.score"),
    "true for a number": (broken("layers", "add", "fp32", "score", value=True), "layers.add.fp32.score"),
    "NaN": (broken("layers", "add", "fp32", "score", value=NAN), "layers.add.fp32.score.*finite"),
    "infinity": (broken("limits", "latency_ms", value=float("inf")), "limits.latency_ms.*finite"),
    "overflow": (json.dumps(GOOD).replace("0.5", HUGE), "finite"),
    "negative cost": (broken("layers", "add", "fp32", "latency_ms", value=-1.0), "add.fp32.latency_ms.*-1"),
    "negative price": (
        broken("edges", 0, "costs", 0, "latency_ms", value=-1.0),
        "edges.0.costs.0.latency_ms",
    ),
    "negative limit": (broken("limits", "latency_ms", value=-1.0), "limits.latency_ms"),
    "limit on the unknown": (broken("limits", "size_bytes", value=10), "size_bytes.*conv1 fp32"),
    "unknown limit": (broken("limits", "latency", value=10), "did you mean latency_ms"),
    "unknown layer in an edge": (broken("edges", 1, "to", value="ad"), "did you mean add"),
    "unknown layer in a tie": (broken("ties", value=[["conv1", "conv3"]]), "did you mean conv"),
    "unknown layer in a pair": (
        broken("interactions", 0, "layers", value=["conv1", "x"]),
        "unknown layer 'x'",
    ),
    "unknown precision": (
        broken("edges", 0, "costs", 0, "precisions", value=["w8a8", "fp23"]),
        "precision of conv2 or add 'fp23'; did you mean fp32",
    ),
    "three precisions": (broken("edges", 0, "costs", 0, "precisions", value=["fp32"] * 3), "edges.0.costs.0"),
    "unknown precision in a pair": (
        broken("interactions", 0, "precisions", value=["w8a8", "w8a"]),
        "did you mean w8a8",
    ),
    "no consumer": (broken("edges", 0, "to", value=[]), "edges.0.to"),
    "pair twice": (
        broken(
            "interactions",
            value=[
                *GOOD["interactions"],
                {"layers": ["conv2", "conv1"], "precisions": ["w8a8"] * 2, "score": 1.0},
            ],
        ),
        "listed twice",
    ),
    "pair of one": (broken("interactions", 0, "layers", value=["conv1", "conv1"]), "two different layers"),
    "key twice": (
        json.dumps(GOOD).replace('"conv2": {"w8a8"', '"conv1": {"w8a8"', 1),
        "'conv1' is there twice",
    ),
    "ties that differ": (
        broken("layers", "conv1", "fp32", remove=True),
        "tied layers need the same precisions",
    ),
    "deep": ("[" * 10**5, "JSON"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_one_line_that_says_where(tmp_path: Path, name: str) -> None:
    document, says = BAD[name]
    with pytest.raises(FileFormatError, match=says) as caught:
        read(tmp_path, document)
    assert str(tmp_path / "problem.json") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_binary_and_missing_files(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileFormatError, match="UTF-8"):
        read_problem(tmp_path / "binary")
    for place in (tmp_path / "none.json", tmp_path):
        with pytest.raises(InputError, match="cannot read") as caught:
            read_problem(place)
        assert "\n" not in str(caught.value)
