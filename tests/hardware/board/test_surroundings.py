"""What a board's script says of the board on the way, and a clock that jumps there."""

from __future__ import annotations

import pytest

from hawqsearch.hardware.board import measure_onnx
from hawqsearch.hardware.board.board import Board
from hawqsearch.hardware.board.surroundings import Surroundings

PI = Board(
    device="Pi",
    machine="aarch64",
    features=frozenset(),
    cores=4,
    runtime="onnxruntime 1.31.0",
    python="3.13.5",
    governor="ondemand",
    load=0.5,
    temperature_c=40.0,
    pinned=(3,),
)


def test_a_board_and_what_it_said_on_the_way() -> None:
    times = iter([5.0, 17.5])
    around = Surroundings(1, clock=lambda: next(times))
    around.meet(PI)
    for load in (1.0, "?", float("nan"), True, 1.5):
        around.add({"round": 1, "load": load})
    around.add({"jumped": "job3.onnx"})
    (found,) = around.conditions(rounds=12)
    assert (found.cores, found.n_cores, found.governor, found.seconds) == ((3,), 4, "ondemand", 12.5)
    assert (found.load_before, found.load_after, found.thrown, found.rounds) == (0.5, 1.5, 1, 12)


def test_of_a_board_that_never_answered_nothing_is_said() -> None:
    assert Surroundings(1).conditions(rounds=0) == ()


@pytest.mark.parametrize(
    ("times", "is_jump"),
    [
        ([1.0, 1.1, 0.9], False),
        ([1.0, 90.0, 1.0], False),
        ([20.0, 1500.0, 20.0], False),
        ([1.0, 5000.0, 1.0], True),
        ([1.0, -0.001, 1.0], True),
        ([0.0, 0.0, 0.0], False),
        ([], False),
    ],
    ids=["steady", "disturbed", "a slow node", "a leap", "backwards", "too short to see", "nothing"],
)
def test_what_a_jump_is(times: list[float], is_jump: bool) -> None:
    assert measure_onnx.jumped(times) is is_jump


@pytest.mark.parametrize("jumps", [0, 1, 3, 4])
def test_a_round_in_which_the_clock_jumped_is_timed_again(
    jumps: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = iter([[["conv", "Conv", [1.0, -3.0]]]] * jumps + [[["conv", "Conv", [1.0, 1.1]]]])
    monkeypatch.setattr(measure_onnx, "timed", lambda *_: next(answers))
    if jumps == 4:
        with pytest.raises(RuntimeError, match="the clock keeps jumping"):
            measure_onnx.measure("job.onnx", {}, None, None)
    else:
        assert measure_onnx.measure("job.onnx", {}, None, None) == [["conv", "Conv", [1.0, 1.1]]]
    assert capsys.readouterr().out.count('"jumped"') == jumps
