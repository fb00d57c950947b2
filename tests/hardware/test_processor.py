"""Processors of one name and unlike instruction sets are told apart."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest

from hawqsearch import pipeline
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.hardware import HardwareProfile, KernelKey, Measurement, Signature
from hawqsearch.core.profile_file import check_rig
from hawqsearch.errors import InputError
from hawqsearch.hardware import processor
from hawqsearch.hardware.targets import find_target

FLAGS = {
    "AVX2": "fpu sse2 avx2",
    "AVX512": "fpu avx2 avx512f avx512bw",
    "AVX-VNNI": "fpu avx2 avx_vnni",
    "AVX512-VNNI": "fpu avx2 avx512f avx512bw avx512_vnni",
    "AMX": "fpu avx2 avx512f avx512bw avx512_vnni avx_vnni amx_tile amx_int8",
}


def machine(folder: Path, flags: str, name: str = "AMD EPYC") -> Path:
    """A root folder whose processor has those flags; the second core is told too, as Linux does."""
    (folder / "proc").mkdir(parents=True)
    core = f"processor\t: 0\nmodel name\t: {name}\nflags\t\t: {flags}\nvmx flags\t: avx2 amx_int8\n\n"
    (folder / "proc/cpuinfo").write_text(core * 2)
    return folder


@pytest.mark.parametrize("word", FLAGS)
def test_the_instruction_set_is_part_of_the_name(tmp_path: Path, word: str) -> None:
    assert processor.device_name(machine(tmp_path, FLAGS[word])) == f"AMD EPYC with {word}"


def test_one_without_any_has_its_name_alone(tmp_path: Path) -> None:
    assert processor.device_name(machine(tmp_path, "fpu sse2", name="Old")) == "Old"
    assert processor.device_name(tmp_path / "nowhere") == "unknown processor"


def test_a_profile_of_one_is_refused_on_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All call themselves AMD EPYC; every pair is refused in one line that names both instruction sets."""
    rigs = {}
    for word, flags in FLAGS.items():
        name = processor.device_name(machine(tmp_path / word, flags))
        monkeypatch.setattr(pipeline, "device_name", lambda name=name: name)
        rigs[word] = pipeline.local_rig(find_target("x86-vnni"), threads=1, batch=1)
    key = KernelKey(Signature(op="add", input_shape=(1, 4), output_shape=(1, 4)), "fp32")
    row = Measurement(median_ms=1.0, low_ms=1.0, high_ms=1.0, n=3, date="2026-11-21")
    for one, other in combinations(FLAGS, 2):
        profile = HardwareProfile(
            target="x86-vnni",
            rig=rigs[one],
            date="2026-11-21",
            kernels=FrozenDict({key: row}),
            changes=FrozenDict[object, Measurement]({}),  # type: ignore[arg-type]
        )
        check_rig(profile, rigs[one])
        with pytest.raises(
            InputError, match=rf"another machine: it is of AMD EPYC with {one}.*with {other}"
        ) as error:
            check_rig(profile, rigs[other])
        assert "\n" not in str(error.value)
        check_rig(replace(profile, rig=rigs[other]), rigs[other])
