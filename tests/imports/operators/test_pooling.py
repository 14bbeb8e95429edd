"""Pooling whose windows and divisors are the node's, for targets that round down or cannot."""

from __future__ import annotations

import pytest

from caffe import CaffeError, imports
from tests.helpers.onnx_models import check, one, types

pytest.importorskip("onnxruntime")

WINDOWS = [
    {"kernel_shape": [2, 2], "strides": [2, 2]},
    {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
    {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1},
    {"kernel_shape": [3, 2], "strides": [1, 2], "pads": [0, 1, 1, 0]},
    {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
    {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 0, 1, 1]},
    {"kernel_shape": [5, 5], "strides": [1, 1], "pads": [2, 2, 2, 2]},
]


@pytest.mark.parametrize("attributes", WINDOWS)
@pytest.mark.parametrize("target", ["bvlc", "mnn"])
def test_largest(attributes: dict[str, object], target: str) -> None:
    for size in (8, 9):
        check(one("MaxPool", (1, 2, size, 10), **attributes), target, "runtime")


@pytest.mark.parametrize("attributes", WINDOWS)
@pytest.mark.parametrize("counted", [0, 1])
def test_mean(attributes: dict[str, object], counted: int) -> None:
    for size in (8, 9):
        proto = one("AveragePool", (1, 2, size, 10), count_include_pad=counted, **attributes)
        check(proto, "bvlc", "runtime")


def test_a_reader_that_divides_otherwise_at_the_end_gets_no_such_windows() -> None:
    windows = {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}
    proto = one("AveragePool", (1, 2, 6, 6), **windows)
    assert types(check(proto, "bvlc", "runtime")) == ["Pooling"]
    made = types(check(proto, "rknn", "runtime"))
    # It pools a larger picture, and its means are multiplied.
    assert made.index("Convolution") < made.index("Pooling") < made.index("Eltwise")
    assert types(check(one("MaxPool", (1, 2, 6, 6), **windows), "rknn", "runtime")) == ["Pooling"]


@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool"])
def test_a_reader_that_takes_windows_as_large_as_the_map_for_the_map(kind: str) -> None:
    counted = {"count_include_pad": 1} if kind == "AveragePool" else {}
    proto = one(kind, (1, 2, 3, 3), kernel_shape=[3, 3], pads=[1, 1, 1, 1], **counted)
    made = check(proto, "sophon", "runtime")
    (pooling,) = (layer for layer in made.text.layer if layer.type == "Pooling")
    assert pooling.pooling_param.pad == 0
    assert types(check(proto, "opencv", "runtime")) == ["Pooling"]


def test_each_target_rounds_down_by_its_own_field() -> None:
    proto = one("MaxPool", (1, 2, 112, 112), kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    layer = check(proto).text.layer[1]
    assert layer.pooling_param.round_mode == 1
    layer = check(proto, "opencv").text.layer[1]
    assert layer.pooling_param.HasField("ceil_mode")
    assert not layer.pooling_param.ceil_mode
    assert not layer.pooling_param.HasField("round_mode")
    assert types(check(one("MaxPool", (1, 2, 8, 8), kernel_shape=[2, 2], strides=[2, 2]))) == [
        "Pooling"
    ]


def test_of_everything() -> None:
    for kind in ("GlobalAveragePool", "GlobalMaxPool"):
        made = check(one(kind, (2, 3, 4, 5)))
        assert made.text.layer[1].pooling_param.global_pooling
        check(one(kind, (2, 3, 7)), evaluator="runtime")


@pytest.mark.parametrize("target", ["bvlc", "mnn"])
def test_over_three_axes(target: str) -> None:
    windows = {"kernel_shape": [2, 3, 2], "strides": [2, 2, 1], "pads": [1, 1, 0, 0, 1, 1]}
    for kind, more in (("MaxPool", {}), ("AveragePool", {}), ("AveragePool", {"ceil_mode": 1})):
        check(one(kind, (1, 2, 5, 6, 7), **windows, **more), target, "runtime")
    made = check(one("MaxPool", (1, 2, 4, 6, 6), kernel_shape=[1, 2, 2], strides=[1, 2, 2]))
    assert types(made) == ["Reshape", "Pooling", "Reshape"]


def test_refusals() -> None:
    with pytest.raises(CaffeError, match="no dilation"):
        imports.load(one("MaxPool", (1, 1, 8, 8), kernel_shape=[2, 2], dilations=[2, 2]))
