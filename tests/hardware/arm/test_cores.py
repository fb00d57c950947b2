"""Cores and the names that users write for them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hawqsearch.errors import InputError, UnknownNameError
from hawqsearch.hardware.arm.cores import DEFAULT_CORE, KERNEL_SETS, cores, parse_core, split_target
from hawqsearch.hardware.arm.port_model import PIPELINES
from hawqsearch.hardware.targets import find_target


def test_every_core_has_a_port_model_and_a_kernel_set() -> None:
    assert set(cores()) == set(PIPELINES)
    assert {core.kernels for core in cores().values()} == set(KERNEL_SETS)
    assert len({core.column for core in cores().values()}) == len(cores())


def test_the_default_is_a_raspberry_pi_5() -> None:
    core = parse_core("")
    assert (core.name, core.clock_ghz) == (DEFAULT_CORE, 2.4)
    assert str(core) == "Cortex-A76 port model, 2.4 GHz"


@pytest.mark.parametrize(
    ("text", "name", "core", "clock"),
    [
        ("arm-neon", "arm-neon", "cortex-a76", 2.4),
        ("arm-neon:cortex-a53", "arm-neon", "cortex-a53", 1.2),
        ("arm-neon:cortex-a72@1.5GHz", "arm-neon", "cortex-a72", 1.5),
        ("arm-neon:cortex-a72@1800MHz", "arm-neon", "cortex-a72", 1.8),
        ("arm-neon@2.0GHz", "arm-neon", "cortex-a76", 2.0),
        ("arm-neon@2ghz", "arm-neon", "cortex-a76", 2.0),
    ],
)
def test_names_of_cores(text: str, name: str, core: str, clock: float) -> None:
    found, rest = split_target(text)
    assert found == name
    parsed = parse_core(rest)
    assert (parsed.name, parsed.clock_ghz) == (core, pytest.approx(clock))


@given(st.sampled_from(sorted(cores())), st.integers(200, 4000))
def test_a_clock_is_what_was_written(name: str, megahertz: int) -> None:
    assert parse_core(f"{name}@{megahertz}MHz").clock_ghz == pytest.approx(megahertz / 1000)
    assert parse_core(f"{name}@{megahertz / 1000}GHz").clock_ghz == pytest.approx(megahertz / 1000)


def test_an_unknown_core_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean cortex-a76"):
        parse_core("cortex-a75")


@pytest.mark.parametrize("clock", ["", "fast", "2.4", "-1GHz", "nanGHz", "2.4GHz extra"])
def test_a_clock_that_cannot_be_read(clock: str) -> None:
    with pytest.raises(InputError, match=r"write it as 2\.4GHz"):
        parse_core(f"cortex-a76@{clock}")


@pytest.mark.parametrize("clock", ["0GHz", "99GHz", "2.4MHz"])
def test_a_clock_that_no_core_has(clock: str) -> None:
    with pytest.raises(InputError, match=f"no core runs at {clock}; name a clock of 0.1 to 10 GHz"):
        parse_core(f"cortex-a76@{clock}")


def test_a_variant_is_checked_when_the_target_is_found() -> None:
    with pytest.raises(UnknownNameError, match="unknown core 'cortex-a75'"):
        find_target("arm-neon:cortex-a75")
    assert find_target("arm-neon:cortex-a72@1.5GHz").variant == "cortex-a72@1.5GHz"
    assert find_target("arm-neon:").name == "arm-neon"
