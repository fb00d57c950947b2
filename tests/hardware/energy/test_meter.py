"""The meter recovers a power that is known, through wraps, several packages and coarse counters."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hawqsearch.errors import DeviceError, InputError
from hawqsearch.hardware.energy.counter import EnergyCounter, consumed_uj
from hawqsearch.hardware.energy.hwmon import HwmonPower
from hawqsearch.hardware.energy.meter import EnergyReading, Meter, open_meter
from hawqsearch.hardware.energy.rapl import RaplPackage, find_rapl
from hawqsearch.hardware.energy.survey import Survey, survey
from tests.hardware.energy.world import World, sensor


def metered(world: World, *, counters: tuple[EnergyCounter, ...] = (), steps: int = 50) -> EnergyReading:
    found = counters or find_rapl(world.root)
    return Meter(counters=found, steps=steps, clock=world.clock, sleep=world.sleep).measure(world.run)


@settings(max_examples=40)
@given(
    idle_w=st.floats(0.0, 200.0),
    above_w=st.floats(0.5, 300.0),
    start=st.integers(0, 262_143_328_849),
    steps=st.integers(10, 200),
)
def test_a_constant_power_is_recovered(
    tmp_path_factory: pytest.TempPathFactory, idle_w: float, above_w: float, start: int, steps: int
) -> None:
    world = World(tmp_path_factory.mktemp("root"), (idle_w,), (idle_w + above_w,), start_uj=start)
    reading = metered(world, steps=steps)
    expected_mj = above_w * 0.002 * 1e3
    # four readings, each off by less than the file's microjoule, over at least `steps` of 61
    assert reading.median_mj == pytest.approx(expected_mj, rel=4 / (61 * steps))
    assert reading.low_mj <= reading.median_mj <= reading.high_mj
    assert reading.steps >= steps * 0.99
    assert reading.latency_ms == pytest.approx(2.0)
    assert reading.idle_w == pytest.approx(idle_w, abs=1e-3)
    assert reading.n % reading.blocks == 0
    assert reading.n // reading.blocks * 0.002 >= steps * 0.001 * 0.999


def test_a_counter_that_wraps_in_the_middle(tmp_path: Path) -> None:
    world = World(tmp_path, wrap_uj=2_000_000, start_uj=1_990_000)
    assert metered(world).median_mj == pytest.approx(20.0, rel=1e-3)
    assert world.total_uj[0] > 2 * world.wrap_uj  # it did


def test_two_packages_add_up(tmp_path: Path) -> None:
    world = World(tmp_path, (5.0, 3.0), (15.0, 4.0))
    reading = metered(world)
    assert reading.median_mj == pytest.approx((10 + 1) * 2.0, rel=1e-3)
    assert reading.counter == "RAPL package-0 + RAPL package-1"


def test_a_drifting_idle_power_cancels(tmp_path: Path) -> None:
    world = World(tmp_path)

    def sleep(seconds: float) -> None:
        world.sleep(seconds)
        world.idle_w, world.load_w = (world.idle_w[0] + 0.5,), (world.load_w[0] + 0.5,)

    reading = Meter(counters=find_rapl(tmp_path), clock=world.clock, sleep=sleep).measure(world.run)
    assert reading.median_mj == pytest.approx(20.0, rel=0.03)


def test_a_disturbed_block_does_not_move_the_median(tmp_path: Path) -> None:
    world = World(tmp_path)
    calls = 0

    def run() -> None:
        nonlocal calls
        calls += 1
        world.load_w = (150.0,) if 200 <= calls < 210 else (15.0,)
        world.run()

    reading = Meter(counters=find_rapl(tmp_path), clock=world.clock, sleep=world.sleep).measure(run)
    assert calls > 210
    assert reading.median_mj == pytest.approx(20.0, rel=1e-3)


def stands_still(index: int, value: int) -> int:
    return 7


def test_a_counter_that_stands_still(tmp_path: Path) -> None:
    world = World(tmp_path, on_write=stands_still)
    with pytest.raises(DeviceError, match=r"shows nothing above idle.*stands still"):
        metered(world)
    assert world.now < 100 + 5  # found soon


@pytest.mark.parametrize("load_w", [5.0, 4.0])
def test_work_that_takes_no_more_than_idling(tmp_path: Path, load_w: float) -> None:
    with pytest.raises(DeviceError, match="nothing above idle"):
        metered(World(tmp_path, (5.0,), (load_w,)))


def test_a_counter_that_was_reset(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.on_write = lambda index, value: value if world.now < 100.2 else value - 900_000
    with pytest.raises(DeviceError, match=r"RAPL package-0 jumped.*reset.*measure again"):
        metered(world)


def test_a_counter_that_becomes_unreadable(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.on_write = lambda index, value: value if world.now < 100.2 else -1
    with pytest.raises(DeviceError, match="does not hold a counter but '-1'"):
        metered(world)


def test_a_clock_that_goes_backwards(tmp_path: Path) -> None:
    world = World(tmp_path)

    def sleep(seconds: float) -> None:
        world.sleep(seconds)
        world.now -= 1000

    with pytest.raises(DeviceError, match=r"the clock moved by -999\.95 s"):
        Meter(counters=find_rapl(tmp_path), clock=world.clock, sleep=sleep).measure(world.run)


def test_an_integrated_power_sensor(tmp_path: Path) -> None:
    world = World(tmp_path, (3.0,), (9.0,))
    chip = sensor(tmp_path, "hwmon0", "ina226", power1_input="3000000", power1_label="board")
    path = chip / "power1_input"

    power = HwmonPower(path=path, name="board", clock=world.clock)

    def draw(microwatts: int) -> None:
        path.write_text(str(microwatts))
        power.read_uj()  # as the thread that samples in the background does, which knows no other clock

    def run() -> None:
        draw(9_000_000)
        world.run(0.5)

    def sleep(seconds: float) -> None:
        draw(3_000_000)
        world.sleep(seconds)

    reading = Meter(counters=(power,), clock=world.clock, sleep=sleep).measure(run)
    assert reading.median_mj == pytest.approx((9 - 3) * 0.5 * 1e3)


@given(before=st.integers(0, 99), moved=st.integers(0, 99))
def test_what_went_through_is_what_went_through(before: int, moved: int) -> None:
    counter = RaplPackage(folder=Path(), package="package-0", wrap_uj=100.0)
    assert consumed_uj(counter, before, (before + moved) % 100, seconds=1.0) == moved


def test_backwards_without_a_wrap() -> None:
    counter = HwmonPower(path=Path(), name="board")
    with pytest.raises(DeviceError, match="board went backwards by 5 uJ"):
        consumed_uj(counter, 10.0, 5.0, seconds=1.0)


def test_a_meter_of_nothing() -> None:
    with pytest.raises(InputError, match="missing_reason"):
        Meter(counters=())


def test_the_interval_encloses_the_median(tmp_path: Path) -> None:
    reading = metered(World(tmp_path))
    interval = reading.interval
    assert len(reading.readings_mj) == reading.blocks == 7
    assert interval.low <= interval.median == reading.median_mj <= interval.high
    assert (interval.low, interval.high) == (min(reading.readings_mj), max(reading.readings_mj))


def test_a_meter_is_opened_for_the_counters_that_there_are(tmp_path: Path) -> None:
    World(tmp_path / "fast")
    fast = open_meter(survey(tmp_path / "fast"))
    sensor(tmp_path / "slow", "hwmon0", "ina226", power1_input="3000000")
    slow = open_meter(survey(tmp_path / "slow"))
    assert (fast.name, fast.steps) == ("RAPL package-0", 50)
    assert slow.steps * slow.counters[0].update_s == pytest.approx(1.0)


def test_without_a_counter_no_meter_is_opened() -> None:
    with pytest.raises(InputError, match="no energy is metered: no counter; and no sensor"):
        open_meter(Survey((), ("no counter", "and no sensor")))
