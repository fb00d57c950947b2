"""What a user may get wrong: the exit code, one line that says what to do, and nothing half-written."""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from hawqsearch import closed_loop, pipeline
from hawqsearch.cache import Cache
from hawqsearch.cli.app import main
from hawqsearch.core import files
from hawqsearch.core.bitconfig_file import read_bitconfig, scales_beside
from hawqsearch.errors import InfeasibleError
from hawqsearch.hardware import targets
from hawqsearch.testing import tiny

SEARCH = ("search", "--target", "generic", "--budget", "30% size")


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    lines: list[str]

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found


Run = Callable[..., Ended]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in an empty folder, its cache beside it."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)

    def command(*arguments: object) -> Ended:
        code = main([str(a) for a in arguments])
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err.splitlines())

    return command


@pytest.fixture
def space(tmp_path: Path) -> Path:
    return tiny.write_space(tmp_path)


@pytest.fixture
def options(space: Path, tmp_path: Path) -> list[object]:
    """A search that works, but for what a test adds."""
    return ["--space", space, "--cache-dir", tmp_path / "cache", "--out", tmp_path / "run", "--json"]


def refused(ended: Ended, *says: str, code: int = 2) -> None:
    """Check that the command ended with that code, nothing on stdout and one line that says it."""
    assert (ended.code, ended.out, len(ended.lines)) == (code, "", 1), ended
    for text in says:
        assert text in ended.lines[0]


def left_nothing(tmp_path: Path) -> bool:
    return not (tmp_path / "run").exists() and not list((tmp_path / "work").iterdir())


# ---------------------------------------------------------------- what is typed


@pytest.mark.parametrize(
    ("budget", "says"),
    [
        ("5", "has no unit"),
        ("", "cannot read"),
        ("-3ms", "must be positive"),
        ("0ms", "must be positive"),
        ("0% size", "must be positive"),
        ("nanms", "cannot read"),
        ("nan", "cannot read"),
        ("1e999ms", "finite"),
        ("5parsec", "unknown unit"),
        ("1MB, 2MB", "once"),
    ],
)
def test_a_bad_budget(budget: str, says: str, run: Run, options: list[object], tmp_path: Path) -> None:
    refused(run("search", "--target", "generic", f"--budget={budget}", *options), says)
    assert left_nothing(tmp_path)


@pytest.mark.parametrize("verb", ["search", "profile", "compare"])
def test_a_verb_without_its_target(verb: str, run: Run) -> None:
    refused(run(verb, *(["x.json"] if verb == "compare" else [])), "--target", f"hawqsearch {verb} --help")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (["--target", "generik"], "did you mean generic"),
        (["--space", "digit"], "did you mean digits"),
        (["--space", "nowhere.toml"], "hawqsearch spaces"),
        (["--precisions", "w9a8"], "did you mean w"),
        (["--precisions", "w8ai16"], "has no w8ai16 kernel"),
        (["--strategy", "greedi"], "did you mean greedy"),
        (["--analyzer", "kll"], "did you mean kl"),
        (["--weights", "nothing.safetensors"], "--weights"),
        (["--no-cache"], "exclude each other"),
        (["--time", "soon"], "--time"),
        (["--threads", "0"], "--threads"),
    ],
)
def test_an_unknown_name(
    changed: list[str], says: str, run: Run, options: list[object], tmp_path: Path
) -> None:
    refused(run(*SEARCH, *options, *changed), says)
    assert left_nothing(tmp_path)


def test_a_quantity_that_nothing_meters(run: Run, options: list[object], tmp_path: Path) -> None:
    refused(run("search", "--target", "generic", "--budget", "3mJ", *options), "energy counter")
    refused(run("search", "--target", "generic", "--budget", "3ms", *options), "size_bytes")
    assert left_nothing(tmp_path)


def test_another_machine(
    run: Run, options: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "cpu_flags", frozenset)
    ended = run("search", "--target", "x86-vnni", "--budget", "50%", *options)
    refused(ended, "avx512_vnni", code=4)
    assert left_nothing(tmp_path)


# ---------------------------------------------------------------- spaces


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ('[pins]\nfrist = "fp32"', "did you mean first"),
        ('[pins]\nfirst = "w8ai16"', "has no w8ai16 kernel for first"),
        ('[pins]\nfirst = "w44"', "unknown precision"),
        ('ties = [["first", "secnd"]]', "did you mean second"),
        ('sumary = "x"', "did you mean summary"),
        ("[pins", "not a TOML file"),
    ],
)
def test_a_bad_space(more: str, says: str, run: Run, options: list[object], tmp_path: Path) -> None:
    tiny.write_space(tmp_path, more=more)
    refused(run(*SEARCH, *options), says)
    assert left_nothing(tmp_path)


@pytest.mark.parametrize("reference", ["no_such_module:model", "hawqsearch.testing.tiny:nothing", "tiny"])
def test_a_space_whose_network_is_not_there(
    reference: str, run: Run, options: list[object], tmp_path: Path
) -> None:
    tiny.write_space(tmp_path, model=reference)
    refused(run(*SEARCH, *options), "module:callable")
    assert left_nothing(tmp_path)


def weights(change: Callable[[torch.Tensor], torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tiny network's weights, the stem's changed."""
    state = dict(tiny.model().state_dict())
    return state | {"stem.weight": change(state["stem.weight"])}


def test_weights_that_do_not_fit(run: Run, options: list[object], tmp_path: Path) -> None:
    tiny.write_space(tmp_path, state=weights(lambda w: w[:4].clone()))
    refused(run(*SEARCH, *options), "do not fit", "stem.weight")
    assert left_nothing(tmp_path)


def test_weights_that_are_cut_short(run: Run, options: list[object], space: Path, tmp_path: Path) -> None:
    file = space.with_name("tiny.safetensors")
    file.write_bytes(file.read_bytes()[:100])
    refused(run(*SEARCH, *options), "not a whole safetensors file")
    assert left_nothing(tmp_path)


def test_a_model_that_answers_nan(run: Run, options: list[object], tmp_path: Path) -> None:
    tiny.write_space(tmp_path, state=weights(lambda w: w * torch.nan))
    refused(run(*SEARCH, *options), "NaN")
    assert left_nothing(tmp_path)


def test_an_empty_calibration_split(
    run: Run, options: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "without_calibration.py").write_text(
        "from hawqsearch.core.data import Splits\n"
        "from hawqsearch.testing import tiny\n"
        "def data(directory):\n"
        "    s = tiny.data()\n"
        "    return Splits(calibration=s.calibration[:0], search=s.search, test=s.test)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    tiny.write_space(tmp_path, data="without_calibration:data")
    refused(run(*SEARCH, *options), "calibration split is empty")
    assert left_nothing(tmp_path)


# ---------------------------------------------------------------- run folders


def test_a_budget_that_nothing_meets(run: Run, options: list[object], tmp_path: Path) -> None:
    ended = run("search", "--target", "generic", "--budget", "1B", *options)
    assert ended.code == 3
    assert len(ended.lines) == 1
    assert "the least that can be had is size_bytes" in ended.lines[0]
    assert ended.document["status"] == "INFEASIBLE"
    assert ended.document["nearest"]["size_bytes"] > 1
    assert json.loads((tmp_path / "run" / "run.json").read_text())["outcome"]["nearest"]


def test_what_was_predicted_not_to_fit_but_fits(
    run: Run, options: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing_fits(*_: object, **__: object) -> None:
        raise InfeasibleError("nothing is predicted to fit")

    monkeypatch.setattr(closed_loop, "close_loop", nothing_fits)
    ended = run(*SEARCH, *options)
    assert (ended.code, ended.lines) == (0, [])
    assert ended.document["status"] == "FEASIBLE"
    assert ended.document["size_bytes"] <= ended.document["limits"]["size_bytes"]


def test_a_run_folder_holds_the_product(run: Run, options: list[object], tmp_path: Path) -> None:
    ended = run(*SEARCH, *options)
    assert (ended.code, ended.lines) == (0, [])
    config = read_bitconfig(tmp_path / "run" / "config.json")
    assert {n: layer.precision for n, layer in config.layers.items()} == ended.document["layers"]
    assert scales_beside(tmp_path / "run" / "config.json", config)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["state"] == "done"


def test_a_truncated_run_file(run: Run, options: list[object], tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    file = tmp_path / "run" / "run.json"
    file.write_text('{"schema": "hawqsearch.run", "inp')
    refused(run(*SEARCH, *options), "no whole run file", "--out")
    assert file.read_text() == '{"schema": "hawqsearch.run", "inp'


def test_the_folder_of_another_run(run: Run, options: list[object], tmp_path: Path) -> None:
    assert run(*SEARCH, *options).code == 0
    before = contents(tmp_path / "run")
    ended = run("search", "--target", "generic", "--budget", "40% size", *options)
    refused(ended, "holds a run with budget '30% size'", "--out")
    assert contents(tmp_path / "run") == before


def test_a_run_that_fails_leaves_the_one_before(run: Run, options: list[object], tmp_path: Path) -> None:
    assert run(*SEARCH, *options).code == 0
    before = contents(tmp_path / "run")
    (tmp_path / "tiny.safetensors").unlink()
    refused(run(*SEARCH, *options), "no tiny.safetensors", "--weights")
    assert contents(tmp_path / "run") == before


@pytest.mark.parametrize("out", ["file/below", "/proc/nowhere/run", "file"])
def test_a_folder_that_cannot_be_written(out: str, run: Run, options: list[object], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused(run(*SEARCH, *options, "--out", tmp_path / out), "cannot", "--out")
    refused(run(*SEARCH, *options, "--cache-dir", tmp_path / out), "cannot write the cache", "--cache-dir")


def contents(folder: Path) -> Mapping[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


@pytest.mark.parametrize("name", ["run.json", "scales.safetensors", "config.json", "layers.csv"])
def test_a_full_disk(
    name: str, run: Run, options: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = files._write_and_rename

    def full(temporary: Path, target: Path, data: bytes) -> None:
        if target.name == name:
            temporary.write_bytes(data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(temporary, target, data)

    monkeypatch.setattr(files, "_write_and_rename", full)
    refused(run(*SEARCH, *options), "No space left on device", "free some")
    assert left_nothing(tmp_path)


# ---------------------------------------------------------------- Ctrl-C


def stops(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_interrupted_before_an_answer(
    run: Run, options: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "analyze", stops)
    refused(run(*SEARCH, *options), "interrupted", "run it again", code=130)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["state"] == "interrupted"
    monkeypatch.undo()
    assert run(*SEARCH, *options).code == 0
    assert json.loads((tmp_path / "run" / "run.json").read_text())["state"] == "done"


def test_interrupted_with_an_answer(
    run: Run, options: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "judge", stops)
    ended = run(*SEARCH, *options)
    assert (ended.code, len(ended.lines)) == (130, 1)
    assert ended.document["state"] == "interrupted"
    assert ended.document["layers"]
    file = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (file["state"], file["outcome"]["state"]) == ("interrupted", "interrupted")
    assert read_bitconfig(tmp_path / "run" / "config.json").layers


# ---------------------------------------------------------------- caches


@pytest.mark.parametrize("keep", [0, 10, 70, -1])
def test_a_broken_cache_file_is_made_again(
    keep: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = Cache(tmp_path)
    cache.write_json("kind", "key", {"value": 1})
    (file,) = tmp_path.rglob("*.cache")
    file.write_bytes(file.read_bytes()[:keep])
    with caplog.at_level(logging.WARNING):
        assert cache.read_json("kind", "key") is None
    assert [r.getMessage().count("making it again") for r in caplog.records] == [1]
    cache.write_json("kind", "key", {"value": 1})
    assert cache.read_json("kind", "key") == {"value": 1}


def test_a_search_with_broken_cache_files(run: Run, options: list[object], tmp_path: Path) -> None:
    first = run(*SEARCH, *options).document
    for file in (tmp_path / "cache").rglob("*.cache"):
        file.write_bytes(file.read_bytes()[:-1])
    again = run(*SEARCH, *options)
    assert again.code == 0
    assert again.document["layers"] == first["layers"]
    assert again.document["metric"] == first["metric"]


# ---------------------------------------------------------------- the other verbs


def test_nothing_to_profile(run: Run) -> None:
    refused(run("profile", "--target", "generic"), "no device", "hawqsearch doctor")


def test_an_unknown_target_to_look_at(run: Run) -> None:
    refused(run("targets", "generik"), "did you mean generic")


def test_a_file_that_is_no_configuration(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    compare = ("compare", file, "--target", "generic")
    refused(run(*compare), "cannot read", "hawqsearch.bitconfig")
    file.write_text('{"schema": "hawqsearch.bitconfig", "schema_version": 2}')
    refused(run(*compare), "upgrade hawqsearch")
    file.write_text('{"schema": "hawqsearch.bitc')
    refused(run(*compare), "was it cut short?")


def test_a_configuration_of_another_model(run: Run, options: list[object], tmp_path: Path) -> None:
    assert run(*SEARCH, *options).code == 0
    tiny.write_space(tmp_path, state=weights(lambda w: 2 * w))
    compare = (
        "compare",
        tmp_path / "run",
        "--target",
        "generic",
        "--space",
        tmp_path / "tiny.toml",
        "--json",
    )
    refused(run(*compare), "another model", "--space")


def test_a_configuration_with_an_unknown_layer(run: Run, options: list[object], tmp_path: Path) -> None:
    assert run(*SEARCH, *options).code == 0
    file = tmp_path / "run" / "config.json"
    file.write_text(file.read_text().replace('"name": "first"', '"name": "frist"'))
    compare = ("compare", file, "--target", "generic", "--space", tmp_path / "tiny.toml", "--json")
    refused(run(*compare), "unknown layer 'frist'", "did you mean first")
