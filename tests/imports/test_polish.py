"""Nets brought into the form that people write, and that readers take."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers.onnx_models import check, model, types

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
