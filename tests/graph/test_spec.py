"""What is read from a graph: layers, joins, tensors, known answers."""

from __future__ import annotations

import pytest
import torch

from hawqsearch.core.model import INPUT, OUTPUT
from hawqsearch.graph.trace import trace
from hawqsearch.zoo import resnet20
from tests.graph import networks


def test_resnet20() -> None:
    spec = trace(resnet20.model(), torch.randn(1, 3, 32, 32)).spec
    assert [n.op for n in spec.layers] == ["conv"] * 19 + ["linear"]
    assert [n.op for n in spec.joins] == ["add"] * 9 + ["avg_pool"]
    assert len(spec.nodes) == 30
    assert sum(n.macs for n in spec.layers) == 40_551_040
    assert spec.n_weights == 268_336
    assert spec.node("layer1.0.conv1").activation == "relu"
    assert spec.node("layer1.0.conv2").activation is None
    assert all(j.activation == "relu" for j in spec.joins if j.op == "add")


def test_a_convolution() -> None:
    node = networks.traced("residual").spec.node("layer.1.conv1")
    assert (node.input_shape, node.weight_shape, node.output_shape) == (
        (1, 4, 8, 8),
        (8, 4, 3, 3),
        (1, 8, 4, 4),
    )
    assert (node.stride, node.padding, node.dilation, node.groups) == ((2, 2), (1, 1), (1, 1), 1)
    assert node.macs == 8 * 4 * 4 * 4 * 9
    assert (node.has_bias, node.weight) == (True, "layer.1.conv1.weight")


def test_a_depthwise_convolution_with_same_padding() -> None:
    node = networks.traced("depthwise").spec.node("depth")
    assert (node.groups, node.padding, node.dilation) == (6, (2, 2), (2, 2))
    assert node.macs == 6 * 8 * 8 * 9


def test_linear_layers_on_two_and_three_dimensions() -> None:
    spec = networks.traced("mlp").spec
    assert spec.node("first").macs == 12 * 8
    assert spec.node("tokens").macs == 2 * 4 * 6
    assert spec.node("tokens").input_shape == (1, 2, 4)
    assert not spec.node("tokens").has_bias


def test_views_are_seen_through() -> None:
    traced = networks.traced("residual")
    shortcut = traced.spec.node("add").tensor
    assert traced.spec.tensor(shortcut).targets == ("layer.1.conv1", "add_1")
    assert {traced.views[v] for v in ("slice_1", "slice_2", "pad")} == {shortcut}
    assert traced.spec.node("fc").inputs == ("avg_pool2d",)
    assert traced.spec.node("fc").input_shape == (1, 8)
    assert traced.spec.tensor("avg_pool2d").shape == (1, 8, 1, 1)


def test_an_average_over_the_pixels_is_a_pool() -> None:
    (pool,) = networks.traced("depthwise").spec.joins
    assert (pool.op, pool.input_shape, pool.output_shape) == ("avg_pool", (1, 4, 8, 8), (1, 4, 1, 1))


def test_relu6_in_every_spelling_is_fused() -> None:
    spec = networks.traced("depthwise").spec
    assert [spec.node(n).activation for n in ("widen", "depth", "narrow")] == ["relu6"] * 3
    tensor = spec.tensor(spec.node("depth").tensor)
    assert (tensor.floor_at_zero, tensor.ceiling) == (True, 6.0)


def test_a_relu_beside_another_reader_is_a_node_of_its_own() -> None:
    spec = networks.traced("branches").spec
    assert spec.node("stem").activation is None
    assert spec.node("relu").op == "other"
    assert spec.tensor("relu").floor_at_zero
    assert spec.tensor("conv2d").targets == ("relu", "add")


def test_concatenation_and_pooling_keep_the_floor() -> None:
    spec = networks.traced("branches").spec
    assert [spec.tensor(n).floor_at_zero for n in ("cat", "max_pool2d")] == [True, True]
    assert spec.node("cat").inputs == (spec.node("left").tensor, spec.node("right").tensor)
    assert (spec.node("max_pool2d").stride, spec.node("max_pool2d").op) == ((2, 2), "max_pool")


def test_parts_of_a_split_are_nodes() -> None:
    spec = networks.traced("branches").spec
    assert spec.tensor("conv2d_3").targets == ("getitem", "getitem_1")
    assert spec.node("mul").inputs == ("getitem", "sigmoid")


def test_shared_weights_are_tied() -> None:
    spec = networks.traced("tied").spec
    assert spec.ties == (("conv", "conv#2"), ("up", "down"))
    assert [n.name for n in spec.layers] == ["conv", "conv#2", "scale", "up", "down"]
    assert spec.node("conv#2").weight == "conv.weight"
    assert spec.node("scale").weight == "scale.weight"


def test_two_norms_make_two_layers() -> None:
    spec = networks.traced("two_norms").spec
    assert [(n.name, n.op, n.weight) for n in spec.nodes] == [
        ("batch_norm", "other", None),
        ("conv", "conv", "conv.weight"),
        ("conv#2", "conv", "conv#2.weight"),
    ]
    assert spec.ties == ()


def test_a_layer_named_like_an_end_of_the_network_gets_another_name() -> None:
    assert networks.traced("mlp").spec.layers[-1].name == "output#1"


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_tensors_and_nodes_agree(name: str) -> None:
    spec = networks.traced(name).spec
    by_name = {t.name: t for t in spec.tensors}
    assert {n.tensor for n in spec.nodes} | {t.name for t in spec.tensors if t.source == INPUT} == set(
        by_name
    )
    assert len({n.name for n in spec.nodes} | {INPUT, OUTPUT}) == len(spec.nodes) + 2
    for node in spec.nodes:
        assert by_name[node.tensor].source == node.name
        assert all(node.name in by_name[i].targets for i in node.inputs)
        assert len(set(node.inputs)) == len(node.inputs)
    for tensor in spec.tensors:
        assert all(tensor.name in spec.node(t).inputs for t in tensor.targets if t != OUTPUT)
    assert sum(OUTPUT in t.targets for t in spec.tensors) == 1
