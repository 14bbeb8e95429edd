"""Nets as ONNX models: what ONNX Runtime computes is what the layers compute."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

import caffe
from caffe.export.onnx_model import rules
from caffe.layers.registry import registry
from fuzz import layers
from fuzz.engines import running
from tests.helpers.exported import CASES, Run, run_onnx
from tests.helpers.nets import NET

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

EACH = 4
NEWEST = 21
"""The newest operators that the tests' runtime is sure to know."""

OURS = [kind for kind in layers.MAKERS if kind != "Silence"]


def check(text: str, seed: int, kind: str, opset: int, may_refuse: bool = True) -> bool:
    """Compare one net; False where it is refused when it is made, or its numbers are too large."""
    try:
        run = Run(text, seed, kind)
    except caffe.CaffeError:
        if not may_refuse:
            raise
        return False
    if run.overflows():
        return False
    try:
        model = caffe.export.to_onnx(run.net, opset=opset)
    except caffe.NetError as error:
        if may_refuse and "1 to 3 axes" in str(error):
            return False
        raise
    onnx.checker.check_model(model, full_check=True)
    differ = run.differences(run_onnx(model, run.given))
    assert not differ, f"{', '.join(differ)} in\n{text}"
    return True


@pytest.mark.parametrize("kind", OURS)
def test_a_layer_over_its_parameters(kind: str) -> None:
    ran = 0
    for seed in range(EACH):
        text = layers.draw(Random(f"onnx {kind} {seed}"), kind).net()
        ran += check(text, seed, kind, NEWEST if seed % 2 else 17)
    assert ran


@pytest.mark.parametrize("kind", CASES)
def test_a_layer_of_the_forks(kind: str) -> None:
    for seed, one in enumerate(CASES[kind]):
        assert check(one.net(), seed, kind, NEWEST if seed % 2 else 17, may_refuse=False), one


def test_every_layer_has_a_form_or_a_reason() -> None:
    known = rules().kinds()
    for name, kind in registry().items():
        if not kind.__module__.startswith("caffe."):
            continue
        brings_data = kind.bottoms == 0 and (kind.on_blobs or kind.is_given)
        assert brings_data or kind.computes_as in known, name


@pytest.mark.parametrize("opset", [17, NEWEST])
def test_a_net_keeps_its_blobs_names(opset: int) -> None:
    run = Run(NET, 0)
    model = caffe.export.to_onnx(run.net, opset=opset)
    assert not run.differences(run_onnx(model, run.given))
    assert [value.name for value in model.graph.input] == ["data"]
    assert [value.name for value in model.graph.output] == ["sum"]
    made = {name for node in model.graph.node for name in node.output}
    assert {"relu", "left", "sigmoid", "right", "conv"} <= made
    assert {t.name for t in model.graph.initializer} >= {"conv.0", "conv.1", "right.0"}


SAME_FOR_EACH = ("Convolution", "Pooling", "InnerProduct", "Interp", "MVN", "Reorg", "PriorBox")
"""Types whose layers mostly do the same with each picture."""


@pytest.mark.parametrize("kind", SAME_FOR_EACH)
def test_the_batch_is_left_open(kind: str) -> None:
    ran = 0
    for seed in range(6):
        shape = (2, 4, 6, 6)
        text = layers.draw(Random(f"batch {kind} {seed}"), kind, shape).net()
        try:
            run = Run(text, seed)
            model = caffe.export.to_onnx(run.net, dynamic_batch=True)
        except caffe.CaffeError:
            continue
        for name in run.net.inputs:
            blob = run.net.blobs[name]
            if blob.shape[:1] == shape[:1]:
                blob.reshape(5, *blob.shape[1:])
        try:
            run.net.reshape()
        except caffe.CaffeError:
            continue
        given = {n: np.random.default_rng(1).normal(size=run.net.blobs[n].shape).astype("f4")
                 for n in run.net.inputs}  # fmt: skip
        with running("layerwise"):
            run.wanted = run.net.forward(**given)
        run.truth = {}
        assert not run.differences(run_onnx(model, given)), text
        ran += 1
    assert ran > 2


def test_a_batch_that_cannot_be_left_open_is_refused_by_the_layer_that_says_why() -> None:
    text = layers.given("a", (2, 3)) + (
        "layer { name: 'cut' type: 'Slice' bottom: 'a' top: 'b' top: 'c' slice_param { axis: 0 } }"
    )
    net = caffe.Net(text, caffe.TEST)
    with pytest.raises(caffe.NetError, match=r"batch cannot be left open.*'cut'"):
        caffe.export.to_onnx(net, dynamic_batch=True)
    caffe.export.to_onnx(net)


def test_the_layers_behind_the_outputs_wanted_are_left_out() -> None:
    text = NET + "layer { name: 'loss' type: 'EuclideanLoss' bottom: 'sum' bottom: 'sum' top: 'l' }"
    net = caffe.Net(text, caffe.TEST)
    with pytest.raises(caffe.NetError, match=r"'loss' \(EuclideanLoss\).*training"):
        caffe.export.to_onnx(net)
    model = caffe.export.to_onnx(net, ["relu"])
    assert [value.name for value in model.graph.output] == ["relu"]
    assert not {"MaxPool", "AveragePool"} & {node.op_type for node in model.graph.node}


def test_a_blob_or_an_operator_set_that_is_not_there() -> None:
    net = caffe.Net(NET, caffe.TEST)
    with pytest.raises(caffe.ArgumentError, match="no blob 'rleu'; did you mean 'relu'"):
        caffe.export.to_onnx(net, ["rleu"])
    with pytest.raises(caffe.ArgumentError, match="opset must be 17 to"):
        caffe.export.to_onnx(net, opset=9)


def test_an_input_that_is_written_over_keeps_its_name() -> None:
    text = layers.given("a", (2, 3)) + "layer { name: 'r' type: 'ReLU' bottom: 'a' top: 'a' }"
    run = Run(text, 0)
    model = caffe.export.to_onnx(run.net)
    given = {"a": np.array([[-1, 2, -3]] * 2, np.float32)}
    assert model.graph.output[0].name == "a_out"
    np.testing.assert_array_equal(run_onnx(model, given)[0], np.maximum(given["a"], 0))


def test_layers_of_training_are_refused_with_what_to_do() -> None:
    net = caffe.Net(NET.replace("include { phase: TRAIN }", ""), caffe.TRAIN)
    with pytest.raises(caffe.NetError, match=r"'bn' \(BatchNorm\).*caffe\.TEST"):
        caffe.export.to_onnx(net)
