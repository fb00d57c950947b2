"""The law of imports (DESIGN section 1): stages never import one another, and a light start stays light."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import hawqsearch

PACKAGE = "hawqsearch"
ROOT = Path(hawqsearch.__file__).parent
STAGES = frozenset({"sensitivity", "hardware", "search", "strategies", "validate", "export", "report"})
MEETINGS = frozenset(
    {
        "pipeline",
        "metering",
        "residuals",
        "api",
        "closed_loop",
        "device",
        "comparison",
        "arm_tables",
        "grid_tables",
        "cli",
        "nightly",
    }
)
"""Where stages may meet: `pipeline`, what walks its arrows, and the script that makes shipped tables."""
MAY_IMPORT = {
    "errors": frozenset[str](),
    "core": frozenset({"errors"}),
    "graph": frozenset({"errors", "core"}),
    "quant": frozenset({"errors", "core", "graph"}),
    "runtime": frozenset({"errors", "core"}),
    "search": frozenset({"errors", "core"}),
    "strategies": frozenset({"errors", "core"}),
    "report": frozenset({"errors", "core"}),
}
"""Ours that a part may import besides itself; parts that are not named may import all but stages."""
LIGHT = frozenset(
    [
        "torch",
        "ray",
        "optuna",
        "pulp",
        "highspy",
        "onnx",
        "onnxruntime",
        "openvino",
        "pandas",
        "scipy",
        "numpy",
        "pydantic",
        "sklearn",
        "pyarrow",
    ]
)
NOT_IN_CORE = LIGHT - {"numpy", "pydantic"}


@dataclass(frozen=True)
class Import:
    """One import: the importing file, its part, what is imported, and whether only type checkers see it."""

    path: Path
    part: str
    module: str
    typing_only: bool

    @property
    def imported_part(self) -> str | None:
        """`core` of `hawqsearch.core.cost`; None where it is not ours, "" for the package itself."""
        first, _, rest = self.module.partition(".")
        return rest.partition(".")[0] if first == PACKAGE else None


def imports(root: Path) -> Iterator[Import]:
    """Every import below `root`, those inside functions and behind TYPE_CHECKING too."""
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root)
        part = relative.parts[0].removesuffix(".py")
        tree = ast.parse(path.read_text(), str(path))
        hidden = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            for inner in ast.walk(node)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: imports are absolute"
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                continue
            for name in names:
                yield Import(relative, part, name, id(node) in hidden)


def violations(root: Path) -> list[str]:
    """Imports below `root` that break the law, one line each."""
    return [f"{found.path} imports {found.module}" for found in imports(root) if _is_wrong(found)]


def _is_wrong(found: Import) -> bool:
    part, other = found.part, found.imported_part
    if other is None:
        heavy = found.module.partition(".")[0] in NOT_IN_CORE
        return part == "core" and heavy and not found.typing_only
    if other == part or part == "__init__":
        return False
    if other in STAGES | MEETINGS:
        return part not in MEETINGS
    return part in MAY_IMPORT and other not in MAY_IMPORT[part] and not found.typing_only


def test_the_law_of_imports_holds() -> None:
    assert violations(ROOT) == []


def test_the_law_looks_at_the_whole_package() -> None:
    """Else it would hold for want of files."""
    parts = {found.part for found in imports(ROOT)}
    assert {"core", "graph", "quant", "runtime", "sensitivity", "hardware", "validate", "export"} <= parts
    assert parts & {"search", "strategies"}
    assert {found.imported_part for found in imports(ROOT) if found.part == "pipeline"} >= STAGES & {
        "sensitivity",
        "hardware",
        "validate",
        "export",
    }


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("sensitivity/new.py", "from hawqsearch.hardware.fit import fit"),
        ("sensitivity/new.py", "import hawqsearch.validate.accuracy"),
        ("hardware/new.py", "from hawqsearch.export import packing"),
        ("strategies/new.py", "def late():\n    from hawqsearch.sensitivity.kl import KlAnalyzer"),
        ("strategies/new.py", "from hawqsearch.quant.calibrated import CalibratedModel"),
        (
            "export/new.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import hawqsearch.hardware.local",
        ),
        ("validate/new.py", "from hawqsearch import pipeline"),
        ("report/new.py", "from hawqsearch.graph.trace import trace"),
        ("core/new.py", "import torch"),
        ("core/new.py", "import pandas as pd"),
        ("core/new.py", "from hawqsearch.graph.trace import trace"),
        ("core/new.py", "from hawqsearch.strategies.ilp import IlpSearch"),
        ("graph/new.py", "from hawqsearch.export.onnx_qdq import write_qdq"),
        ("quant/deep/new.py", "from hawqsearch.sensitivity import choices"),
        ("runtime/new.py", "from hawqsearch.hardware.local import LocalBackend"),
        ("zoo/new.py", "from hawqsearch.validate import accuracy"),
        ("cache.py", "from hawqsearch.pipeline import Context"),
        ("errors.py", "from hawqsearch.core.cost import Cost"),
    ],
)
def test_a_planted_violation_is_caught(tmp_path: Path, file: str, line: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(line + "\n")
    assert len(violations(tmp_path)) == 1


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("pipeline.py", "from hawqsearch.hardware.fit import fit"),
        ("cli/search.py", "from hawqsearch.hardware.targets import find_target"),
        ("sensitivity/new.py", "import torch\nfrom hawqsearch.quant.calibrated import CalibratedModel"),
        ("core/new.py", "import numpy as np\nfrom hawqsearch.errors import InputError"),
        ("core/new.py", "if TYPE_CHECKING:\n    import torch\n    from hawqsearch.quant import calibrated"),
    ],
)
def test_what_is_allowed_is_not_caught(tmp_path: Path, file: str, line: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(line + "\n")
    assert violations(tmp_path) == []


# ---------------------------------------------------------------- a light start


def loaded_by(statement: str, *arguments: str) -> set[str]:
    """Top-level modules in a fresh interpreter after `statement`."""
    code = (
        f"import sys, json\nsys.argv = {['hawqsearch', *arguments]!r}\n"
        f"try:\n    {statement}\nexcept SystemExit as end:\n    assert not end.code\n"
        "print()\nprint(json.dumps(sorted({m.partition('.')[0] for m in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    ("statement", "arguments"),
    [
        ("import hawqsearch", ()),
        ("import hawqsearch; dir(hawqsearch)", ()),
        ("import hawqsearch.plugins as p; p.names('strategies')", ()),
        ("from hawqsearch.cli.app import main; sys.exit(main())", ("--help",)),
        ("from hawqsearch.cli.app import main; sys.exit(main())", ("--version",)),
        ("from hawqsearch.cli.app import main; sys.exit(main())", ("search", "--help")),
    ],
    ids=["import", "dir", "plugins", "help", "version", "search help"],
)
def test_a_start_loads_nothing_heavy(statement: str, arguments: tuple[str, ...]) -> None:
    heavy = LIGHT - {"numpy"} if arguments[:1] == ("search",) else LIGHT
    assert sorted(loaded_by(statement, *arguments) & heavy) == []


def test_that_check_sees_what_is_loaded() -> None:
    assert "numpy" in loaded_by("from hawqsearch import Split; Split.__init__; import hawqsearch.core.timing")


# ---------------------------------------------------------------- names


def modules() -> list[str]:
    """Every module of the package that needs nothing optional."""
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        found.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return found


@pytest.mark.parametrize("name", modules())
def test_all_is_what_can_be_imported(name: str) -> None:
    module = importlib.import_module(name)
    listed = getattr(module, "__all__", [])
    assert len(set(listed)) == len(listed)
    for attribute in listed:
        assert getattr(module, attribute) is not None


def test_search_is_the_function_whatever_was_imported_before() -> None:
    """A package of the same name would take its place as soon as it is imported."""
    code = "import hawqsearch, hawqsearch.api\nassert callable(hawqsearch.search)\nassert callable(hawqsearch.search)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert not (ROOT / "search").is_dir()
