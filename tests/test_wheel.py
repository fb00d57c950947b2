"""The wheel: built, installed apart from the checkout, and whole there."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("hawqsearch", "hw_profiles", "search_spaces")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the wheel's packages and nothing else."""
    folder = tmp_path_factory.mktemp("site")
    options = ["--no-deps", "--no-index", "--quiet", "--disable-pip-version-check", "--target", str(folder)]
    command = [sys.executable, "-m", "pip", "install", *options, str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_tracked_file_is_in_it(wheel: Path) -> None:
    command = ["git", "-C", str(ROOT), "ls-files", "-z", *PACKAGES]
    tracked = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    there = {name for name in tracked if name and (ROOT / name).exists()}
    assert "hawqsearch/zoo/digits.safetensors" in there
    assert there - set(zipfile.ZipFile(wheel).namelist()) == set()


def test_it_holds_no_tests_and_both_commands(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    assert {n.split("/")[0] for n in archive.namelist() if ".dist-info" not in n} == set(PACKAGES)
    (entries,) = [n for n in archive.namelist() if n.endswith("entry_points.txt")]
    text = archive.read(entries).decode()
    assert "hawqsearch = hawqsearch.cli.app:main" in text
    assert "search = hawqsearch.cli.app:search_main" in text


CODE = """
from pathlib import Path
import sys
import hawqsearch, hw_profiles, search_spaces
from hawqsearch.hardware.targets import find_target, target_names
from hawqsearch.spaces import find_space, load_model, load_splits, space_names

for package in (hawqsearch, hw_profiles, search_spaces):
    assert Path(package.__file__).is_relative_to(sys.argv[1]), package.__file__
assert {find_target(name).name for name in target_names()} >= {"generic", "x86-vnni", "x86-avx2"}
assert {find_space(name).name for name in space_names()} >= {"digits", "cifar10_resnet20"}
model = load_model(find_space("digits"))
print(sum(p.numel() for p in model.parameters()), len(load_splits(find_space("digits")).test))
"""


def test_installed_elsewhere_it_finds_its_spaces_targets_data_and_weights(
    installed: Path, tmp_path: Path
) -> None:
    """In another folder, with no data folder; the checkout is not on the path before the copy."""
    environment = {k: v for k, v in os.environ.items() if k != "HAWQSEARCH_DATA"}
    environment |= {"PYTHONPATH": str(installed), "XDG_DATA_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(installed)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    parameters, examples = map(int, done.stdout.split())
    assert parameters > 100_000
    assert examples > 100
