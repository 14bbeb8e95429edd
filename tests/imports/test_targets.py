"""Who reads imported nets."""

from __future__ import annotations

import numpy as np
import pytest

from caffe import CaffeError
from caffe.imports import TARGETS, load
from caffe.layers.registry import registry
from tests.helpers.onnx_models import one


def test_every_layer_of_every_target_is_one() -> None:
    for target in TARGETS.values():
        assert target.layers <= set(registry()), target.name


def test_a_layer_that_a_target_has_not_is_refused_with_those_that_have() -> None:
    with pytest.raises(CaffeError, match=r"the original Caffe has no layer Permute; .*opencv"):
        TARGETS["bvlc"].check("Permute", {})


def test_each_rounds_windows_down_in_its_own_words() -> None:
    pytest.importorskip("onnx")
    # Of 3 by 3 in steps of 2 the original has one more over 8 places than ONNX.
    model = one("MaxPool", (1, 2, 8, 8), kernel_shape=[3, 3], strides=[2, 2])
    said = {}
    for target in TARGETS:
        layers = load(model, target=target).text.layer
        pooling = next(layer.pooling_param for layer in layers if layer.type == "Pooling")
        fields = ("round_mode", "ceil_mode")
        said[target] = [name for name in fields if pooling.HasField(name)]
    assert said["bvlc"] == said["ascend"] == ["round_mode"]
    assert said["opencv"] == said["rknn"] == said["sophon"] == ["ceil_mode"]
    # They know neither: what is over is cut off.
    assert said["mnn"] == said["nnie"] == []


def test_exponents_that_a_target_does_not_take_are_refused() -> None:
    pytest.importorskip("onnx")
    model = one("Pow", (1, 2, 3, 3), arrays=[np.asarray(1.5, np.float32)])
    load(model, target="ascend")
    with pytest.raises(CaffeError, match=r"Power has the exponents .*, not 1\.5"):
        load(model, target="nnie")
