"""A GPU that is none, on the other end of a real ssh connection: measured, and everything that keeps it from that."""

from __future__ import annotations

import dataclasses
import getpass
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hawqsearch.cli import profile_source
from hawqsearch.core.hardware import Change, ChangeKey, KernelKey, Rig, Signature
from hawqsearch.errors import DeviceError, InputError
from hawqsearch.hardware.cuda import wire
from hawqsearch.hardware.cuda.ssh import CudaSshBackend
from hawqsearch.hardware.targets import find_target
from tests.hardware.board.conftest import sshd  # noqa: F401  (a fixture)
from tests.hardware.board.server import Sshd, free_port

LINEAR = Signature(op="linear", input_shape=(4, 32), output_shape=(4, 16), weight_shape=(16, 32))
KERNELS = [KernelKey(LINEAR, p) for p in ("fp32", "w8a8")]
CHANGES = [ChangeKey((4, 32), change) for change in Change]
TARGET = find_target("cuda-int8")
ROOT = Path(__file__).parents[3]
FAKE = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from hawqsearch.hardware.cuda import backend, serve
from tests.hardware.cuda.fake import FakeDevice
backend.TorchCuda = FakeDevice
"""

Open = Callable[..., CudaSshBackend]


@pytest.fixture
def open_gpu(sshd: Sshd) -> Open:  # noqa: F811
    """A backend whose far end runs `serve` after a few lines of its own."""

    def opened(
        lines: str = FAKE, *, end: str = "sys.exit(serve.main())", **changes: object
    ) -> CudaSshBackend:
        program = sshd.folder / "far_end.py"
        program.write_text(lines + end + "\n")
        python = sshd.bin / "python"
        python.write_text(
            f'#!/bin/sh\n[ "$3" = hawqsearch.hardware.cuda.serve ] && exec {sys.executable} {program}\n'
        )
        python.chmod(0o755)
        settings: dict[str, object] = {
            "host": f"{getpass.getuser()}@127.0.0.1",
            "port": sshd.port,
            "identity": sshd.folder / "user_key",
            "known_hosts": sshd.folder / "known_hosts",
            "python": str(python),
            "connect_timeout_s": 5,
            "timeout_s": 60.0,
            "silence_s": 30.0,
            "rounds": 2,
            "burst": 2,
        }
        return CudaSshBackend(**(settings | changes))  # type: ignore[arg-type]

    return opened


def test_a_gpu_elsewhere_is_measured(open_gpu: Open) -> None:
    backend, rounds = open_gpu(), list[int]()
    rig = backend.rig(batch=4)
    assert rig == Rig(device="Fake GPU", runtime="torch 0.0, CUDA 0.0", threads=1, batch=4)
    profile = backend.measure(TARGET, rig, KERNELS, CHANGES, on_round=rounds.append)
    assert set(profile.kernels) == set(KERNELS)
    assert set(profile.changes) == set(CHANGES)
    assert {(row.n, row.origin) for row in profile.kernels.values()} == {(4, "measured")}
    assert sum(rounds) == backend.n_rounds


def test_what_a_login_says_is_not_taken_for_an_answer(open_gpu: Open) -> None:
    assert open_gpu("print('welcome')\n" + FAKE).rig(batch=1).device == "Fake GPU"


@pytest.mark.parametrize(
    ("lines", "end", "says"),
    [
        ("import no_such_hawqsearch\n", "", "has no hawqsearch; install it there"),
        ("import sys\n", "sys.exit(7)", "its Python ended with exit code 7"),
        ("import sys\n", "sys.exit(0)", "its Python ended with exit code 0"),
        (FAKE, "serve.version = lambda name: '0.0.1'\nserve.main()", "it has hawqsearch 0.0.1 and this is"),
        ("import sys\n", f"print({wire.MARKER!r} + '[]')", "a line that cannot be read"),
        ("import sys\n", f"print({wire.MARKER!r} + '{{')", "a line that cannot be read"),
        (FAKE, f'print({wire.MARKER!r} + \'{{"rig": {{"gpu": 1}}}}\')', "named itself in a way"),
        ("import sys\n", f"print({wire.MARKER!r} + '{{\"done\": true}}')", "did not say which GPU"),
        ("import sys\n", "import time; time.sleep(20)", "said nothing for 1 s"),
    ],
)
def test_a_far_end_that_cannot(lines: str, end: str, says: str, open_gpu: Open) -> None:
    silence = {"silence_s": 1.0} if "sleep" in end else {}
    with pytest.raises(DeviceError, match=says) as caught:
        open_gpu(lines, end=end, **silence).rig(batch=1)
    assert "\n" not in str(caught.value)


def test_a_machine_without_a_gpu(open_gpu: Open) -> None:
    none = FAKE.replace(
        "backend.TorchCuda = FakeDevice", "import torch; torch.cuda.is_available = lambda: False"
    )
    with pytest.raises(DeviceError, match="cannot measure: cuda-int8 needs an NVIDIA GPU, and none is here"):
        open_gpu(none).rig(batch=1)


def test_rows_that_do_not_come_or_are_of_another(open_gpu: Open) -> None:
    backend = open_gpu()
    rig = backend.rig(batch=4)
    with pytest.raises(DeviceError, match=r"the rig says NVIDIA T4.*but Fake GPU"):
        backend.measure(TARGET, dataclasses.replace(rig, device="NVIDIA T4"), KERNELS, CHANGES)
    few = "full = wire.parse_request\nserve.parse_request = lambda c: dataclasses.replace(full(c), changes=())\n"
    lines = FAKE + "import dataclasses\nfrom hawqsearch.hardware.cuda import wire\n" + few
    with pytest.raises(DeviceError, match="left out 2 of the rows"):
        open_gpu(lines).measure(TARGET, rig, KERNELS, CHANGES)
    broken = FAKE + "serve.dump_profile = lambda profile: 'mine'\n"
    with pytest.raises(DeviceError, match="sent a profile that cannot be read: not a profile"):
        open_gpu(broken).measure(TARGET, rig, KERNELS, CHANGES)


def test_a_kernel_that_fails_there(open_gpu: Open) -> None:
    with pytest.raises(DeviceError, match=r"cannot measure: .*no w4a8 kernel of linear on CUDA"):
        open_gpu().measure(TARGET, open_gpu().rig(batch=4), [KernelKey(LINEAR, "w4a8")], [])


def test_who_is_not_let_in(open_gpu: Open, tmp_path: Path) -> None:
    (tmp_path / "nobody").write_text("")
    with pytest.raises(DeviceError, match=r"host key .* is not known"):
        open_gpu(known_hosts=tmp_path / "nobody").rig(batch=1)
    with pytest.raises(DeviceError, match="does not answer"):
        open_gpu(port=free_port()).rig(batch=1)
    with pytest.raises(DeviceError, match="has no no-such-python; name the Python"):
        open_gpu(python="no-such-python").rig(batch=1)


@pytest.mark.parametrize(
    "changes", [{"host": "a b"}, {"host": "-oProxyCommand=x"}, {"python": "python; reboot"}]
)
def test_nothing_that_a_shell_could_read(changes: dict[str, str]) -> None:
    with pytest.raises(InputError, match="cannot use"):
        CudaSshBackend(**({"host": "gpu"} | changes))  # type: ignore[arg-type]


def test_a_request_comes_out_as_it_went_in() -> None:
    request = wire.Request(
        version="1", batch=2, rounds=3, burst=4, kernels=tuple(KERNELS), changes=tuple(CHANGES)
    )
    assert wire.parse_request(request.dump()) == request
    for content in (b"", b"[]", b"{}", b'{"kernels": [], "changes": [], "foo": 1}'):
        with pytest.raises(DeviceError, match="request cannot be read"):
            wire.parse_request(content)


def test_the_command_line_asks_it(open_gpu: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = open_gpu()
    monkeypatch.setattr("hawqsearch.hardware.cuda.ssh.CudaSshBackend", lambda **asked: opened)
    asked = profile_source.Asked(
        backend=None, host="gpu", port=None, identity=None, python=None, threads=1, batch=4
    )
    assert profile_source.open_source(TARGET, asked).rig.device == "Fake GPU"
    with pytest.raises(InputError, match="leave --threads away"):
        profile_source.open_source(TARGET, dataclasses.replace(asked, threads=2))
