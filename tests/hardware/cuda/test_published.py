"""HAWQ-V3's T4 table says what was published, and its configurations come out of it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from hawqsearch.core.problem_file import read_problem, write_problem
from hawqsearch.core.result import Status
from hawqsearch.errors import FileFormatError, UnknownNameError
from hawqsearch.hardware.published import (
    find_published,
    is_published,
    published_names,
    published_problem,
    read_published,
)
from hawqsearch.strategies.ilp import IlpSearch

REFERENCE = Path(os.environ.get("HAWQSEARCH_REFERENCE", Path(__file__).parents[4] / "shared" / "reference"))
HAWQV3 = REFERENCE / "hawqv3_resnet18.json"
NAME = "t4_hawqv3_resnet18"
HEAD = "# origin: published: somebody\nlayer,tie,weights,macs,precision,bits,latency_ms,hessian_trace,perturbation\n"
needs_reference = pytest.mark.skipif(
    not HAWQV3.exists(), reason=f"no {HAWQV3}; set HAWQSEARCH_REFERENCE to the published instances"
)


def test_the_table_ships_and_says_where_it_is_from() -> None:
    assert published_names("cuda-int8") == (NAME,)
    assert published_names("generic") == ()
    table = find_published("cuda-int8", NAME)
    assert table.origin.startswith("published: NVIDIA T4, HAWQ-V3")
    assert len(table.choices) == 19
    assert all(set(options) == {"w8a8", "w4a4"} for options in table.choices.values())
    assert [len(group) for group in table.ties] == [2, 2, 2]
    with pytest.raises(UnknownNameError, match=NAME):
        find_published("cuda-int8", "t4_hawqv3_resnet")


@needs_reference
def test_its_figures_are_the_published_ones() -> None:
    choices = find_published("cuda-int8", NAME).choices
    for layer in json.loads(HAWQV3.read_text())["layers"]:
        for bits in (4, 8):
            choice = choices[layer["name"]][f"w{bits}a{bits}"]
            assert choice.cost.latency_ms == layer[f"latency_int{bits}_ms"]
            assert choice.score == layer["hutchinson_trace"] * layer[f"perturbation_int{bits}"]
            assert choice.cost.size_bytes == layer["parameters_m"] * 2**20 * bits / 8
            assert choice.cost.bops == pytest.approx(layer["macs_m"] * 1e6 * bits * bits)


@needs_reference
@pytest.mark.parametrize("share", [0.75, 0.5, 0.25])
def test_the_published_configurations_come_out(tmp_path: Path, share: float) -> None:
    table = find_published("cuda-int8", NAME)
    ends = {p: sum(o[p].cost.latency_ms or 0.0 for o in table.choices.values()) for p in ("w4a4", "w8a8")}
    limit = ends["w4a4"] + share * (ends["w8a8"] - ends["w4a4"])
    write_problem(published_problem(table, {"latency_ms": limit}), tmp_path / "t4.json")
    result = IlpSearch().search(read_problem(tmp_path / "t4.json"))
    assert result.status is Status.OPTIMAL
    published = json.loads(HAWQV3.read_text())["published"][f"latency_{share}"]
    assert {n: result.config[n] for n in published} == {n: f"w{b}a{b}" for n, b in published.items()}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("layer,precision\n", "does not say where it comes from"),
        ("# origin: published: x\nlayer,precision\n", "it needs layer, tie"),
        (HEAD + "a,,1,1,w8a8,8,fast,1,1\n", "line 3: could not convert"),
        (HEAD + "a,,1,1,w8a8,8,-1,1,1\n", "line 3: latency_ms is -1"),
        (HEAD + "a,,1,1,w8a8,8,nan,1,1\n", "line 3: latency_ms is nan"),
        (HEAD + "a,,1,1,w8a8\n", "line 3: it has not 9 cells"),
        (HEAD + "a,,1,1,w8a8,8,1,1,1,1\n", "line 3: it has not 9 cells"),
        (HEAD + "a,,1.5,1,w8a8,8,1,1,1\n", "line 3: weights is 1.5; it must be a whole number"),
        (HEAD + "a,,1,1,w8a8,8,1,1,1\na,,2,1,w4a4,4,1,1,1\n", "line 4: a has 1 weights above"),
        (HEAD + 'a,,1,1,w8a8,8,1,1,"1', "not whole CSV"),
        (HEAD + "a,,1,1,w8a8,8,1,1,1\n" * 2, "line 4: a w8a8 is listed twice"),
    ],
)
def test_tables_that_are_none(tmp_path: Path, content: str, why: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text(content)
    with pytest.raises(FileFormatError, match=why):
        read_published(path)


def test_no_table(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"cannot read nowhere\.csv: No such file or directory$"):
        read_published("nowhere.csv")
    path = tmp_path / "table.csv"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(FileFormatError, match="not a text file"):
        read_published(path)
    assert not is_published(path)
    assert not is_published(tmp_path)
