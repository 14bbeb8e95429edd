"""What layers and blobs are called."""

from __future__ import annotations

import pytest

from caffe.imports import load
from caffe.imports.naming import safe, short
from tests.helpers.onnx_models import model, numbers

onnx = pytest.importorskip("onnx")


def test_words() -> None:
    assert safe("/layer1/layer1.0/conv1/Conv") == "layer1_layer1_0_conv1_Conv"
    assert safe("::") == "blob"
    assert short("/layer1/layer1.0/conv1/Conv", "Conv") == "layer1_0_conv1"
    assert short("/Conv", "Conv") == "Conv"
    assert short("node_relu_3", "Relu") == "relu_3"


def test_every_name_is_there_once_and_the_same_in_both_files() -> None:
    node = onnx.helper.make_node
    proto = model(
        [
            node("Conv", ["in", "a.0.weight"], ["t1"], name="x"),
            node("Relu", ["t1"], ["t2"], name="x"),
            node("Conv", ["t2", "a.0.weight"], ["t3"], name="a/0"),
            node("Split", ["t3"], ["t4", "t5"], axis=1, num_outputs=2),
            node("Add", ["t4", "t5"], ["out.put"], name="out"),
        ],
        {"in": [1, 2, 4, 4]},
        ["out.put", "t2"],
        {"a.0.weight": numbers(2, 2, 1, 1)},
    )
    made = load(proto)
    names = [layer.name for layer in made.text.layer]
    assert names == ["in", "a_0", "x", "a_0_1", "split", "out_put", "t2"]
    assert list(made.text.layer[4].top) == ["split_0", "split_1"]
    assert list(made.text.layer[5].top) == ["out_put"]
    assert list(made.weights) == ["a_0", "a_0_1"]
    assert made.outputs == ["out_put", "t2"]


def test_a_graph_without_a_name_is_called_after_its_file(tmp_path) -> None:
    proto = model([onnx.helper.make_node("Relu", ["x"], ["y"])], {"x": [1]}, ["y"])
    proto.graph.name = "main_graph"
    onnx.save(proto, tmp_path / "my_net.onnx")
    assert load(tmp_path / "my_net.onnx").text.name == "my_net"
