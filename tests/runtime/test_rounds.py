"""Rounds on a clock that the test turns."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from hawqsearch.errors import DeviceError
from hawqsearch.runtime.rounds import Effort, End, Rounds, in_rounds

EFFORT = Effort(share=0.02, rounds=40, least_rounds=8, seconds=100.0)


@dataclass
class World:
    """Nanoseconds that pass only while a candidate runs; `leaps` are added to them at certain runs."""

    now: float = 0.0
    ran: list[str] = field(default_factory=list)
    leaps: dict[int, float] = field(default_factory=dict)

    def clock(self) -> int:
        return round(self.now)

    def candidate(self, name: str, ms: Callable[[float], float]) -> Callable[[], None]:
        """Takes `ms(seconds on the clock)` a run."""

        def run() -> None:
            self.now += 1e6 * ms(self.now / 1e9) + 1e9 * self.leaps.get(len(self.ran), 0.0)
            self.ran.append(name)

        return run


def timed(
    effort: Effort = EFFORT,
    *,
    world: World | None = None,
    reference: str | None = None,
    on_round: Callable[[int], object] = lambda done: None,
    **costs: Callable[[float], float],
) -> Rounds[str]:
    world = World() if world is None else world
    works = {name: world.candidate(name, ms) for name, ms in costs.items()}
    return in_rounds(works, effort, reference=reference, clock=world.clock, on_round=on_round)


def steady(ms: float) -> Callable[[float], float]:
    return lambda now: ms


def noisy(ms: float, share: float, seed: int = 0) -> Callable[[float], float]:
    """Each run off by up to `share`, and whole stretches of it too."""
    rng = np.random.default_rng(seed)
    return lambda now: ms * (1 + share * rng.uniform(-1, 1) + share * np.sin(40 * now))


def median(found: Rounds[str], name: str) -> float:
    return float(np.median([sample.median_ms for sample in found.samples[name]]))


def test_a_steady_candidate_needs_the_fewest_rounds() -> None:
    found = timed(a=steady(4.0), b=steady(0.5))
    assert (found.rounds, found.end, found.wide, found.thrown) == (8, End.NARROW, (), 0)
    assert {s.median_ms for s in found.samples["a"]} == {4.0}
    assert {len(s.runs_ms) for s in found.samples["a"]} == {3}
    assert found.drift == 0.0


def test_a_noisy_candidate_is_flagged_and_the_others_are_not() -> None:
    found = timed(a=steady(1.0), b=noisy(1.0, 0.3), c=steady(0.1))
    assert (found.wide, found.end, found.rounds) == (("b",), End.ROUNDS, 40)
    assert found.half_widths["b"] > 0.02 >= found.half_widths["a"]


def test_what_is_narrow_leaves_its_time_to_the_others_and_still_sees_the_end() -> None:
    world = World()
    found = timed(world=world, a=steady(1.0), b=noisy(1.0, 0.3))
    assert len(found.samples["b"]) == 40
    assert [s.round for s in found.samples["a"]] == [*range(8), *range(8, 40, 4)]


def test_more_rounds_make_a_noisy_candidate_narrow() -> None:
    few, many = (timed(replace(EFFORT, rounds=n), b=noisy(1.0, 0.08)) for n in (10, 400))
    assert few.wide == ("b",)
    assert many.end is End.NARROW
    assert 10 < many.rounds < 400


def test_the_time_is_up() -> None:
    found = timed(replace(EFFORT, seconds=0.2), a=noisy(1.0, 0.3), b=noisy(2.0, 0.3, seed=1))
    assert found.end is End.TIME
    assert 8 <= found.rounds < 40
    assert found.seconds == pytest.approx(0.2, abs=0.02)
    late = timed(replace(EFFORT, seconds=0.0), a=noisy(1.0, 0.3))
    assert late.rounds == 8


def test_a_drifting_clock_cancels_in_the_ratio() -> None:
    """Everything slows down to less than half; times follow, ratios stay within 1 %."""

    def slow(ms: float) -> Callable[[float], float]:
        return lambda now: ms * (1 + now)

    effort = replace(EFFORT, share=0.002)
    found = timed(effort, reference="a", a=slow(4.0), b=slow(3.0))
    assert found.drift is not None
    assert found.drift > 0.5
    assert found.half_widths["b"] < 0.03 < 0.1 < found.half_widths["a"]
    pairs = zip(found.samples["b"], found.samples["a"], strict=True)
    assert np.median([b.median_ms / a.median_ms for b, a in pairs]) == pytest.approx(0.75, rel=0.01)
    plain = timed(effort, a=slow(4.0), b=slow(3.0))
    assert median(plain, "b") / median(plain, "a") == pytest.approx(0.75, rel=0.01)


def test_the_reference_is_there_in_every_round() -> None:
    found = timed(reference="a", a=steady(1.0), b=noisy(1.0, 0.3), c=steady(1.0))
    assert [s.round for s in found.samples["a"]] == list(range(40))


def test_the_order_is_reversed_every_other_round() -> None:
    world = World()
    timed(world=world, a=steady(4.0), b=steady(3.0), c=steady(2.0))
    order = [name for name, _ in itertools.groupby(world.ran)]
    assert order[:3] == ["a", "b", "c"]  # sizing
    assert order[3:14] == ["a", "b", "c", "b", "a", "b", "c", "b", "a", "b", "c"]


def test_it_warms_up_until_it_is_steady() -> None:
    """A machine that is slow to wake."""
    waking = lambda now: 1 + 2 ** (-now / 0.004)  # noqa: E731
    found = timed(replace(EFFORT, share=1.0), a=waking)
    assert 2 < found.warm_ups < 6
    assert found.samples["a"][0].median_ms < 1.05
    never = itertools.cycle([1.0] * 4 + [2.0] * 4)
    assert timed(a=lambda now: next(never)).warm_ups == 6


def test_one_slow_run_does_not_move_a_round() -> None:
    calls = itertools.count()
    found = timed(a=lambda now: 100.0 if next(calls) % 5 == 0 else 0.2)
    assert found.wide == ()
    assert median(found, "a") == 0.2


def test_runs_fill_the_slice() -> None:
    found = timed(replace(EFFORT, slice_ms=2.0), short=steady(0.001), middle=steady(0.2), long=steady(9.0))
    assert {name: len(s[0].runs_ms) for name, s in found.samples.items()} == {
        "short": 40,
        "middle": 10,
        "long": 3,
    }


def test_samples_know_which_runs_they_are() -> None:
    """So that a runtime's own profile, which has all runs, can be cut alike."""
    for leaps in ({}, {60: 1e4}):
        world = World(leaps=dict(leaps))
        log: dict[str, list[float]] = {"a": [], "b": []}

        def logged(
            name: str, ms: float, world: World = world, log: dict[str, list[float]] = log
        ) -> Callable[[], None]:
            rng = np.random.default_rng(1)

            def run() -> None:
                before = world.now
                work()
                log[name].append((world.now - before) / 1e6)

            work = world.candidate(name, lambda now: ms * (1 + 0.1 * rng.uniform()))
            return run

        works = {"a": logged("a", 1.0), "b": logged("b", 0.3)}
        found = in_rounds(works, EFFORT, clock=world.clock)
        assert found.thrown == len(leaps)
        for name, samples in found.samples.items():
            for sample in samples:
                runs = log[name][sample.first_run : sample.first_run + len(sample.runs_ms)]
                assert runs == pytest.approx(sample.runs_ms, abs=1e-5)


@pytest.mark.parametrize(
    "leap", [-3600.0, -0.5, 3.0, 1e6], ids=["hour back", "half a second back", "3 s", "11 days"]
)
@pytest.mark.parametrize("at", [1, 3, 30, 70])
def test_a_jump_costs_its_round_and_no_more(leap: float, at: int) -> None:
    if at < 6 and 0 < leap < 600:
        pytest.skip("before anything is known of a candidate, three seconds may be what it takes")
    found = timed(world=World(leaps={at: leap}), a=steady(4.0), b=steady(0.5))
    assert (found.thrown, found.rounds, found.end) == (1, 8, End.NARROW)
    assert {s.median_ms for s in found.samples["a"]} == {4.0}
    assert found.seconds < 1


def test_a_leap_does_not_use_up_the_time() -> None:
    effort = replace(EFFORT, seconds=0.3)
    plain, leapt = (
        timed(effort, world=World(leaps=leaps), a=noisy(1.0, 0.3)) for leaps in ({}, {90: 5000.0})
    )
    assert leapt.thrown == 1
    assert abs(leapt.rounds - plain.rounds) <= 2


def test_a_clock_that_keeps_jumping() -> None:
    world = World(leaps=dict.fromkeys(range(20, 10_000, 4), -1.0))
    with pytest.raises(DeviceError, match=r"the clock jumped in 4 rounds, last by -0\.996 s") as caught:
        timed(world=world, a=steady(4.0))
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 4


def test_a_clock_that_stands_still_says_nothing_narrow() -> None:
    found = timed(a=steady(0.0))
    assert found.wide == ("a",)


def test_progress_adds_up() -> None:
    for cost in (steady(1.0), noisy(1.0, 0.3)):
        done: list[int] = []
        timed(on_round=done.append, a=cost)
        assert sum(done) == EFFORT.rounds
