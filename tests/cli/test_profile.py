"""`profile` and `profile-diff` on the tiny network: where times come from, the file, and what goes wrong."""

from __future__ import annotations

import dataclasses
import functools
import json
import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from hawqsearch import pipeline, plugins
from hawqsearch.cli.app import main
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.hardware import ChangeKey, HardwareProfile, KernelKey, Measurement, Rig
from hawqsearch.core.profile_file import read_profile, write_profile
from hawqsearch.core.target import Target
from hawqsearch.errors import DeviceError, MissingDependencyError
from hawqsearch.hardware import local, shipped
from hawqsearch.hardware.arm import backend as arm_backend
from hawqsearch.hardware.board import ssh
from hawqsearch.hardware.board.board import Board
from hawqsearch.hardware.board.lost import BoardLostError
from hawqsearch.hardware.cuda import backend as cuda_backend
from hawqsearch.hardware.targets import check_machine, find_target
from hawqsearch.testing import tiny
from tests.hardware.board.conftest import sshd  # noqa: F401  (a fixture)
from tests.hardware.board.server import Sshd
from tests.hardware.cuda.fake import FakeDevice

PI = Board(
    device="Raspberry Pi 5 (Cortex-A76 at 2400 MHz)",
    machine="aarch64",
    features=frozenset({"asimd", "asimddp"}),
    cores=4,
    runtime="onnxruntime 1.31.0",
    python="3.13.5",
    governor="ondemand",
    load=0.0,
    temperature_c=40.0,
)


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in a folder of its own, the tiny space and a cache in it; errors are one line."""
    monkeypatch.chdir(tmp_path)
    tiny.write_space(tmp_path)

    def command(*arguments: object) -> Ended:
        shared = ("--space", "tiny.toml", "--cache-dir", "cache") if arguments[0] != "profile-diff" else ()
        code = main([*map(str, arguments), *shared])
        captured = capsys.readouterr()
        assert code == 0 or len([n for n in captured.err.splitlines() if n.startswith("error: ")]) == 1
        return Ended(code, captured.out, captured.err)

    return command


def refused(ended: Ended, code: int, *says: str) -> None:
    assert ended.code == code
    assert all(word in ended.err for word in says), ended.err


def answer(
    target: Target,
    rig: Rig,
    kernels: Iterable[KernelKey],
    changes: Iterable[ChangeKey],
    origin: str,
    ms: float,
) -> HardwareProfile:
    row = Measurement(median_ms=ms, low_ms=ms, high_ms=ms, n=4, date="2026-11-21", origin=origin)
    return HardwareProfile(
        target=target.name,
        rig=rig,
        date=row.date,
        kernels=FrozenDict(dict.fromkeys(kernels, row)),
        changes=FrozenDict(dict.fromkeys(changes, row)),
    )


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> list[HardwareProfile]:
    """Instead of a board, one where every kernel takes a millisecond; what it answered."""
    answered: list[HardwareProfile] = []

    def measure(
        self: object, target: Target, rig: Rig, kernels: Any, changes: Any, **_: object
    ) -> HardwareProfile:
        answered.append(answer(target, rig, kernels, changes, "measured", 1.0))
        return answered[-1]

    monkeypatch.setattr(ssh.SshBackend, "describe", lambda self: PI)
    monkeypatch.setattr(ssh.SshBackend, "measure", measure)
    return answered


HOST = ("--target", "arm-neon", "--host", "pi@board")


# ---------------------------------------------------------------- a board


def test_a_board(run: Run, board: list[HardwareProfile]) -> None:
    ended = run("profile", *HOST, "--out", "pi.csv", "--json")
    found = json.loads(ended.out)
    assert found["origin"].startswith("measured: Raspberry Pi 5 (Cortex-A76 at 2400 MHz), onnxruntime 1.31.0")
    assert found["rig"]["device"] == PI.device
    written = read_profile("pi.csv")
    assert written == board[0]
    assert len(found["kernels"]) == len(written.kernels)
    assert len(found["changes"]) == len(written.changes)
    assert "governor ondemand" in run("profile", *HOST).err
    assert len(board) == 1  # the second came from the cache


def test_a_board_that_dies_leaves_what_it_measured(
    run: Run, board: list[HardwareProfile], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ssh.SshBackend.measure

    def die(
        self: ssh.SshBackend, target: Target, rig: Rig, kernels: Any, changes: Any, **_: object
    ) -> HardwareProfile:
        partial = answer(target, rig, list(kernels)[:3], [], "measured", 1.0)
        raise BoardLostError("the line to pi@board dropped; 3 of 20 rows were measured and kept", partial)

    monkeypatch.setattr(ssh.SshBackend, "measure", die)
    refused(run("profile", *HOST, "--out", "pi.csv"), 4, "3 of 20 rows", "see pi.csv")
    kept = read_profile("pi.csv")
    assert (len(kept.kernels), len(kept.changes)) == (3, 0)
    monkeypatch.setattr(ssh.SshBackend, "measure", whole)
    assert run("profile", *HOST, "--out", "pi.csv").code == 0
    assert not set(board[0].kernels) & set(kept.kernels)  # what was kept is not measured again
    assert set(read_profile("pi.csv").kernels) == set(board[0].kernels) | set(kept.kernels)


def test_a_board_that_dies_at_once_leaves_no_file(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(self: object, target: Target, rig: Rig, *_: object, **__: object) -> HardwareProfile:
        raise BoardLostError("pi@board does not answer", answer(target, rig, [], [], "measured", 1.0))

    monkeypatch.setattr(ssh.SshBackend, "describe", lambda self: PI)
    monkeypatch.setattr(ssh.SshBackend, "measure", die)
    refused(run("profile", *HOST, "--out", "pi.csv"), 4, "does not answer")
    assert not Path("pi.csv").exists()


def test_a_board_of_another_kind(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh.SshBackend, "describe", lambda self: dataclasses.replace(PI, machine="armv7l"))
    refused(run("profile", *HOST), 4, "armv7l", "64-bit Arm")


def test_nobody_answers(run: Run) -> None:
    refused(
        run("profile", "--target", "arm-neon", "--host", "me@127.0.0.1", "--port", 1), 4, "does not answer"
    )


def test_a_real_line(run: Run, sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    here = [n for n in ("x86-vnni", "x86-avx2") if is_here(n)]
    if not here:
        pytest.skip("this processor has neither VNNI nor AVX2: there is no other board to try it on")
    settings = {"known_hosts": sshd.folder / "known_hosts", "rounds": 2, "warm_up": 1, "burst": 2}
    monkeypatch.setattr(ssh, "SshBackend", functools.partial(ssh.SshBackend, **settings))
    backend = sshd.backend()
    place = (
        "--host",
        backend.host,
        "--port",
        backend.port,
        "--identity",
        backend.identity,
        "--python",
        backend.python,
    )
    assert run("profile", "--target", here[0], *place, "--out", "board.csv").code == 0
    written = read_profile("board.csv")
    assert {row.n for row in written.kernels.values()} == {4}
    assert written.origin.startswith("measured: ")


def is_here(name: str) -> bool:
    try:
        check_machine(find_target(name))
    except DeviceError:
        return False
    return True


# ---------------------------------------------------------------- this machine


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> str:
    """The target that is this machine, timed for milliseconds."""
    names = [n for n in ("x86-vnni", "x86-avx2") if is_here(n)]
    if not names:
        pytest.skip("this processor has neither VNNI nor AVX2, so there is nothing to time")
    real = pipeline.time_interleaved
    monkeypatch.setattr(pipeline, "time_interleaved", functools.partial(real, round_ms=0.5))
    monkeypatch.setattr(
        local, "LocalBackend", functools.partial(local.LocalBackend, row_ms=1.0, slice_ms=0.1)
    )
    return names[0]


def test_what_was_measured_here_says_under_what_conditions_and_how_well(run: Run, here: str) -> None:
    ended = run("profile", "--target", here, "--json", "--out", "here.csv")
    found = json.loads(ended.out)
    (conditions,) = found["conditions"]
    assert conditions["rounds"] >= 8
    assert len(conditions["cores"]) == conditions["threads"] == 1
    rows = [*found["kernels"], *found["changes"]]
    assert found["wide"]["n_rows"] == len(rows)
    wide = [r for r in rows if (r["half_width"] or 0) > found["wide"]["share"]]
    named = [{"signature": r["signature"], "precision": r["precision"]} for r in wide]
    assert found["wide"]["rows"] == named
    assert (f"{len(wide)} of {len(rows)} rows are wider than 2 %" in ended.err) == bool(wide)
    written = read_profile("here.csv")
    assert written.whole[0].runs
    assert [dataclasses.asdict(c)["utc"] for c in written.conditions] == [conditions["utc"]]


def test_whole_networks_stand_beside_the_sum_of_their_parts(run: Run, here: str) -> None:
    found = json.loads(run("profile", "--target", here, "--json").out)
    (fit,) = found["whole"]
    assert len(fit["runs"]) >= 2
    for cells in fit["runs"]:
        assert cells["sum_error"] == pytest.approx(cells["sum_ms"] / cells["measured_ms"] - 1)
        assert cells["corrected_error"] == pytest.approx(cells["corrected_ms"] / cells["measured_ms"] - 1)
        assert set(cells["config"].values()) <= {"fp32", "w8a8"}
    assert fit["spread"] > 0
    again = run("profile", "--target", here)
    assert "the sum of parts was" in again.out
    assert "conditions at" in again.out
    assert "pinned to core" in again.out
    cached = json.loads(run("profile", "--target", here, "--json").out)
    assert (cached["conditions"], cached["whole"]) == (found["conditions"], found["whole"])


def test_a_space_of_shapes_only_is_timed_and_not_searched(run: Run, here: str) -> None:
    table = Path("tiny.toml").read_text()
    kept = [line for line in table.splitlines() if line.partition(" =")[0] in ("name", "model", "precisions")]
    Path("tiny.toml").write_text("\n".join([*kept, "input = [1, 8, 8]\n"]))
    ended = run("profile", "--target", here)
    assert ended.code == 0, ended.err
    assert "weights and inputs are random" in ended.err
    for verb in (("search", "--target", here, "--budget", "70%"), ("analyze",)):
        refused(run(*verb), 2, "is untrained", "hawqsearch profile")


# ---------------------------------------------------------------- what is already in the file


def test_rows_of_the_same_rig_stay(run: Run, board: list[HardwareProfile]) -> None:
    assert run("profile", *HOST, "--out", "pi.csv").code == 0
    first = read_profile("pi.csv")
    key, row = next(iter(first.kernels.items()))
    other = dataclasses.replace(key, signature=dataclasses.replace(key.signature, activation="relu6"))
    write_profile("pi.csv", dataclasses.replace(first, kernels=FrozenDict({other: row})))
    assert run("profile", *HOST, "--out", "pi.csv").code == 0
    assert set(read_profile("pi.csv").kernels) == {*board[0].kernels, other}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"device": "Raspberry Pi 4"}, "another machine"),
        ({"runtime": "onnxruntime 1.30.0"}, "version changed"),
    ],
)
def test_a_file_of_another_rig_stays_as_it_is(
    change: dict[str, str], says: str, run: Run, board: list[HardwareProfile]
) -> None:
    run("profile", *HOST, "--out", "pi.csv")
    other = dataclasses.replace(board[0], rig=dataclasses.replace(board[0].rig, **change))
    write_profile("pi.csv", other)
    refused(run("profile", *HOST, "--out", "pi.csv"), 2, says, next(iter(change.values())), "Raspberry Pi 5")
    assert read_profile("pi.csv") == other


def test_a_file_of_another_target_or_without_a_folder(run: Run, board: list[HardwareProfile]) -> None:
    run("profile", *HOST, "--out", "pi.csv")
    refused(
        run("profile", *HOST, "--target", "arm-neon:cortex-a72", "--out", "pi.csv"),
        2,
        "pi.csv is of arm-neon,",
    )
    refused(run("profile", *HOST, "--out", "none/pi.csv"), 2, "no folder none")


def test_a_file_that_is_no_profile_stays_as_it_is(run: Run, board: list[HardwareProfile]) -> None:
    Path("notes.csv").write_text("mine\n")
    refused(run("profile", *HOST, "--out", "notes.csv"), 2, "not a profile")
    assert Path("notes.csv").read_text() == "mine\n"


# ---------------------------------------------------------------- no board


@pytest.fixture
def simulator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of a simulated run, two milliseconds for every kernel."""

    def measure(
        self: object, target: Target, rig: Rig, kernels: Any, changes: Any, **_: object
    ) -> HardwareProfile:
        return answer(target, rig, kernels, changes, "simulated", 2.0)

    def rig(self: arm_backend.QemuBackend, *, batch: int) -> Rig:
        return arm_backend.simulated_rig(self.core, "onnxruntime 1.31.0 aarch64 on qemu 7.2.22", batch=batch)

    monkeypatch.setattr(arm_backend.QemuBackend, "measure", measure)
    monkeypatch.setattr(arm_backend.QemuBackend, "rig", rig)


@pytest.mark.usefixtures("simulator")
def test_simulated(run: Run) -> None:
    ended = run(
        "profile", "--target", "arm-neon:cortex-a72@1.5GHz", "--backend", "qemu", "--json", "--out", "a72.csv"
    )
    assert json.loads(ended.out)["origin"].startswith("simulated: Cortex-A72 port model, 1.5 GHz")
    assert {row.origin for row in read_profile("a72.csv").kernels.values()} == {"simulated"}


@pytest.mark.usefixtures("simulator")
def test_without_board_or_backend_the_shipped_table_is_shown(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("profile", "--target", "arm-neon", "--backend", "qemu", "--out", "table.csv")
    table = read_profile("table.csv")
    for module in (pipeline, shipped):
        monkeypatch.setattr(module, "shipped_profile", lambda core, *, network=None: table)
    found = json.loads(run("profile", "--target", "arm-neon", "--json", "--out", "shown.csv").out)
    assert found["origin"].startswith("simulated: Cortex-A76 port model")
    assert read_profile("shown.csv") == table
    refused(run("profile", "--target", "arm-neon", "--threads", 2), 2, "one thread and batch 1")


def test_no_simulator(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(folder: Path) -> None:
        raise MissingDependencyError("simulating Arm needs qemu-aarch64 (apt-get install qemu-user)")

    monkeypatch.setattr(arm_backend, "build", build)
    refused(run("profile", "--target", "arm-neon", "--backend", "qemu"), 2, "apt-get install qemu-user")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--target", "cuda-int8"), 4, "profile --target cuda-int8` on the machine that has it"),
        (("--target", "cuda-int8", "--host", "me@gpu", "--backend", "cuda"), 2, "leave --backend away"),
        (("--target", "cuda-int8", "--host", "me@gpu; reboot"), 2, "as a host"),
        (("--target", "cuda-int8", "--backend", "cuda-ssh"), 2, "name it with --host"),
        (("--target", "arm-neon", "--backend", "local"), 4, "--backend qemu"),
        (("--target", "arm-neon", "--backend", "qemo"), 2, "did you mean qemu"),
        (("--target", "arm-neon", "--backend", "cuda"), 2, "use local or qemu"),
        (("--target", "arm-neon", "--backend", "ssh"), 2, "name it with --host"),
        (("--target", "arm-neon", "--backend", "qemu", "--threads", "2"), 2, "--threads 1"),
        (("--target", "arm-neon", "--backend", "qemu", "--host", "pi@board"), 2, "leave --backend away"),
        (("--target", "arm-neon", "--host", "pi@board; reboot"), 2, "as a host"),
        (("--target", "arm-neon", "--host", "-oProxyCommand=x"), 2, "as a host"),
        (("--target", "arm-neon", "--host", "pi@board", "--identity", "none"), 2, "no identity file none"),
        (("--target", "arm-neon", "--port", "22"), 2, "--host user@board"),
        (("--target", "generic"), 2, "no device"),
    ],
)
def test_what_cannot_be_had(
    arguments: tuple[str, ...], code: int, says: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    refused(run("profile", *arguments), code, says)


@dataclasses.dataclass(frozen=True)
class Stopwatch:
    """A backend that another package brings."""

    n_rounds: int = 1

    def measure(self, target: Target, rig: Rig, kernels: Any, changes: Any, **_: object) -> HardwareProfile:
        return answer(target, rig, kernels, changes, "measured", 3.0)


def test_a_backend_of_another_package(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("stopwatch", f"{__name__}:Stopwatch", "hawqsearch.backends")
    monkeypatch.setattr(plugins, "entry_points", lambda *, group: [entry] if group == entry.group else [])
    found = json.loads(run("profile", "--target", "x86-vnni", "--backend", "stopwatch", "--json").out)
    assert {row["median_ms"] for row in found["kernels"]} == {3.0}


def test_a_gpu(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_backend, "TorchCuda", FakeDevice)
    wide = "fp32,tf32,fp16,bf16"
    found = json.loads(
        run("profile", "--target", "cuda-int8", "--precisions", wide, "--json", "--out", "gpu.csv").out
    )
    assert found["origin"].startswith("measured: Fake GPU, torch 0.0, CUDA 0.0")
    precisions = {row["precision"] for row in found["kernels"]}
    assert precisions == {*wide.split(","), "w8a8"}  # all-int8 is always compared with
    assert len(read_profile("gpu.csv").kernels) == len(found["kernels"])


# ---------------------------------------------------------------- a board's profile in a search

SEARCH = ("search", "--target", "arm-neon", "--budget", "40% size", "--json")


@pytest.fixture
def table(run: Run, simulator: None, monkeypatch: pytest.MonkeyPatch) -> HardwareProfile:
    """What ships of the tiny network."""
    run("profile", "--target", "arm-neon", "--backend", "qemu", "--out", "table.csv")
    found = read_profile("table.csv")
    monkeypatch.setattr(pipeline, "shipped_profile", lambda core, *, network: found)
    return found


@pytest.mark.usefixtures("table")
def test_a_search_by_a_boards_profile(run: Run, board: list[HardwareProfile]) -> None:
    run("profile", *HOST, "--out", "pi.csv")
    ended = run(*SEARCH, "--profile", "pi.csv", "--out", "run")
    found = json.loads(ended.out)
    assert found["origin"].startswith("measured: Raspberry Pi 5")
    assert found["measured"]["latency_ms"] is None
    assert found["predicted"]["origin"].startswith("predicted: parts measured alone; Raspberry Pi 5")
    assert json.loads(Path("run/run.json").read_text())["inputs"]["profile"] == "pi.csv"
    refused(run(*SEARCH, "--out", "run"), 2, "profile")


def test_rows_that_the_board_lacks_are_predicted(
    run: Run, board: list[HardwareProfile], table: HardwareProfile
) -> None:
    run("profile", *HOST, "--out", "pi.csv")
    answer = run(*SEARCH, "--profile", "pi.csv")
    assert answer.out, answer.err
    whole = json.loads(answer.out)
    few = dict(list(board[0].kernels.items())[:2])
    write_profile("few.csv", dataclasses.replace(board[0], kernels=FrozenDict(few), changes=FrozenDict()))
    answer = run(*SEARCH, "--profile", "few.csv")
    assert answer.out, answer.err
    found = json.loads(answer.out)
    assert found["origin"].startswith("predicted: Raspberry Pi 5")
    assert found["predicted"]["latency_ms"] == pytest.approx(
        whole["predicted"]["latency_ms"]
    )  # all are half the table's
    lacking = len(table.kernels) + len(table.changes) - 2
    words = run(*SEARCH[:-1], "--profile", "few.csv").err
    assert f"{lacking} of {lacking + 2} rows are not in the board's profile" in words


@pytest.mark.parametrize(
    ("change", "arguments", "says"),
    [
        ({}, ("--target", "x86-vnni"), "the profile is of arm-neon, not of x86-vnni"),
        ({"target": "x86-vnni"}, (), "the profile is of x86-vnni"),
        ({}, ("--batch", "2"), "other settings"),
        ({"kernels": FrozenDict(), "changes": FrozenDict()}, (), "no rows"),
    ],
)
def test_a_profile_that_cannot_stand_for_the_target(
    change: dict[str, Any], arguments: tuple[str, ...], says: str, run: Run, board: list[HardwareProfile]
) -> None:
    run("profile", *HOST, "--out", "pi.csv")
    if "kernels" in change:
        Path("pi.csv").write_text(Path("pi.csv").read_text().splitlines()[0] + "\n")
    else:
        write_profile("pi.csv", dataclasses.replace(board[0], **change))
    refused(run(*SEARCH, *arguments, "--profile", "pi.csv"), 2, says)
    assert not Path("runs").exists()


@pytest.mark.usefixtures("table")
def test_a_profile_without_measured_rows(run: Run) -> None:
    refused(run(*SEARCH, "--profile", "table.csv"), 2, "nothing in the profile was measured", "simulated: ")


# ---------------------------------------------------------------- profile-diff


def test_the_difference(run: Run, board: list[HardwareProfile]) -> None:
    run("profile", *HOST, "--out", "a.csv")
    a = board[0]
    dropped, *others = a.kernels
    slower = dataclasses.replace(a.kernels[others[0]], median_ms=3.0, low_ms=2.0, high_ms=4.0)
    kernels = dict.fromkeys(others, slower)
    write_profile("b.csv", dataclasses.replace(a, kernels=FrozenDict(kernels), changes=FrozenDict()))
    found = json.loads(run("profile-diff", "a.csv", "b.csv", "--json").out)
    assert {row["ratio"] for row in found["rows"]} == {3.0}
    assert {row["overlap"] for row in found["rows"]} == {False}
    assert found["median_ratio"] == 3.0
    assert len(found["only_first"]) == 1 + len(a.changes)
    assert found["only_first"][0] == {"signature": str(dropped.signature), "precision": dropped.precision}
    assert found["only_second"] == []
    words = run("profile-diff", "b.csv", "a.csv").out
    assert "median B/A 0.333" in words
    assert f"{1 + len(a.changes)} only in B" in words


@pytest.mark.parametrize("content", [None, "", "mine\n1\n", '{"schema": "hawqsearch.problem"}'])
def test_no_difference_of_garbage(content: str | None, run: Run) -> None:
    if content is not None:
        Path("a.csv").write_text(content)
    refused(run("profile-diff", "a.csv", "a.csv"), 2, "a.csv")
