"""A board's own words become its name and what stands in the way of steady times."""

from __future__ import annotations

import pytest

from hawqsearch.errors import DeviceError
from hawqsearch.hardware.board.board import parse_board

PI5 = {
    "model": "Raspberry Pi 5 Model B Rev 1.0",
    "machine": "aarch64",
    "cpuinfo": "processor\t: 0\nFeatures\t: fp asimd asimddp\nCPU implementer\t: 0x41\nCPU part\t: 0xd0b\n",
    "cores": 4,
    "pinned": [0],
    "max_khz": 2400000,
    "governor": "ondemand",
    "load": 0.1,
    "temperature_c": 48.3,
    "onnxruntime": "1.31.1",
    "python": "3.11.2",
}


def test_a_raspberry_pi_is_named() -> None:
    board = parse_board(PI5)
    assert str(board.rig(threads=1, batch=1)) == (
        "Raspberry Pi 5 Model B Rev 1.0 (Cortex-A76 at 2400 MHz), onnxruntime 1.31.1, 1 thread, batch 1"
    )
    assert "asimddp" in board.features


def test_a_core_that_is_not_in_the_table_is_named_by_its_number() -> None:
    cpuinfo = PI5["cpuinfo"].replace("0xd0b", "0xfff")  # type: ignore[attr-defined]
    board = parse_board({**PI5, "cpuinfo": cpuinfo, "model": "", "max_khz": 0})
    assert board.device == "Arm part 0xfff"


def test_what_makes_times_unsteady_is_told_with_its_remedy() -> None:
    assert [note.split()[0] for note in parse_board(PI5).notes()] == ["governor"]
    busy = parse_board({**PI5, "governor": "performance", "load": 3.0, "temperature_c": 85.0})
    assert [note.split()[0] for note in busy.notes()] == ["load", "85"]
    assert parse_board({**PI5, "governor": "", "temperature_c": None}).notes() == ()


@pytest.mark.parametrize("broken", [{"cores": "many"}, {"cpuinfo": 7}, {"load": None}, {"max_khz": "fast"}])
def test_words_that_make_no_sense(broken: dict[str, object]) -> None:
    with pytest.raises(DeviceError, match="cannot be read"):
        parse_board({**PI5, **broken})
    with pytest.raises(DeviceError, match="cannot be read"):
        parse_board({})
