"""Machines that ship with a target, by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from hawqsearch.core.profile_file import read_profile
from hawqsearch.errors import InputError
from hawqsearch.hardware.machines import find_machine, machine_names
from hawqsearch.hardware.predictor import fit_predictor
from hawqsearch.hardware.targets import find_target, target_names


@pytest.mark.parametrize("target", target_names())
def test_what_ships_is_a_whole_profile_of_that_target_whose_scales_were_learned(target: str) -> None:
    for name in machine_names(find_target(target)):
        profile = read_profile(find_machine(find_target(target), name))
        assert profile.target == target
        assert profile.origin.startswith("measured: ")
        assert len(profile.kernels) > 1000
        predictor = fit_predictor(profile)
        assert set(profile.scales) == set(predictor.processes)


def test_one_ships_for_x86_and_none_where_the_cores_are_simulated_or_published() -> None:
    assert machine_names(find_target("x86-vnni"))
    assert machine_names(find_target("arm-neon")) == ()
    assert machine_names(find_target("cuda-int8")) == ()


def test_a_path_is_a_path(tmp_path: Path) -> None:
    file = tmp_path / "own.csv"
    file.write_text("")
    target = find_target("x86-vnni")
    assert find_machine(target, str(file)) == file
    assert find_machine(target, "missing.csv") == Path("missing.csv")


def test_another_name_is_told_those_that_there_are() -> None:
    target = find_target("x86-vnni")
    with pytest.raises(InputError, match=f"no machine of that name.*{machine_names(target)[0]}"):
        find_machine(target, "amd-epic")
