"""Nets brought into the form that people write, and that readers take."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers.onnx_models import check, model, numbers, types

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def shape(*dims: int) -> np.ndarray:
    """Return what a Reshape is given."""
    return np.array(dims, np.int64)


def test_of_shapes_that_follow_each_other_the_last_one_is_written() -> None:
    from onnx import helper

    nodes = [
        helper.make_node("Reshape", ["x", "flat"], ["one"]),
        helper.make_node("Reshape", ["one", "apart"], ["y"]),
    ]
    arrays = {"flat": shape(2, 24), "apart": shape(2, 4, 6)}
    made = check(model(nodes, {"x": (2, 3, 4, 2)}, ["y"], arrays))
    assert types(made) == ["Reshape"]
    assert list(made.text.layer[1].reshape_param.shape.dim) == [0, 4, 6]


def test_a_shape_that_somebody_else_reads_stays() -> None:
    from onnx import helper

    nodes = [
        helper.make_node("Reshape", ["x", "flat"], ["one"]),
        helper.make_node("Reshape", ["one", "apart"], ["y"]),
        helper.make_node("Relu", ["one"], ["z"]),
    ]
    arrays = {"flat": shape(2, 24), "apart": shape(4, 12)}
    made = check(model(nodes, {"x": (2, 3, 4, 2)}, ["y", "z"], arrays))
    assert sorted(types(made)) == ["Flatten", "ReLU", "Reshape"]


def test_what_has_three_axes_is_joined_as_pictures_where_the_reader_asks_for_them() -> None:
    from onnx import helper

    nodes = [
        helper.make_node("Reshape", ["x", "rows"], ["one"]),
        helper.make_node("Concat", ["one", "one"], ["y"], axis=2),
    ]
    proto = model(nodes, {"x": (1, 3, 4, 2)}, ["y"], {"rows": shape(1, 3, 8)})
    assert types(check(proto, "opencv")) == ["Reshape", "Concat"]
    made = check(proto, "rknn")
    assert types(made) == ["Reshape", "Reshape", "Concat", "Reshape"]


def node(*arguments: object, **attributes: object) -> object:
    return onnx.helper.make_node(*arguments, **attributes)


def test_factors_and_summands_in_a_row_are_one_layer() -> None:
    numbers_ = {name: np.asarray(i + 2, np.float32) for i, name in enumerate("abc")}
    chain = [
        node("Mul", ["x", "a"], ["1"]),
        node("Add", ["1", "b"], ["2"]),
        node("Pow", ["2", "c"], ["y"]),
    ]
    made = check(model(chain, {"x": [2, 3]}, ["y"], numbers_))
    assert types(made) == ["Power"]
    chain = [node("Mul", ["x", "a"], ["1"]), node("Add", ["1", "b"], ["y"])]
    made = check(model(chain, {"x": [2, 3]}, ["y"], {"a": numbers(3), "b": numbers(3)}))
    assert types(made) == ["Scale"]


def test_a_product_and_its_summand_are_one_layer() -> None:
    chain = [node("MatMul", ["x", "a"], ["1"]), node("Add", ["1", "b"], ["y"])]
    made = check(model(chain, {"x": [2, 3]}, ["y"], {"a": numbers(3, 4), "b": numbers(4)}))
    assert types(made) == ["InnerProduct"]
    assert made.text.layer[1].inner_product_param.bias_term


def test_what_two_read_stays() -> None:
    chain = [
        node("Conv", ["x", "w"], ["1"]),
        node("Relu", ["1"], ["2"]),
        node("Add", ["1", "2"], ["y"]),
        node("Relu", ["x"], ["z"]),
    ]
    made = check(model(chain, {"x": [1, 2, 3, 3]}, ["y", "z"], {"w": numbers(2, 2, 1, 1)}))
    relus = [layer for layer in made.text.layer if layer.type == "ReLU"]
    assert all(layer.bottom[0] != layer.top[0] for layer in relus)


def test_outputs_that_are_inputs_or_the_same() -> None:
    chain = [
        node("Relu", ["x"], ["1"]),
        node("Identity", ["1"], ["y"]),
        node("Dropout", ["1"], ["z"]),
        node("Identity", ["x"], ["w"]),
        node("Abs", ["1"], ["v"]),
    ]
    made = check(model(chain, {"x": [2, 3]}, ["y", "z", "w", "v"]))
    assert made.outputs == ["y", "z", "w", "v"]


def test_flattening_before_a_product_is_left_out() -> None:
    chain = [node("Flatten", ["x"], ["1"]), node("Gemm", ["1", "w"], ["y"])]
    made = check(model(chain, {"x": [2, 3, 2, 2]}, ["y"], {"w": numbers(12, 5)}))
    assert types(made) == ["InnerProduct"]


def test_a_reader_whose_flatten_keeps_four_axes_has_a_shape() -> None:
    proto = model([node("Flatten", ["x"], ["y"])], {"x": (2, 3, 2, 2)}, ["y"])
    assert types(check(proto)) == ["Flatten"]
    made = check(proto, "mnn")
    assert types(made) == ["Reshape"]
    assert list(made.text.layer[1].reshape_param.shape.dim) == [0, -1]


def test_scales_in_a_row_are_one() -> None:
    arrays = {"f": numbers(3, 1, 1), "s": numbers(3, 1, 1, seed=1), "g": numbers(3, 1, 1, seed=2)}
    nodes = [
        node("Mul", ["x", "f"], ["a"]),
        node("Add", ["a", "s"], ["b"]),
        node("Mul", ["b", "g"], ["y"]),
    ]
    for target in ("opencv", "bvlc"):
        made = check(model(nodes, {"x": (1, 3, 2, 2)}, ["y"], arrays), target)
        assert types(made) == ["Scale"]
        assert made.text.layer[1].scale_param.bias_term
