"""The measuring thread is held, and let go."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from hawqsearch.runtime.pinned import cores_held, pinned

if not hasattr(os, "sched_setaffinity"):
    pytest.skip("this system lets nobody choose a core", allow_module_level=True)


def test_this_thread_and_those_it_starts_are_held_and_let_go() -> None:
    before, seen = os.sched_getaffinity(0), []
    with pinned(1) as cores:
        assert len(cores) == 1
        assert os.sched_getaffinity(0) == set(cores) <= before
        assert cores_held(cores)
        thread = threading.Thread(target=lambda: seen.append(os.sched_getaffinity(0)))
        thread.start()
        thread.join()
    assert seen == [set(cores)]
    assert os.sched_getaffinity(0) == before
    assert cores_held(cores) == (before == set(cores))


def test_it_is_let_go_after_a_failure() -> None:
    before = os.sched_getaffinity(0)

    def fail() -> None:
        with pinned(1):
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    assert os.sched_getaffinity(0) == before


def test_the_fastest_cores_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for core, khz in enumerate([1_800_000, 2_400_000, 2_400_000, 1_800_000]):
        folder = tmp_path / f"sys/devices/system/cpu/cpu{core}/cpufreq"
        folder.mkdir(parents=True)
        (folder / "cpuinfo_max_freq").write_text(f"{khz}\n")
    held: list[set[int]] = [{0, 1, 2, 3}]
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: held[-1])
    monkeypatch.setattr(os, "sched_setaffinity", lambda pid, cores: held.append(set(cores)))
    for threads, wanted in ((1, (2,)), (2, (1, 2)), (3, (1, 2, 3)), (9, (0, 1, 2, 3))):
        with pinned(threads, root=tmp_path) as cores:
            assert cores == wanted
        assert held[-1] == {0, 1, 2, 3}


def test_where_it_is_not_allowed_nothing_is_said_to_be_held(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, cores: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    with pinned(1) as cores:
        assert cores == ()
        assert not cores_held(cores)
    monkeypatch.delattr(os, "sched_setaffinity")
    with pinned(1) as cores:
        assert cores == ()
