"""Baselines: what each promises, and that none beats the optimum."""

import pytest

from hawqsearch.core.cost import Cost
from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.problem import Choice, SearchProblem
from hawqsearch.errors import InfeasibleError, InputError
from hawqsearch.strategies.baselines import baselines
from hawqsearch.strategies.exhaustive import ExhaustiveSearch
from hawqsearch.strategies.first_last import FirstLastSearch
from hawqsearch.strategies.nearest import nearest
from hawqsearch.strategies.random_search import RandomSearch
from hawqsearch.strategies.size_ranked import SizeRankedSearch
from hawqsearch.strategies.uniform import UniformSearch
from hawqsearch.testing.problems import generated_problem, impossible_problem

BITS = {"w4a8": 4, "w8a8": 8, "fp32": 32}


def network(limit: float) -> SearchProblem:
    """Four convolutions of 100, 200, 300, 400 weights and an addition without weights."""
    layers = {
        f"conv{i}": FrozenDict({p: Choice(1.0 / b, Cost(size_bytes=100.0 * i * b)) for p, b in BITS.items()})
        for i in range(1, 5)
    }
    layers["add"] = FrozenDict({p: Choice(0.0, Cost(size_bytes=0.0)) for p in ("w8a8", "fp32")})
    return SearchProblem(choices=FrozenDict(layers), limits=FrozenDict({"size_bytes": limit}))


@pytest.mark.parametrize("seed", range(30))
def test_none_beats_the_optimum(seed: int) -> None:
    problem = generated_problem(seed=seed)
    optimum = ExhaustiveSearch().search(problem).score
    for name, result in baselines(problem, seed=seed).items():
        assert result is None or result.score >= optimum - 1e-9 * abs(optimum), name
        assert result is None or result.strategy == name


def test_nothing_within_the_limits_is_none() -> None:
    assert set(baselines(impossible_problem(seed=1), seed=0).values()) == {None}


def test_uniform_takes_the_nearest_where_a_layer_lacks_it() -> None:
    config = UniformSearch().search(network(4000.0)).config
    assert config == {"conv1": "w4a8", "conv2": "w4a8", "conv3": "w4a8", "conv4": "w4a8", "add": "w8a8"}


@pytest.mark.parametrize(
    ("wanted", "options", "expected"),
    [
        ("w4a8", ["w8a8", "fp32"], "w8a8"),
        ("w4a16", ["w4a8", "w8a16"], "w8a16"),
        ("w3a8", ["w2a8", "w4a8", "fp32"], "w4a8"),
        ("w8a8", ["w8a8", "w4a8"], "w8a8"),
        ("odd", ["w8a8", "w4a8"], "w8a8"),
        ("w8a8", ["some", "thing"], "some"),
        ("w8a8", ["some", "fp32"], "fp32"),
    ],
)
def test_nearest(wanted: str, options: list[str], expected: str) -> None:
    assert nearest(wanted, {name: Choice(float(i), Cost()) for i, name in enumerate(options)}) == expected


def test_first_and_last_weighted_layers_get_eight_bits() -> None:
    config = FirstLastSearch().search(network(6500.0)).config
    assert config == {"conv1": "w8a8", "conv2": "w4a8", "conv3": "w4a8", "conv4": "w8a8", "add": "w8a8"}
    with pytest.raises(InfeasibleError):
        FirstLastSearch().search(network(4000.0))


def test_the_largest_layers_get_the_fewest_bits() -> None:
    config = SizeRankedSearch().search(network(100 * 8 + 200 * 8 + 300 * 4 + 400 * 4.0)).config
    assert [config[f"conv{i}"] for i in range(1, 5)] == ["w8a8", "w8a8", "w4a8", "w4a8"]


def test_random_search_repeats_itself_and_heeds_its_seed() -> None:
    problem = network(12000.0)
    first, again = (RandomSearch(seed=1, samples=1).search(problem) for _ in range(2))
    assert first.config == again.config
    others = {tuple(RandomSearch(seed=s, samples=1).search(problem).config.items()) for s in range(10)}
    assert len(others) > 1


def test_exhaustive_search_refuses_what_takes_forever() -> None:
    with pytest.raises(InputError, match=r"too many to try; use the strategy ilp"):
        ExhaustiveSearch(most=100).search(network(4000.0))
