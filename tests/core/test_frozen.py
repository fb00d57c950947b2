"""Values of core are frozen: they pickle, hash and compare by content, and cannot be changed."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hawqsearch.core.allocation import allocation_problem
from hawqsearch.core.budget import Budget
from hawqsearch.core.cost import Cost
from hawqsearch.core.data import Split, Splits
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.hardware import Change, ChangeKey, KernelKey, Measurement, Rig, Signature
from hawqsearch.core.outcome import Candidate, Latency
from hawqsearch.core.placement import place
from hawqsearch.core.precision import Precision
from hawqsearch.core.sensitivity import Score
from hawqsearch.core.space import SearchSpace
from hawqsearch.core.timing import Timing
from hawqsearch.errors import InputError
from hawqsearch.hardware.targets import find_target
from tests.core.specs import every_config, generated_spec, generated_tables

TABLES = generated_tables(3)
PROBLEM = allocation_problem(TABLES, {"latency_ms": 100.0})
VALUES: list[Any] = [
    Precision.parse("w4a8"),
    Cost(latency_ms=1.0),
    Budget.parse("5ms, 2MiB"),
    FrozenDict({"a": 1, "b": 2}),
    generated_spec(random.Random(0)),
    find_target("x86-vnni"),
    SearchSpace(precisions=(Precision.parse("w8a8"),), pins=FrozenDict({"a": Precision.parse("fp32")})),
    TABLES,
    TABLES.latency,
    TABLES.sensitivity,
    PROBLEM,
    place(TABLES.spec, TABLES.target, next(every_config(TABLES))),
    Rig(device="d", runtime="r", threads=1, batch=1),
    KernelKey(Signature.of(TABLES.spec.nodes[0], 2), "w8a8"),
    ChangeKey((1, 2), Change.TO_INT8),
    Measurement(median_ms=1.0, low_ms=0.9, high_ms=1.1, n=3, date="2026-01-01"),
    Timing(rounds_ms=(1.0, 2.0), ratios=(1.0, 1.0)),
    Latency(latency_ms=1.0),
    Candidate(
        name="a",
        config=FrozenDict({"l": "fp32"}),
        score=0.0,
        predicted_ms=None,
        measured=None,
        size_bytes=1.0,
        meets=None,
        loss=Score(0.1, 0.2),
    ),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda v: type(v).__name__)
def test_it_pickles_hashes_and_cannot_be_changed(value: Any) -> None:
    again = pickle.loads(pickle.dumps(value))
    assert again == value == copy.deepcopy(value)
    assert hash(again) == hash(value)
    field = dataclasses.fields(value)[0].name if dataclasses.is_dataclass(value) else "_items"
    with pytest.raises(AttributeError):
        setattr(value, field, None)


@given(st.dictionaries(st.text(max_size=3), st.integers()), st.randoms())
def test_a_frozen_dict_is_the_dict_whatever_the_order(items: dict[str, int], source: random.Random) -> None:
    shuffled = list(items.items())
    source.shuffle(shuffled)
    frozen, other = FrozenDict(items), FrozenDict(shuffled)
    assert frozen == other == items
    assert hash(frozen) == hash(other)
    assert list(frozen.items()) == list(items.items())
    assert frozen != FrozenDict({**items, "more": 0})
    items["more"] = 1
    assert "more" not in frozen
    with pytest.raises(TypeError):
        frozen["more"] = 1  # type: ignore[index]


def split(n: int) -> Split:
    return Split(inputs=np.zeros((n, 2), np.float32), labels=np.zeros(n, np.int64), groups=np.arange(n))


def test_a_split_knows_its_content() -> None:
    assert split(3).sha256 == split(3).sha256 != split(4).sha256
    changed = split(3)
    changed.inputs[0, 0] = 1e-30
    assert changed.sha256 != split(3).sha256
    assert len(split(5)[slice(1, 3)]) == 2


def test_splits_of_uneven_parts_and_empty_ones_are_refused() -> None:
    with pytest.raises(InputError, match="differ in length: 3, 2, 3"):
        Split(inputs=np.zeros((3, 2), np.float32), labels=np.zeros(2, np.int64), groups=np.arange(3))
    with pytest.raises(InputError, match="search split is empty"):
        Splits(calibration=split(1), search=split(0), test=split(1))
