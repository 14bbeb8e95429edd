"""Models in, the net and its two files out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import caffe
from caffe import CaffeError, imports
from tests.helpers.onnx_models import check, model, numbers, one, types

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def small() -> object:
    """A net of the older kind: convolution, pooling, and a product at its end."""
    node = onnx.helper.make_node
    return model(
        [
            node("Conv", ["data", "conv1.weight", "conv1.bias"], ["a"], name="/conv1/Conv"),
            node("Relu", ["a"], ["b"], name="/relu/Relu"),
            node(
                "MaxPool", ["b"], ["c"], kernel_shape=[2, 2], strides=[2, 2], name="/pool/MaxPool"
            ),
            node("Shape", ["c"], ["s"]),
            node("Gather", ["s", "zero"], ["n"], axis=0),
            node("Unsqueeze", ["n", "axes"], ["n1"]),
            node("Concat", ["n1", "rest"], ["whole"], axis=0),
            node("Reshape", ["c", "whole"], ["d"]),
            node("Gemm", ["d", "fc.weight", "fc.bias"], ["e"], transB=1, name="/fc/Gemm"),
            node("Softmax", ["e"], ["prob"], axis=1, name="/prob/Softmax"),
        ],
        {"data": ["batch", 3, 8, 8]},
        ["prob"],
        {
            "conv1.weight": numbers(4, 3, 3, 3),
            "conv1.bias": numbers(4),
            "fc.weight": numbers(5, 36),
            "fc.bias": numbers(5),
            "zero": np.asarray(0),
            "axes": np.asarray([0]),
            "rest": np.asarray([-1]),
        },
    )


def test_a_net_is_written_as_people_write_it() -> None:
    made = check(small())
    assert types(made) == ["Convolution", "ReLU", "Pooling", "InnerProduct", "Softmax"]
    assert [layer.name for layer in made.text.layer] == [
        *("data", "conv1", "relu", "pool", "fc", "prob"),
    ]
    relu = made.text.layer[2]
    assert list(relu.bottom) == list(relu.top) == ["conv1"]
    assert [list(layer.top) for layer in made.text.layer if layer.type != "ReLU"] == [
        [layer.name] for layer in made.text.layer if layer.type != "ReLU"
    ]


def test_both_files_go_together(tmp_path: Path) -> None:
    text, weights = tmp_path / "deploy.prototxt", tmp_path / "net.caffemodel"
    made = imports.load(small())
    made.save(text, weights)
    net = caffe.Net(str(text), caffe.TEST, weights=str(weights))
    data = numbers(1, 3, 8, 8)
    wanted = made.to_net().forward(data=data)["prob"]
    np.testing.assert_array_equal(net.forward(data=data)["prob"], wanted)
    whole = made.to_proto()
    assert whole.layer[1].blobs[0].shape.dim == [4, 3, 3, 3]
    imports.load(small()).save(text, tmp_path / "net.h5")
    net = caffe.Net(str(text), caffe.TEST, weights=str(tmp_path / "net.h5"))
    np.testing.assert_array_equal(net.forward(data=data)["prob"], wanted)


def test_weights_that_are_too_large_for_a_caffemodel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports.imported, "MOST_IN_ONE", 100)
    made = imports.load(small())
    with pytest.raises(CaffeError, match=r"more than the 2 GB .* ends in \.h5"):
        made.save(tmp_path / "deploy.prototxt", tmp_path / "net.caffemodel")
    assert list(tmp_path.iterdir()) == []
    made.save(tmp_path / "deploy.prototxt", tmp_path / "net.h5")


def test_nothing_is_written_by_halves(tmp_path: Path) -> None:
    with pytest.raises(CaffeError, match="cannot be written"):
        imports.load(small()).save(tmp_path / "deploy.prototxt", tmp_path / "no" / "net.caffemodel")
    with pytest.raises(CaffeError, match="must end in"):
        imports.load(small()).save(tmp_path / "deploy.prototxt", tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


def test_targets_and_sources_that_are_unknown() -> None:
    with pytest.raises(CaffeError, match="did you mean 'opencv'"):
        imports.load(small(), target="openvc")
    with pytest.raises(CaffeError, match="not int"):
        imports.load(3)
    with pytest.raises(CaffeError, match="holds weights alone"):
        imports.load("net.pth")
    with pytest.raises(CaffeError, match="No such file"):
        imports.load("nowhere.onnx")


def test_shapes_that_are_open() -> None:
    proto = one("Relu", ("batch", 3, "height", 8))
    with pytest.raises(CaffeError, match=r"axis 2 \('height'\) of input 'x0'.*--shape x0="):
        imports.load(proto)
    made = imports.load(proto, shapes={"x0": [2, 3, 5, 8]})
    assert list(made.text.layer[0].input_param.shape[0].dim) == [2, 3, 5, 8]
    with pytest.raises(CaffeError, match="there is no input 'x'; there are x0"):
        imports.load(proto, shapes={"x": [1]})


def test_operators_without_a_form_are_named_with_a_remedy() -> None:
    with pytest.raises(CaffeError, match=r"node 'node' \(Sin\): operator Sin has no form"):
        imports.load(one("Sin", (1, 2)))
    with pytest.raises(CaffeError, match="attention"):
        imports.load(one("MatMul", (2, 3), (3, 2)))


def test_a_part_of_the_model() -> None:
    made = check(small(), outputs=None)
    made = imports.load(small(), outputs=["b"])
    assert types(made) == ["Convolution", "ReLU"]
    assert made.outputs == ["b"]
    with pytest.raises(CaffeError, match="it has no value 'z'"):
        imports.load(small(), outputs=["z"])


def test_numbers_beside_the_model(tmp_path: Path) -> None:
    proto = one("Conv", (1, 3, 8, 8), arrays=[numbers(4, 3, 3, 3)])
    onnx.save(proto, tmp_path / "net.onnx", save_as_external_data=True, location="net.data",
              size_threshold=0)  # fmt: skip
    made = imports.load(tmp_path / "net.onnx")
    np.testing.assert_array_equal(made.weights["y0"][0], numbers(4, 3, 3, 3))
    (tmp_path / "net.data").unlink()
    with pytest.raises(CaffeError, match=r"numbers of 'a0' should stand in .*net.data"):
        imports.load(tmp_path / "net.onnx")


def test_damaged_models(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"no model at all")
    with pytest.raises(CaffeError, match="no ONNX model"):
        imports.load(tmp_path / "net.onnx")
    node = onnx.helper.make_node
    twice = model([node("Relu", ["x"], ["y"]), node("Relu", ["x"], ["y"])], {"x": [1]}, ["y"])
    with pytest.raises(CaffeError, match="a second time"):
        imports.load(twice)
    lost = model([node("Relu", ["z"], ["y"])], {"x": [1]}, ["y"])
    with pytest.raises(CaffeError, match="nothing makes 'z'"):
        imports.load(lost)
    nameless = model([node("Relu", ["x"], ["y"])], {"x": [1]}, [""])
    with pytest.raises(CaffeError, match="an output has no name"):
        imports.load(nameless)
