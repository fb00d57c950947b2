"""A board over a real ssh connection: measured, lost on the way, and everything that keeps one from starting."""

from __future__ import annotations

import dataclasses
import pickle
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hawqsearch.core.hardware import Change, ChangeKey, HardwareProfile, KernelKey, Signature
from hawqsearch.core.target import Target
from hawqsearch.errors import DeviceError
from hawqsearch.hardware.board.lost import BoardLostError
from hawqsearch.hardware.board.ssh import SshBackend
from hawqsearch.hardware.processor import cpu_name
from hawqsearch.hardware.targets import find_target
from hawqsearch.runtime.onnxruntime_cpu import OnnxRuntime
from tests.hardware.board.server import Sshd, free_port, keygen

CONV = Signature(
    op="conv",
    input_shape=(1, 8, 16, 16),
    output_shape=(1, 16, 16, 16),
    weight_shape=(16, 8, 3, 3),
    stride=(1, 1),
    padding=(1, 1),
    dilation=(1, 1),
    activation="relu",
)
LINEAR = Signature(op="linear", input_shape=(1, 64), output_shape=(1, 32), weight_shape=(32, 64))
KERNELS = [KernelKey(s, p) for s in (CONV, LINEAR) for p in ("fp32", "w8a8")]
CHANGES = [ChangeKey((1, 16, 16, 16), change) for change in Change]


@pytest.fixture
def target() -> Target:
    """Kernels that this machine runs, whatever it is."""
    return dataclasses.replace(find_target("x86-vnni"), requires=())


def measure(
    backend: SshBackend, target: Target, on_round: Callable[[int], object] = lambda done: None
) -> HardwareProfile:
    rig = backend.rig(threads=1, batch=1)
    return backend.measure(target, rig, KERNELS, CHANGES, on_round=on_round)


def nothing_left(sshd: Sshd) -> bool:
    """Whether the board is as it was before, waiting a little for what is still on its way out."""
    until = time.monotonic() + 10
    while time.monotonic() < until and any(sshd.temporary.iterdir()):
        time.sleep(0.05)
    return not any(sshd.temporary.iterdir())


def test_a_board_is_measured_and_left_as_it_was(sshd: Sshd, target: Target) -> None:
    rounds: list[int] = []
    profile = measure(sshd.backend(), target, rounds.append)
    assert set(profile.kernels) == set(KERNELS)
    assert set(profile.changes) == set(CHANGES)
    for row in (*profile.kernels.values(), *profile.changes.values()):
        assert 0 < row.low_ms <= row.median_ms <= row.high_ms < 1000
        assert (row.n, row.origin) == (3 * 2, "measured")
    assert profile.rig.device.startswith(cpu_name())
    assert profile.rig.runtime == OnnxRuntime().version
    assert profile.origin.startswith("measured: ")
    assert sum(rounds) == sshd.backend().n_rounds
    assert nothing_left(sshd)


def test_the_board_says_what_it_is(sshd: Sshd) -> None:
    board = sshd.backend().describe()
    assert board.python == ".".join(map(str, sys.version_info[:3]))
    assert board.cores >= 1
    assert board.features


def test_a_dropped_line_is_taken_up_again(sshd: Sshd, target: Target) -> None:
    killed: list[int] = []

    def drop_once(done: int) -> None:
        if not killed:
            killed.append(sshd.kill_sessions())

    profile = measure(sshd.backend(rounds=6), target, drop_once)
    assert killed[0] > 0
    assert {row.n for row in (*profile.kernels.values(), *profile.changes.values())} == {6 * 2}
    assert nothing_left(sshd)


def test_a_board_that_dies_half_way_leaves_what_it_measured(sshd: Sshd, target: Target) -> None:
    done = 0

    def die_after_two(rounds: int) -> None:
        nonlocal done
        done += rounds
        if done == 2:  # what was on its way already still comes in
            sshd.kill_sessions()
            sshd.stop()

    with pytest.raises(BoardLostError, match=r"6 of 6 rows were measured and kept") as caught:
        measure(sshd.backend(rounds=400, reconnections=2), target, die_after_two)
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)
    assert set(caught.value.partial.kernels) == set(KERNELS)
    assert all(2 * 2 <= row.n < 400 * 2 for row in caught.value.partial.kernels.values())
    assert pickle.loads(pickle.dumps(caught.value)).partial == caught.value.partial
    assert nothing_left(sshd)


def test_time_is_up(sshd: Sshd, target: Target) -> None:
    backend = sshd.backend(rounds=100_000)
    rig = backend.rig(threads=1, batch=1)
    with pytest.raises(BoardLostError, match=r"not done within 2 s.* rows were measured and kept") as caught:
        dataclasses.replace(backend, timeout_s=2.0).measure(target, rig, KERNELS, CHANGES)
    assert caught.value.partial.kernels
    assert nothing_left(sshd)


def refusal(backend: SshBackend) -> str:
    with pytest.raises(DeviceError) as caught:
        backend.describe()
    assert caught.value.exit_code == 4
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_an_unknown_host_key_is_refused(sshd: Sshd) -> None:
    (sshd.folder / "known_hosts").write_text("")
    message = refusal(sshd.backend())
    assert f"run `ssh -p {sshd.port} " in message
    assert "once" in message


def test_another_host_key_is_refused(sshd: Sshd) -> None:
    keygen(sshd.folder / "another")
    key = (sshd.folder / "another.pub").read_text()
    (sshd.folder / "known_hosts").write_text(f"[127.0.0.1]:{sshd.port} {key}")
    assert "ssh-keygen -R" in refusal(sshd.backend())


def test_a_key_that_the_board_does_not_know(sshd: Sshd) -> None:
    keygen(sshd.folder / "stranger")
    assert "refused the key" in refusal(sshd.backend(identity=sshd.folder / "stranger"))


def test_nobody_listens(sshd: Sshd) -> None:
    sshd.stop()
    assert "does not answer" in refusal(sshd.backend())


def test_a_host_that_never_greets(sshd: Sshd) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        started = time.monotonic()
        message = refusal(sshd.backend(port=mute.getsockname()[1], connect_timeout_s=1))
    assert "does not answer" in message
    assert time.monotonic() - started < 8


def test_a_board_that_hangs_is_given_up(sshd: Sshd) -> None:
    fake_python(sshd, "exec sleep 60")
    assert "said nothing for 0.5 s" in refusal(
        sshd.backend(python=str(sshd.bin / "python3"), silence_s=0.5, timeout_s=30.0)
    )


def fake_python(sshd: Sshd, script: str) -> None:
    program = sshd.bin / "python3"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


@pytest.mark.parametrize("package", ["numpy", "onnxruntime"])
def test_a_board_without_a_package(sshd: Sshd, package: str) -> None:
    code = f"import sys, runpy; sys.modules['{package}'] = None; runpy.run_path('measure_onnx.py', run_name='__main__')"
    fake_python(sshd, f'exec {sys.executable} -c "{code}"')
    message = refusal(sshd.backend(python=str(sshd.bin / "python3")))
    assert f"lacks {package}" in message
    assert f"-m pip install {package}" in message


def test_a_board_without_python(sshd: Sshd) -> None:
    assert "it has no python9.9: install Python 3" in refusal(sshd.backend(python="python9.9"))


def test_a_board_whose_python_crashes(sshd: Sshd) -> None:
    fake_python(sshd, "echo no such luck >&2; exit 17")
    message = refusal(sshd.backend(python=str(sshd.bin / "python3")))
    assert "exit code 17 (no such luck)" in message
    assert nothing_left(sshd)


@pytest.mark.parametrize(
    "line",
    [
        '{"row": "job0", "round": 0, "nodes": [["n", "Conv", [-1.0]]]}',
        '{"row": "job0", "round": 0, "nodes": [["n", "Conv", [NaN]]]}',
        '{"row": "job77", "round": 0, "nodes": []}',
        '{"row": "job0", "round": 0}',
        '{"board": {"model": "x"}}',
        "[1]",
        "{",
    ],
)
def test_nonsense_from_the_board(sshd: Sshd, target: Target, line: str) -> None:
    rig = sshd.backend().rig(threads=1, batch=1)
    (sshd.folder / "said").write_text(f"hawqsearch: {line}\n")
    fake_python(sshd, f"cat {sshd.folder}/said")
    with pytest.raises(DeviceError, match=r"cannot be read|not asked for"):
        sshd.backend(python=str(sshd.bin / "python3")).measure(target, rig, KERNELS, CHANGES)


def test_greetings_on_the_way_are_not_the_boards_answer(sshd: Sshd, target: Target) -> None:
    fake_python(sshd, f'echo "Welcome to your board!"; exec {sys.executable} "$@"')
    assert measure(sshd.backend(python=str(sshd.bin / "python3")), target).kernels


def test_a_model_that_the_boards_runtime_refuses(sshd: Sshd, target: Target) -> None:
    impossible = dataclasses.replace(CONV, input_shape=(1, 5, 16, 16))
    backend = sshd.backend()
    rig = backend.rig(threads=1, batch=1)
    with pytest.raises(DeviceError, match="cannot run a model"):
        backend.measure(target, rig, [KernelKey(impossible, "fp32")], [])


def test_another_board_than_the_rigs(sshd: Sshd, target: Target) -> None:
    backend = sshd.backend()
    rig = dataclasses.replace(backend.rig(threads=1, batch=1), device="Raspberry Pi 5")
    with pytest.raises(DeviceError, match="the rig says Raspberry Pi 5"):
        backend.measure(target, rig, KERNELS, [])


def test_a_board_of_another_kind(sshd: Sshd, target: Target) -> None:
    backend = sshd.backend()
    rig = backend.rig(threads=1, batch=1)
    with pytest.raises(DeviceError, match="needs a processor with quantum"):
        backend.measure(dataclasses.replace(target, requires=("quantum",)), rig, KERNELS, [])


def test_no_ssh_here(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(sshd.folder))
    assert "install OpenSSH's client" in refusal(sshd.backend())


def test_where_the_board_is_does_not_change_what_a_row_is_cached_under(tmp_path: Path) -> None:
    near, far = (SshBackend(host=host, port=free_port(), timeout_s=1.0) for host in ("near", "far"))
    assert repr(near) == repr(far)
    assert repr(near) != repr(SshBackend(host="near", rounds=5))
