"""The command: light start, one line per error, exit codes."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from hawqsearch.cli import app
from hawqsearch.errors import DeviceError, InfeasibleError, InputError, InterruptedRunError

HEAVY = {"torch", "pulp", "highspy", "pydantic", "numpy", "pandas", "onnxruntime", "scipy", "typer", "rich"}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hawqsearch.cli.app", *arguments], capture_output=True, text=True, check=False
    )


def test_help_loads_nothing_heavy() -> None:
    probe = (
        "import sys; from hawqsearch.cli.app import main; main(['-h']); print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert "usage: hawqsearch" in done.stdout
    assert not HEAVY & {module.partition(".")[0] for module in done.stderr.split()}


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["solve", "--help"]])
def test_help_is_on_stdout(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 0
    assert "sage: hawqsearch" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("verb", app.VERBS)
def test_every_verb_is_listed_and_has_help(verb: str) -> None:
    assert verb in run("--help").stdout
    assert run(verb, "--help").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["solv"], "did you mean solve"),
        (["--nope"], "unknown verb '--nope'"),
        (["solve"], "Missing argument"),
        (["solve", "x", "--nope"], "--nope"),
        (["solve", "x", "--time", "soon"], "--time"),
        (["solve", "x", "y"], "y"),
    ],
)
def test_usage_errors_are_one_line(arguments: list[str], says: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("two\nlines"), 2),
        (InfeasibleError("none"), 3),
        (DeviceError("broken"), 4),
        (InterruptedRunError("saved"), 130),
        (KeyboardInterrupt(), 130),
    ],
)
def test_errors_become_a_line_and_an_exit_code(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails() -> None:
        raise error

    monkeypatch.setattr(app.importlib, "import_module", lambda _name: SimpleNamespace(run=fails))
    assert app.main(["solve"]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1


def test_bugs_show_their_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(app.importlib, "import_module", lambda _name: SimpleNamespace(run=fails))
    with pytest.raises(ZeroDivisionError):
        app.main(["solve"])


def test_search_is_a_command_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[list[str]] = []
    monkeypatch.setattr(app, "main", lambda argv: given.append(argv) or 0)
    monkeypatch.setattr(sys, "argv", ["search", "--budget", "5ms"])
    assert app.search_main() == 0
    assert given == [["search", "--budget", "5ms"]]
