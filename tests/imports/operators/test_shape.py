"""Other shapes, parts and joined parts."""

from __future__ import annotations

import numpy as np
import pytest

from caffe import CaffeError, imports
from tests.helpers.onnx_models import check, model, numbers, one, types

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def whole(*values: int) -> np.ndarray:
    return np.asarray(values, np.int64)


def test_shapes() -> None:
    check(one("Reshape", (2, 3, 4, 5), arrays=[whole(0, -1, 10)]))
    check(one("Reshape", (2, 3, 4, 5), arrays=[whole(6, 20)]))
    for axis in (0, 1, 2, -1):
        check(one("Flatten", (2, 3, 4, 5), axis=axis))
    check(one("Squeeze", (2, 1, 4, 1), arrays=[whole(1, -1)]))
    check(one("Squeeze", (2, 1, 4, 1)))
    check(one("Squeeze", (2, 1, 4), opset=11, axes=[1]))
    check(one("Unsqueeze", (2, 4), arrays=[whole(0, -1)]))
    check(one("Unsqueeze", (2, 4), opset=11, axes=[1]))


def test_parts() -> None:
    check(one("Split", (2, 6, 3), arrays=[whole(1, 2, 3)], outputs=3, axis=1))
    check(one("Split", (2, 6, 3), outputs=2, axis=1, num_outputs=2))
    check(one("Split", (2, 6, 3), outputs=2, axis=1, split=[2, 4], opset=11))
    check(one("Slice", (2, 6, 5), arrays=[whole(1, 0), whole(4, 3), whole(1, 2)]))
    check(one("Slice", (2, 6, 5), arrays=[whole(-2), whole(1000), whole(1)]))
    check(one("Slice", (2, 6, 5), starts=[1], ends=[-1], axes=[2], opset=9))
    check(one("Slice", (1, 2, 6, 5), arrays=[whole(1), whole(6), whole(2), whole(2)]))
    check(one("Slice", (1, 2, 6, 5), arrays=[whole(-1), whole(-100), whole(3), whole(-1)]))
    check(one("Gather", (2, 6, 5), arrays=[whole(3)], axis=1))
    check(one("Gather", (2, 6, 5), arrays=[np.asarray(-1)], axis=1))
    check(one("Gather", (2, 6, 5), arrays=[whole(3, 0, 3)], axis=1))
    check(one("Gather", (2, 6, 5), arrays=[whole(3, 0, 3, 1).reshape(2, 2)], axis=1))


def test_what_is_left_of_a_part_is_no_output() -> None:
    proto = one("Slice", (1, 2, 6, 5), arrays=[whole(1), whole(4), whole(2)])
    assert types(check(proto)) == ["Slice", "Silence"]
    assert types(check(proto, "mnn")) == ["Convolution"]
    # OpenCV's forward() gives what the last layer makes.
    made = imports.load(proto, target="opencv")
    assert types(made) == ["Slice", "Reshape"]
    assert list(made.text.layer[-1].top) == made.outputs


def test_two_halves_are_one_layer() -> None:
    node = onnx.helper.make_node
    proto = model(
        [
            node("Slice", ["x", "zero", "two", "axis"], ["a"]),
            node("Slice", ["x", "two", "end", "axis"], ["b"]),
            node("Add", ["a", "b"], ["y"]),
        ],
        {"x": [1, 4, 3, 3]},
        ["y"],
        {"zero": whole(0), "two": whole(2), "axis": whole(1), "end": whole(2**62)},
    )
    assert types(check(proto)) == ["Slice", "Eltwise"]


def test_joined() -> None:
    check(one("Concat", (2, 3, 4), (2, 1, 4), axis=1))
    check(one("Concat", (2, 3), (2, 1), axis=-1))
    check(one("Concat", (1, 3), arrays=[numbers(1, 2)], axis=1))
    check(one("Concat", (1, 3, 4, 5), arrays=[numbers(1, 2, 4, 5)], axis=1), "mnn")
    check(one("Concat", (2, 3, 4), arrays=[np.repeat(numbers(1, 3, 2), 2, 0)], axis=2))
    with pytest.raises(CaffeError, match="the same for each item"):
        imports.load(one("Concat", (2, 3), arrays=[numbers(2, 1)], axis=1))


def test_repeated() -> None:
    check(one("Expand", (1, 3, 1, 1), arrays=[whole(1, 3, 4, 5)]))
    check(one("Expand", (3, 1), arrays=[whole(2, 3, 4)]))
    check(one("Tile", (1, 2, 3), arrays=[whole(1, 3, 2)]))


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
def test_padded(mode: str) -> None:
    pads = whole(0, 0, 1, 2, 0, 1 if mode == "constant" else 0, 0, 1)
    proto = one("Pad", (1, 2, 4, 5), arrays=[pads], mode=mode)
    check(proto, evaluator="runtime")
    value = [whole(0, 0, 1, 2, 0, 0, 0, 1), np.asarray(0.5, np.float32)]
    check(one("Pad", (1, 2, 4, 5), arrays=value), evaluator="runtime")
    with pytest.raises(CaffeError, match="padding by -inf"):
        imports.load(
            one("Pad", (2, 2), arrays=[whole(0, 0, 1, 2), np.asarray(-np.inf, np.float32)])
        )
    check(one("Pad", (1, 2, 4, 5), arrays=[whole(0, 0, 0, -1, 0, 0, -2, 0)]), evaluator="runtime")


def test_pixels_from_channels_and_back() -> None:
    for mode in ("DCR", "CRD"):
        check(one("DepthToSpace", (1, 8, 3, 4), blocksize=2, mode=mode))
        check(one("DepthToSpace", (1, 8, 3, 4), blocksize=2, mode=mode), "opencv")
    check(one("SpaceToDepth", (1, 3, 4, 6), blocksize=2))


def test_lengths_that_no_net_has_are_refused_before_memory_is_taken() -> None:
    huge = whole(1, 10**9, 1)
    for proto in (
        one("Tile", (1, 2, 3), arrays=[huge]),
        one("Expand", (1, 1, 3), arrays=[huge]),
        one("Pad", (1, 2), arrays=[whole(0, 0, 0, 10**9)]),
        one("ConvTranspose", (1, 2, 3, 3), arrays=[numbers(2, 2, 3, 3)], output_padding=[0, 10**9]),
        one("Resize", (1, 2, 3, 3), arrays=[None, None, whole(1, 2, 10**9, 3)]),
    ):
        with pytest.raises(CaffeError, match="more than any net has"):
            imports.load(proto)


def test_whole_numbers_look_up_rows() -> None:
    helper = onnx.helper
    graph = helper.make_graph(
        [
            helper.make_node("Unsqueeze", ["words", "last"], ["wide"]),
            helper.make_node("Squeeze", ["wide", "last"], ["same"]),
            helper.make_node("Gather", ["table", "same"], ["y"], name="look"),
        ],
        "net",
        [helper.make_tensor_value_info("words", onnx.TensorProto.INT64, [2, 3])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [
            onnx.numpy_helper.from_array(numbers(7, 4), "table"),
            onnx.numpy_helper.from_array(whole(-1), "last"),
        ],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    made = imports.load(proto)
    words = np.array([[0, 6, 1], [5, 5, 2]])
    found = made.to_net().forward(words=words)[made.outputs[0]]
    np.testing.assert_array_equal(found, numbers(7, 4)[words])
    with pytest.raises(CaffeError, match=r"node 'look'.*OpenCV 4 has no layer Embed; .*bvlc"):
        imports.load(proto, target="opencv")
    proto.graph.node[0].CopyFrom(helper.make_node("Add", ["words", "last"], ["wide"], name="add"))
    with pytest.raises(CaffeError, match=r"node 'add' \(Add\): it computes with the whole numbers"):
        imports.load(proto)
