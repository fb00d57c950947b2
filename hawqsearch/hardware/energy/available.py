"""Whether a target's energy is known where we are: by a counter of this machine, or by a profile that holds it."""

from __future__ import annotations

from hawqsearch.core.hardware import HardwareProfile
from hawqsearch.core.target import Target
from hawqsearch.hardware.energy.survey import Survey, gpu_survey, survey

__all__ = ["missing_energy", "survey_for"]


def missing_energy(target: Target, profile: HardwareProfile | None = None) -> str | None:
    """One line on why no energy of `target` is known, with the remedy; None where it is.

    Args:
        profile: what was measured elsewhere and stands for the machine.
    """
    if target.runtime is None:
        return f"{target.name} has no device, so no energy counter"
    if profile is not None:
        return _missing_in(profile)
    if target.device == "tables":
        return (
            "no counter metered the shipped table: meter a board with `hawqsearch profile --host user@board --energy "
            "--out FILE.csv` and name that with --profile"
        )
    return survey_for(target).missing_reason


def survey_for(target: Target) -> Survey:
    """Counters of what runs `target` here: the GPU's, or the processor's."""
    return gpu_survey() if target.runtime == "torch" else survey()


def _missing_in(profile: HardwareProfile) -> str | None:
    rows = profile.rows.values()
    without = sum(row.energy is None for row in rows if row.origin == "measured")
    if not without:
        return None
    which = "none" if not profile.counters else f"{without} not"
    return f"of the {len(rows)} rows of the profile {which} were metered; make it again with profile --energy"
