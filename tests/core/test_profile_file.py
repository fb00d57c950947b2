"""Profiles as CSV: read is the inverse of write, and every way of being wrong."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hawqsearch.core.conditions import Conditions
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.hardware import (
    Change,
    ChangeKey,
    Energy,
    HardwareProfile,
    KernelKey,
    Measurement,
    Rig,
    Signature,
)
from hawqsearch.core.profile_diff import difference
from hawqsearch.core.profile_file import check_rig, expired, merge, read_profile, write_profile
from hawqsearch.core.whole import WholeFit, WholeRun
from hawqsearch.errors import FileFormatError, InputError

RIG = Rig(device='Raspberry Pi 5, "the" board', runtime="onnxruntime 1.31.0", threads=1, batch=1)

sides = st.integers(1, 512)
shapes = st.lists(sides, min_size=1, max_size=4).map(tuple)
times = st.floats(0, 1e6, allow_nan=False)
names = st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=30)
measurements = st.builds(
    Measurement,
    median_ms=times,
    low_ms=times,
    high_ms=times,
    n=st.integers(0, 10**6),
    date=st.dates().map(lambda day: day.isoformat()),
    origin=st.sampled_from(["measured", "simulated", "published", "predicted"]),
    half_width=st.none() | st.floats(0, 10),
)
energies = st.builds(
    Energy, median_mj=times, low_mj=times, high_mj=times, n=st.integers(0, 10**6), counter=names
)
metered = st.builds(
    lambda row, energy: replace(row, origin="measured", energy=energy), measurements, energies
)
signatures = st.builds(
    Signature,
    op=st.sampled_from(["conv", "linear", "add", "concat", "avg_pool", "max_pool"]),
    input_shape=shapes,
    output_shape=shapes,
    weight_shape=st.just(()) | shapes,
    stride=st.just(()) | shapes,
    padding=st.just(()) | st.lists(st.integers(0, 7), min_size=2, max_size=2).map(tuple),
    dilation=st.just(()) | shapes,
    groups=sides,
    activation=st.sampled_from([None, "relu", "relu6"]),
)
kernel_keys = st.builds(KernelKey, signatures, st.sampled_from(["fp32", "w8a8", "w4a16", "w8a8d", "bf16"]))
change_keys = st.builds(ChangeKey, shapes, st.sampled_from(Change))
counts = st.integers(0, 10**6)
seen = st.builds(
    Conditions,
    utc=names,
    seconds=times,
    cores=st.lists(counts, max_size=3).map(tuple),
    n_cores=counts,
    threads=counts,
    governor=st.none() | names,
    boost=st.none() | st.booleans(),
    load_before=st.none() | times,
    load_after=st.none() | times,
    mhz_low=st.none() | times,
    mhz_high=st.none() | times,
    throttled=st.none() | counts,
    steal=st.none() | st.floats(0, 1),
    rounds=counts,
    thrown=counts,
    drift=st.none() | st.floats(-1, 10),
)
runs = st.builds(
    WholeRun,
    config=st.dictionaries(names, names, max_size=3).map(FrozenDict),
    sum_ms=times,
    corrected_ms=times,
    measured_ms=st.floats(1e-3, 1e6),
    half_width=st.none() | st.floats(0, 10),
)
fits = st.builds(
    WholeFit,
    network=names,
    fixed_ms=times,
    spread=times,
    scales=st.dictionaries(names, times, max_size=3).map(FrozenDict),
    runs=st.lists(runs, min_size=1, max_size=3).map(tuple),
)
rigs = st.builds(Rig, device=names, runtime=names, threads=sides, batch=sides)


@st.composite
def profiles(draw: st.DrawFn, rig: st.SearchStrategy[Rig] = rigs) -> HardwareProfile:
    kernels = draw(st.dictionaries(kernel_keys, measurements | metered, max_size=4))
    changes = draw(st.dictionaries(change_keys, measurements | metered, max_size=4, min_size=not kernels))
    return HardwareProfile(
        target=draw(names),
        rig=draw(rig),
        date=max(m.date for m in (*kernels.values(), *changes.values())),
        kernels=FrozenDict(kernels),
        changes=FrozenDict(changes),
        conditions=tuple(draw(st.lists(seen, max_size=2, unique=True))),
        whole=tuple(draw(st.lists(fits, max_size=2, unique_by=lambda fit: fit.network))),
    )


def row(median_ms: float = 1.0, date: str = "2026-11-21", spread: float = 0.1) -> Measurement:
    return Measurement(
        median_ms=median_ms, low_ms=median_ms - spread, high_ms=median_ms + spread, n=9, date=date
    )


CONV = KernelKey(
    Signature(
        op="conv", input_shape=(1, 8, 16, 16), output_shape=(1, 16, 16, 16), weight_shape=(16, 8, 3, 3)
    ),
    "w8a8",
)
LINEAR = KernelKey(Signature(op="linear", input_shape=(1, 64), output_shape=(1, 32)), "fp32")
CHANGE = ChangeKey((1, 8, 16, 16), Change.TO_INT8)


def profile(rows: dict[KernelKey, Measurement], rig: Rig = RIG) -> HardwareProfile:
    changes = FrozenDict({CHANGE: row(0.5)})
    return HardwareProfile(
        target="arm-neon", rig=rig, date="2026-11-21", kernels=FrozenDict(rows), changes=changes
    )


GOOD = profile({CONV: row(), LINEAR: row(2.0)})


# ---------------------------------------------------------------- laws


@settings(max_examples=60)
@given(written=profiles())
def test_read_is_the_inverse_of_write(
    tmp_path_factory: pytest.TempPathFactory, written: HardwareProfile
) -> None:
    path = tmp_path_factory.mktemp("profile") / "profile.csv"
    write_profile(path, written)
    read = read_profile(path)
    assert read == written
    assert list(read.kernels) == list(written.kernels)


@settings(max_examples=30)
@given(written=profiles(), data=st.data())
def test_cut_short_anywhere_it_is_refused(
    tmp_path_factory: pytest.TempPathFactory, written: HardwareProfile, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("profile") / "profile.csv"
    write_profile(path, written)
    content = path.read_bytes()
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(FileFormatError) as caught:
        read_profile(path)
    assert "\n" not in str(caught.value).replace(str(path), "")


@given(first=profiles(st.just(RIG)), second=profiles(st.just(RIG)))
def test_merged_it_has_every_row_and_the_newer_of_two(
    first: HardwareProfile, second: HardwareProfile
) -> None:
    second = replace(second, target=first.target)
    merged = merge(first, second)
    assert set(merged.kernels) == set(first.kernels) | set(second.kernels)
    assert set(merged.changes) == set(first.changes) | set(second.changes)
    for key, found in merged.kernels.items():
        dates = [p.kernels[key].date for p in (first, second) if key in p.kernels]
        assert found.date == max(dates)
    assert merge(first, first) == first


# ---------------------------------------------------------------- wrong files

Rows = list[dict[str, str]]


def broken(path: Path, change: Callable[[Rows], object]) -> str:
    """What is said of a good file whose rows were changed."""
    write_profile(path, GOOD)
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    change(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(text.getvalue())
    with pytest.raises(FileFormatError) as caught:
        read_profile(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


def everywhere(column: str, value: str) -> Callable[[Rows], object]:
    return lambda rows: [row.update({column: value}) for row in rows]


def first(column: str, value: str) -> Callable[[Rows], object]:
    return lambda rows: rows[0].update({column: value})


def second(column: str, value: str) -> Callable[[Rows], object]:
    return lambda rows: rows[1].update({column: value})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (everywhere("schema_version", "2"), "upgrade hawqsearch"),
        (everywhere("median_sm", "1"), "unknown column 'median_sm'; did you mean median_ms"),
        (lambda rows: [row.pop("date") for row in rows], "column date 0 times"),
        (lambda rows: rows.pop(), "2 of its 3 rows; was it cut short?"),
        (lambda rows: rows.append(rows[0]), "4 of its 3 rows"),
        (first("median_ms", "-1.0"), "line 2: median_ms is '-1.0': a time is finite and not negative"),
        (second("quartile3_ms", "nan"), "line 3: quartile3_ms is 'nan'"),
        (second("quartile1_ms", "inf"), "a time is finite"),
        (first("median_ms", "fast"), "median_ms is 'fast'"),
        (first("n", "-3"), "whole number"),
        (first("n", "9" * 5000), "n is '999"),
        (first("date", "yesterday"), "date is 'yesterday'"),
        (second("device", "Raspberry Pi 4"), "a file is of one rig"),
        (second("runtime", "onnxruntime 9"), "a file is of one rig"),
        (second("batch", "8"), "a file is of one rig"),
        (everywhere("threads", "0"), "threads is '0': it must be at least 1"),
        (first("origin", "guessed"), "unknown origin 'guessed'"),
        (first("kind", "kernal"), "line 2"),
        (first("op", "convolution"), "unknown operator 'convolution'"),
        (first("precision", "w9a9"), "unknown precision"),
        (first("input", "1x-8"), "a shape is written 1x8x16x16"),
        (lambda rows: rows[2].update(precision="to_int9"), "unknown change 'to_int9'; did you mean to_int8"),
        (lambda rows: rows[2].update(kind="chance"), "unknown kind 'chance'; did you mean change"),
        (lambda rows: rows[2].update(groups="1"), "a change of precision has no groups"),
        (lambda rows: rows[1].update(rows[0]), "listed twice"),
    ],
)
def test_what_is_wrong_is_said(change: Callable[[Rows], object], says: str, tmp_path: Path) -> None:
    assert says in broken(tmp_path / "profile.csv", change)


@pytest.mark.parametrize(
    "content", [b"", b"\x00\xff", b"a,b\n1,2\n", b'{"schema": 1}', b"schema_version\n1\n"]
)
def test_what_is_no_profile(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "profile.csv"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=r"profile\.csv"):
        read_profile(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        read_profile(tmp_path / "none.csv")


def test_nothing_measured_is_not_written(tmp_path: Path) -> None:
    empty = replace(GOOD, kernels=FrozenDict(), changes=FrozenDict())
    with pytest.raises(InputError, match="has no rows"):
        write_profile(tmp_path / "profile.csv", empty)
    assert not list(tmp_path.iterdir())


NOTED = replace(
    GOOD,
    conditions=(Conditions(utc="2026-11-21T12:00:00Z", seconds=2.0, cores=(1,), n_cores=2, threads=1),),
    whole=(
        WholeFit(
            network="abc",
            fixed_ms=0.1,
            spread=0.02,
            scales=FrozenDict({"conv w8a8": 1.1}),
            runs=(WholeRun(config=FrozenDict({"a": "w8a8"}), sum_ms=3.0, corrected_ms=2.1, measured_ms=2.0),),
        ),
    ),
)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"seconds": 2.0', '"seconds": -2.0', "line 1: seconds is -2.0: it is not negative"),
        ('"seconds": 2.0', '"seconds": NaN', "line 1: not whole JSON"),
        ('"seconds": 2.0', '"seconds": "2"', "line 1: seconds is '2': it must be a number"),
        ('"seconds": 2.0, ', "", "line 1: seconds is missing"),
        ('"n_cores": 2', '"n_coers": 2', "line 1: unknown key 'n_coers'; did you mean n_cores"),
        ('"cores": [1]', '"cores": [true]', "line 1: cores is True"),
        ('"cores": [1]', '"cores": 1.5', "line 1: cores is 1.5"),
        ('"boost": null', '"boost": 1', "line 1: boost is 1: it must be a bool"),
        ('"utc": "2026-11-21T12:00:00Z"', '"utc": 5', "line 1: utc is 5: it must be a str"),
        ('{"conditions": ', '{"conditoins": ', "unknown note 'conditoins'; did you mean conditions"),
        ('"measured_ms": 2.0', '"measured_ms": 0', "line 2: measured_ms is 0"),
        ('"measured_ms": 2.0', '"measured_ms": 1e999', "line 2: measured_ms is inf"),
        ('{"conv w8a8": 1.1}', '{"conv w8a8": null}', "line 2: scales.conv w8a8 is None"),
        ('{"a": "w8a8"}', '{"a": 8}', "line 2: config: a precision is a text"),
        ('"w8a8"}', "", "line 2: not whole JSON"),
        ("# {", "# [{", "line 1: not whole JSON"),
    ],
)
def test_what_is_wrong_above_the_table_is_said(old: str, new: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "profile.csv"
    write_profile(path, NOTED)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(FileFormatError) as caught:
        read_profile(path)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_lines_are_counted_from_the_top_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "profile.csv"
    write_profile(path, NOTED)
    path.write_text(path.read_text().replace("measured\n", "guessed\n", 1))
    with pytest.raises(FileFormatError, match="line 4: unknown origin 'guessed'"):
        read_profile(path)


def test_a_profile_that_says_nothing_of_its_conditions_is_read(tmp_path: Path) -> None:
    """As every file of version 1 before there were notes."""
    path = tmp_path / "profile.csv"
    write_profile(path, GOOD)
    assert "#" not in path.read_text()
    assert "half_width" not in path.read_text()
    assert read_profile(path) == GOOD


@pytest.mark.parametrize("cell", ["-0.1", "nan", "wide"])
def test_an_interval_that_is_none(cell: str, tmp_path: Path) -> None:
    path = tmp_path / "profile.csv"
    known = replace(row(), half_width=0.01)
    write_profile(path, profile({CONV: known, LINEAR: row(2.0)}))
    assert read_profile(path).kernels[CONV] == known
    path.write_text(path.read_text().replace(",0.01\n", f",{cell}\n"))
    with pytest.raises(FileFormatError, match=f"half_width is '{cell}'"):
        read_profile(path)


def test_wide_rows_are_those_above_two_percent() -> None:
    rows = {CONV: replace(row(), half_width=0.021), LINEAR: replace(row(), half_width=0.02)}
    assert profile(rows).wide == (CONV,)
    assert GOOD.wide == ()


def test_conditions_of_both_and_the_residuals_of_the_second(tmp_path: Path) -> None:
    later = replace(
        NOTED,
        conditions=(replace(NOTED.conditions[0], utc="2026-11-22T12:00:00Z"),),
        whole=(replace(NOTED.whole[0], spread=0.5), replace(NOTED.whole[0], network="other")),
    )
    merged = merge(NOTED, later)
    assert merged.conditions == (*NOTED.conditions, *later.conditions)
    assert merged.whole == later.whole


# ---------------------------------------------------------------- two profiles


def test_the_newer_row_wins() -> None:
    old, new = row(1.0, "2026-01-01"), row(2.0, "2026-02-02")
    for one, other in ((old, new), (new, old)):
        assert merge(profile({CONV: one}), profile({CONV: other})).kernels[CONV] == new


@pytest.mark.parametrize(
    ("rig", "says"),
    [
        (replace(RIG, device="Raspberry Pi 4"), "another machine.*Raspberry Pi 5.*Raspberry Pi 4"),
        (replace(RIG, runtime="onnxruntime 1.32.0"), r"version changed.*1\.31\.0.*1\.32\.0"),
        (replace(RIG, threads=4), "other settings"),
    ],
)
def test_rigs_are_kept_apart(rig: Rig, says: str) -> None:
    with pytest.raises(InputError, match=says):
        check_rig(GOOD, rig)
    with pytest.raises(InputError, match=says):
        merge(GOOD, profile({CONV: row()}, rig))


def test_targets_are_kept_apart() -> None:
    with pytest.raises(InputError, match="do not merge"):
        merge(GOOD, replace(GOOD, target="x86-vnni"))


def test_another_runtime_expires_it() -> None:
    assert not expired(GOOD, RIG.runtime)
    assert expired(GOOD, "onnxruntime 1.32.0")


def test_the_difference() -> None:
    other = KernelKey(LINEAR.signature, "w8a8")
    found = difference(GOOD, profile({CONV: row(1.1), other: row()}))
    assert [(r.key, r.ratio, r.overlap) for r in found.shared] == [(CONV, 1.1, True), (CHANGE, 1.0, True)]
    assert (found.only_first, found.only_second) == ((LINEAR,), (other,))
    assert found.median_ratio == pytest.approx(1.05)
    apart = difference(profile({CONV: row(1.0)}), profile({CONV: row(3.0)})).shared[0]
    assert (apart.ratio, apart.overlap) == (3.0, False)
    nothing = difference(profile({CONV: row(0.0, spread=0.0)}), profile({CONV: row()})).shared[0]
    assert nothing.ratio is None


# ---------------------------------------------------------------- energy

RAPL = Energy(median_mj=3.0, low_mj=2.9, high_mj=3.2, n=7, counter="RAPL package-0")
METERED = profile({CONV: replace(row(), energy=RAPL), LINEAR: row(2.0)})


def test_without_energy_the_file_has_no_column_for_it(tmp_path: Path) -> None:
    write_profile(tmp_path / "timed.csv", GOOD)
    assert "energy" not in (tmp_path / "timed.csv").read_text()


def test_absent_energy_is_empty_and_read_as_absent(tmp_path: Path) -> None:
    write_profile(tmp_path / "metered.csv", METERED)
    cells = list(csv.DictReader((tmp_path / "metered.csv").read_text().splitlines()))
    assert [c["energy_mj"] for c in cells] == ["3.0", "", ""]
    read = read_profile(tmp_path / "metered.csv")
    assert read.kernels[CONV].energy == RAPL
    assert read.kernels[LINEAR].energy is None
    assert read.counters == ("RAPL package-0",)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (",3.0,2.9,3.2,7,", ",nan,2.9,3.2,7,", "energy_mj is 'nan'"),
        (",3.0,2.9,3.2,7,", ",-3.0,2.9,3.2,7,", "not negative"),
        (",3.0,2.9,3.2,7,", ",3.0,inf,3.2,7,", "energy_quartile1_mj"),
        (",3.0,2.9,3.2,7,", ",much,2.9,3.2,7,", "must be a number"),
        (",3.0,2.9,3.2,7,", ",3.0,2.9,3.2,some,", "energy_n"),
        (",3.0,2.9,3.2,7,", ",3.0,,3.2,7,", "energy_quartile1_mj is empty"),
        (",measured,3.0", ",simulated,3.0", "metered or absent"),
        ("energy_n,", "energy_m,", "energy_m"),
        ("energy_quartile1_mj", "energy_quartile3_mj", "of the columns of energy"),
    ],
)
def test_energy_that_makes_no_sense(tmp_path: Path, old: str, new: str, says: str) -> None:
    path = tmp_path / "metered.csv"
    write_profile(path, METERED)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(FileFormatError, match=says):
        read_profile(path)


def test_a_newer_time_leaves_the_energy_and_a_newer_energy_replaces_it() -> None:
    later = row(5.0, date="2026-11-22")
    assert merge(METERED, profile({CONV: later})).kernels[CONV] == replace(later, energy=RAPL)
    other = replace(RAPL, median_mj=9.0)
    assert merge(METERED, profile({CONV: replace(later, energy=other)})).kernels[CONV].energy == other
    assert merge(profile({CONV: later}), METERED).kernels[CONV] == replace(later, energy=RAPL)
    guessed = replace(later, origin="predicted")
    assert merge(METERED, profile({CONV: guessed})).kernels[CONV].energy is None


def test_a_difference_has_a_ratio_of_energies_where_both_have_them() -> None:
    twice = profile({CONV: replace(row(), energy=replace(RAPL, median_mj=6.0))})
    rows = {r.key: r for r in difference(METERED, twice).shared}
    assert rows[CONV].energy_ratio == 2.0
    assert rows[CHANGE].energy_ratio is None
