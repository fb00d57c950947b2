"""Names of plug-ins: built-ins, entry points, and what is not there."""

import importlib
import re
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from hawqsearch import hardware, plugins
from hawqsearch.errors import UnknownNameError
from hawqsearch.strategies.greedy import GreedySearch
from hawqsearch.strategies.ilp import IlpSearch


def test_built_ins_are_named_and_loaded() -> None:
    assert plugins.names("strategies")[:2] == ("ilp", "greedy")
    assert plugins.load("strategies", "ilp") is IlpSearch


BUILT_INS = [(kind, name) for kind, known in plugins.BUILT_IN.items() for name in known]
METHODS = {"strategies": "search", "analyzers": "analyze", "backends": "measure", "exporters": "export"}


@pytest.mark.parametrize(("kind", "name"), BUILT_INS)
def test_every_built_in_is_a_class_with_its_kinds_method(kind: str, name: str) -> None:
    found = plugins.load(kind, name)
    assert isinstance(found, type)
    assert callable(getattr(found, METHODS[kind]))


def test_every_class_that_measures_is_a_built_in() -> None:
    """Else a backend could be written and never be found."""
    listed = {plugins.load("backends", name) for name in plugins.names("backends")}
    folder = Path(hardware.__path__[0])
    written = {
        getattr(importlib.import_module(module), name)
        for path in folder.rglob("*.py")
        if (module := ".".join(("hawqsearch.hardware", *path.relative_to(folder).with_suffix("").parts)))
        for name in re.findall(r"^class (\w+Backend)\b", path.read_text(), re.MULTILINE)
    }
    assert written == listed


@pytest.mark.parametrize("kind", plugins.BUILT_IN)
def test_entry_points_of_every_kind_are_found(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("mine", "hawqsearch.strategies.greedy:GreedySearch", f"hawqsearch.{kind}")
    monkeypatch.setattr(plugins, "entry_points", lambda *, group: [entry] if group == entry.group else [])
    assert plugins.load(kind, "mine") is GreedySearch
    assert "mine" in plugins.names(kind)


def test_an_instance_gets_what_it_has_a_field_for() -> None:
    assert plugins.build("strategies", "ilp", seed=7, time_limit_s=2.0) == IlpSearch(seed=7, time_limit_s=2.0)
    assert plugins.build("strategies", "greedy", seed=7) == GreedySearch()


def test_entry_points_are_found_and_do_not_shadow(monkeypatch: pytest.MonkeyPatch) -> None:
    group = "hawqsearch.strategies"
    mine = [
        EntryPoint("mine", "hawqsearch.strategies.greedy:GreedySearch", group),
        EntryPoint("ilp", "hawqsearch.strategies.greedy:GreedySearch", group),
    ]
    monkeypatch.setattr(plugins, "entry_points", lambda *, group: mine)
    assert plugins.load("strategies", "mine") is GreedySearch
    assert plugins.load("strategies", "ilp") is IlpSearch
    assert plugins.names("strategies").count("ilp") == 1


@pytest.mark.parametrize(("kind", "name"), [("strategies", "iln"), ("strategy", "ilp")])
def test_unknown_names_say_what_is_near(kind: str, name: str) -> None:
    with pytest.raises(UnknownNameError, match="did you mean"):
        plugins.load(kind, name)


def test_importing_the_table_imports_no_plugin() -> None:
    probe = "import sys, hawqsearch.plugins; print(*[m for m in sys.modules if m.startswith('hawqsearch.')])"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {"hawqsearch.plugins", "hawqsearch.errors"}
