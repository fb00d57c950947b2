"""A traced model answers what the model answers, and leaves it alone."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

from hawqsearch.errors import UnsupportedModelError
from hawqsearch.graph.trace import TracedModel, trace
from tests.graph import networks


def _names(traced: TracedModel) -> list[tuple[str, str]]:
    return [(n.op, n.name) for n in traced.module.graph.nodes if n.op != "get_attr"]


@pytest.mark.parametrize("name", networks.NETWORKS)
@pytest.mark.parametrize("rows", [1, 3, 7])
def test_answers_as_the_model_does_at_any_batch(name: str, rows: int) -> None:
    x = networks.inputs(name, rows)
    with torch.no_grad():
        expected = networks.build(name).eval()(x)
    answer = networks.traced(name).module(x)
    torch.testing.assert_close(answer, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


def test_leaves_the_model_and_the_random_state_alone() -> None:
    model = networks.build("residual")
    model.layer[0].conv1.eval()
    model.conv1.weight.requires_grad_(False)
    x = networks.inputs("residual", 2)
    model(x).sum().backward()
    before = copy.deepcopy(model)
    gradients = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    state = torch.get_rng_state()
    trace(model, x)
    assert torch.equal(torch.get_rng_state(), state)
    assert [m.training for m in model.modules()] == [m.training for m in before.modules()]
    assert [p.requires_grad for p in model.parameters()] == [p.requires_grad for p in before.parameters()]
    for name, value in before.state_dict().items():
        assert torch.equal(model.state_dict()[name], value)
    assert gradients[0] is None
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert (parameter.grad is None) == (gradient is None)
        assert gradient is None or torch.equal(parameter.grad, gradient)


def test_a_model_that_changes_its_input_does_not_change_the_example() -> None:
    x = torch.randn(2, 4)
    before = x.clone()
    traced = trace(nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 3)), x)
    traced.module(x)
    assert torch.equal(x, before)
    assert [n.op for n in traced.spec.nodes] == ["other", "linear"]


def test_shares_no_memory_with_the_model() -> None:
    model = networks.build("mlp")
    traced = trace(model, networks.inputs("mlp", 1))
    theirs = {t.data_ptr() for t in model.state_dict().values()}
    assert theirs.isdisjoint({t.data_ptr() for t in traced.module.state_dict().values()})
    assert not any(p.requires_grad for p in traced.module.parameters())


def test_parameters_are_named_after_their_layers() -> None:
    module = networks.traced("residual").module
    layers = ("conv1", "layer.0.conv1", "layer.0.conv2", "layer.1.conv1", "layer.1.conv2", "fc")
    assert set(module.state_dict()) == {f"{n}.{kind}" for n in layers for kind in ("weight", "bias")}


def test_only_operators_that_compute_are_left() -> None:
    targets = [str(n.target) for n in networks.traced("residual").module.graph.nodes]
    gone = ("batch_norm", "clone", "dropout", "sym_size", "adaptive", "_guards_fn", "getitem")
    assert not [t for t in targets if any(g in t for g in gone)]


@pytest.mark.parametrize("name", ["residual", "tied"])
def test_names_survive_copies_and_pickles(name: str) -> None:
    traced = networks.traced(name)
    x = networks.inputs(name, 3)
    for again in (pickle.loads(pickle.dumps(traced)), copy.deepcopy(traced)):
        assert _names(again) == _names(traced)
        assert (again.spec, again.views) == (traced.spec, traced.views)
        assert torch.equal(again.module(x), traced.module(x))
    assert [n.name for n in copy.deepcopy(traced.module).graph.nodes] == [
        n.name for n in traced.module.graph.nodes
    ]


def test_reparametrized_weights_are_computed() -> None:
    model = nn.Sequential(torch.nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)), nn.ReLU())
    (layer,) = trace(model, torch.randn(1, 4)).spec.nodes
    assert (layer.name, layer.weight, layer.activation) == ("0", "0.weight", "relu")


def test_fingerprint_is_the_same_in_another_process() -> None:
    program = (
        "from tests.graph import networks;"
        "from hawqsearch.graph.trace import trace;"
        "print(trace(networks.build('tied'), networks.inputs('tied', 1)).spec.fingerprint)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == networks.traced("tied").spec.fingerprint


def test_fingerprint_tells_weights_shapes_and_graphs_apart() -> None:
    model, x = networks.build("mlp"), networks.inputs("mlp", 1)
    prints = {trace(model, x).spec.fingerprint}
    with torch.no_grad():
        model.second.bias[0] += 1e-3
    prints.add(trace(model, x).spec.fingerprint)
    prints |= {networks.traced(n).spec.fingerprint for n in networks.NETWORKS}
    assert networks.traced("mlp").spec.fingerprint in prints
    assert len(prints) == len(networks.NETWORKS) + 1


# ---------------------------------------------------------------- what cannot be traced


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            return x
        return -x


class Foreign(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.hawqsearch_test.foreign(x)


class FixedBatch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(2, -1)


class BatchMean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - x.sum(0, keepdim=True)


class Infinite(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / 0


class Noisy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x)


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x * 2


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x + 1


class TwoInputs(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


class Constant(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.ones(x.shape[0], 3)


@pytest.fixture(scope="module")
def foreign_operator() -> torch.library.Library:
    library = torch.library.Library("hawqsearch_test", "DEF")
    library.define("foreign(Tensor x) -> Tensor")
    library.impl("foreign", lambda x: x + 1, "CPU")
    return library


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Branching(), ["values of its input", "`if x.sum() > 0:`", "test_trace.py"]),
        (Foreign(), ["operator", "foreign"]),
        (FixedBatch(), ["rest of the batch"]),
        (BatchMean(), ["rest of the batch"]),
        (Infinite(), ["NaN or infinity"]),
        (Noisy(), ["random"]),
        (Counting(), ["'calls'"]),
        (Pair(), ["returns 2 values"]),
        (TwoInputs(), ["does not run", "'y'"]),
        (Constant(), ["does not depend on its input"]),
        (nn.Linear(3, 3), ["does not run", "(2, 4)"]),
    ],
    ids=lambda p: type(p).__name__ if isinstance(p, nn.Module) else "",
)
def test_what_cannot_be_traced_says_why_in_one_line(
    model: nn.Module, words: list[str], foreign_operator: object, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UnsupportedModelError) as raised:
        trace(model, torch.randn(2, 4))
    assert "\n" not in str(raised.value)
    assert all(word in str(raised.value) for word in words), str(raised.value)
    assert capfd.readouterr() == ("", "")
