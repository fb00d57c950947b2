"""What a target cannot give is said before any work: roundings that nothing simulates, time that is not bought."""

from __future__ import annotations

import pytest

from hawqsearch.core.budget import Budget
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.precision import Precision
from hawqsearch.core.request import check_request
from hawqsearch.core.space import SearchSpace
from hawqsearch.errors import InputError
from hawqsearch.hardware.targets import find_target


def space(*precisions: str, explicit: bool = True, pins: dict[str, str] | None = None) -> SearchSpace:
    return SearchSpace(
        precisions=tuple(map(Precision.parse, precisions)),
        pins=FrozenDict({name: Precision.parse(p) for name, p in (pins or {}).items()}),
        explicit=explicit,
    )


@pytest.mark.parametrize("precision", ["tf32", "fp16", "bf16", "fp8e4m3"])
@pytest.mark.parametrize("explicit", [True, False])
def test_a_rounding_that_nothing_simulates(precision: str, explicit: bool) -> None:
    with pytest.raises(InputError, match=f"{precision} can be profiled on cuda-int8, not searched") as caught:
        check_request(space("fp32", precision, explicit=explicit), find_target("cuda-int8"))
    assert "of cuda-int8's precisions fp32, w8a8, w4a16 can be searched" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nor_may_it_be_pinned() -> None:
    with pytest.raises(InputError, match="bf16 can be profiled"):
        check_request(space("fp32", "w8a8", pins={"head": "bf16"}), find_target("cuda-int8"))


@pytest.mark.parametrize("target", ["cuda-int8", "generic", "x86-vnni", "arm-neon"])
def test_what_is_simulated_may_be_asked_for(target: str) -> None:
    found = find_target(target)
    simulated = [p for p in found.precisions("linear") if p.is_simulated]
    check_request(space(*map(str, simulated)), found)
    check_request(space(*map(str, simulated)), found, Budget.parse("25% size"))


def test_a_precision_without_a_kernel_is_left_to_the_space() -> None:
    check_request(space("fp32", "fp16"), find_target("x86-vnni"))


@pytest.mark.parametrize("budget", ["5ms", "60%", "3mJ"])
def test_time_that_is_not_bought(budget: str) -> None:
    with pytest.raises(
        InputError, match="w4a8 buys size and no time on x86-vnni, where it runs w8a8's kernel"
    ):
        check_request(space("fp32", "w4a8"), find_target("x86-vnni"), Budget.parse(budget))


@pytest.mark.parametrize("budget", ["5ms, 2MiB", "25% size", "4bpw", "5ms, 50% bops"])
def test_size_that_is(budget: str) -> None:
    check_request(space("fp32", "w4a8"), find_target("x86-vnni"), Budget.parse(budget))


def test_a_space_that_lists_all_is_not_a_request_for_time() -> None:
    check_request(space("fp32", "w8a8", "w4a8", explicit=False), find_target("x86-vnni"), Budget.parse("5ms"))
    check_request(
        space("fp32", "w4a16"), find_target("cuda-int8"), Budget.parse("5ms")
    )  # a kernel of its own
