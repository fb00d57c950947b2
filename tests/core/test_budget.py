"""Budgets: written, read, and turned into limits."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hawqsearch.core.budget import Budget, BudgetTerm
from hawqsearch.core.cost import Cost
from hawqsearch.errors import BudgetError

UNITS = {
    "latency_ms": ["us", "ms", "s", "%"],
    "size_bytes": ["B", "KiB", "MiB", "KB", "MB", "% size"],
    "energy_mj": ["uJ", "mJ", "J"],
    "bops": ["% bops"],
    "weight_bits": ["bpw"],
}
FP32 = Cost(latency_ms=10.0, size_bytes=1000.0, bops=64.0)


@st.composite
def budgets(draw: st.DrawFn) -> str:
    quantities = draw(st.lists(st.sampled_from(sorted(UNITS)), min_size=1, unique=True))
    numbers = st.floats(1e-6, 1e9).map(repr) | st.integers(1, 10**6).map(str)
    terms = [
        draw(numbers) + draw(st.sampled_from(["", " "])) + draw(st.sampled_from(UNITS[q])) for q in quantities
    ]
    return draw(st.sampled_from([",", ", "])).join(terms)


@given(budgets())
def test_str_is_as_typed_and_parse_is_its_inverse(text: str) -> None:
    budget = Budget.parse(text)
    assert str(budget) == text
    assert Budget.parse(str(budget)) == budget
    assert pickle.loads(pickle.dumps(budget)) == budget
    assert hash(Budget.parse(text)) == hash(budget)


@given(budgets(), st.floats(0.5, 2))
def test_limits_grow_with_fp32_only_where_relative(text: str, factor: float) -> None:
    budget = Budget.parse(text)
    known = {term.quantity for term in budget.terms}
    fp32 = Cost(**dict.fromkeys(known, 100.0))
    larger = Cost(**dict.fromkeys(known, 100.0 * factor))
    before, after = budget.limits(fp32, 7), budget.limits(larger, 7)
    for term in budget.terms:
        expected = before[term.quantity] * (factor if term.relative else 1.0)
        assert after[term.quantity] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "quantity", "limit"),
    [
        ("5ms", "latency_ms", 5.0),
        ("2500us", "latency_ms", 2.5),
        ("0.5 s", "latency_ms", 500.0),
        ("2MiB", "size_bytes", 2097152.0),
        ("2MB", "size_bytes", 2e6),
        ("3KiB", "size_bytes", 3072.0),
        ("3mJ", "energy_mj", 3.0),
        ("3J", "energy_mj", 3000.0),
        ("60%", "latency_ms", 6.0),
        ("25% size", "size_bytes", 250.0),
        ("50 %bops", "bops", 32.0),
        ("3.5bpw", "weight_bits", 35.0),
        ("1e-3s", "latency_ms", 1.0),
    ],
)
def test_units(text: str, quantity: str, limit: float) -> None:
    assert Budget.parse(text).limits(FP32, 10) == pytest.approx({quantity: limit})


def test_terms_say_whether_they_are_relative() -> None:
    assert Budget.parse("60%, 3bpw").terms == (
        BudgetTerm(quantity="latency_ms", value=0.6, relative=True),
        BudgetTerm(quantity="weight_bits", value=3.0, relative=False),
    )


BAD = [
    "5",
    "",
    ",",
    "5ms,",
    "-3ms",
    "0ms",
    "nanms",
    "infms",
    "1e999ms",
    "1e-400ms",
    "5 parsecs",
    "5MS",
    "5ms 2MiB",
]


@pytest.mark.parametrize(
    "text", [*BAD, "5% energy", "ms", "5ms, 3us", "5ms, 60%", "2MiB, 25% size", "٣ms", "5\nms5"]
)
def test_what_cannot_be_read_is_one_line_with_a_way_out(text: str) -> None:
    with pytest.raises(BudgetError) as caught:
        Budget.parse(text)
    assert "\n" not in str(caught.value)
    assert "write for example" in str(caught.value) or "once" in str(caught.value)


def test_share_of_what_nothing_meters_is_an_error() -> None:
    with pytest.raises(BudgetError, match="size_bytes"):
        Budget.parse("25% size").limits(Cost(latency_ms=1.0), 10)
