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


def test_refusals() -> None:
    with pytest.raises(CaffeError, match="no dilation"):
        imports.load(one("MaxPool", (1, 1, 8, 8), kernel_shape=[2, 2], dilations=[2, 2]))
