"""What runs next: plans wherever they are possible, single layers between them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

import caffe
from caffe.layers.layer import Layer, register

HEAD = """
layer { name: "data" type: "Input" top: "data"
        input_param { shape { dim: 4 dim: 3 dim: 40 dim: 40 } } }
layer { name: "which" type: "Input" top: "which" input_param { shape { dim: 4 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
        convolution_param { num_output: 8 kernel_size: 3 weight_filler { type: "msra" } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
"""
TAIL = """
layer { name: "conv2" type: "Convolution" bottom: "some" top: "conv2"
        convolution_param { num_output: 8 kernel_size: 3 weight_filler { type: "msra" } } }
layer { name: "relu2" type: "ReLU" bottom: "conv2" top: "conv2" }
layer { name: "fc" type: "InnerProduct" bottom: "conv2" top: "fc"
        inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
"""
FILTER = 'layer { name: "some" type: "Filter" bottom: "conv1" bottom: "which" top: "some" }'
PICTURES = np.random.default_rng(0).normal(size=(3, 4, 3, 40, 40)).astype(np.float32)


@pytest.fixture(autouse=True, params=["torch", "openvino"])
def _engine(request: pytest.FixtureRequest, own_layers: None) -> Iterator[None]:
    if request.param == "openvino":
        pytest.importorskip("openvino")
    caffe.set_engine(request.param)
    yield
    caffe.set_engine("auto")


def layer_by_layer(net: caffe.Net) -> dict[str, np.ndarray]:
    """Every blob of a net, computed layer by layer from what its inputs hold."""
    engine = caffe.mode.engine()
    caffe.set_engine("layerwise")
    net.forward()
    caffe.set_engine(engine)
    return {name: blob.data.copy() for name, blob in net.blobs.items()}


def assert_every_blob(net: caffe.Net, **inputs: np.ndarray) -> None:
    net.forward(**inputs)
    found = {name: blob.data.copy() for name, blob in net.blobs.items()}
    for name, values in layer_by_layer(net).items():
        assert found[name].shape == values.shape
        np.testing.assert_allclose(found[name], values, atol=1e-5 * max(1, abs(values).max()))


def test_both_halves_around_a_layer_that_depends_on_values_are_planned() -> None:
    net = caffe.Net(HEAD + FILTER + TAIL, caffe.TEST)
    for i in (0, 1, 2):
        assert_every_blob(net, data=PICTURES[i], which=np.array([1, 0, 1, 1]))
        net.forward()
    assert len(net._runner.plans) == 2
    how = dict(zip(net._layer_names, net.explain(), strict=True))
    assert how["some"].startswith("by itself")
    for joined, name in (("relu1", "conv1"), ("relu2", "conv2")):
        assert how[joined].startswith(f"joined with '{name}'")


def test_a_half_whose_shapes_change_each_time_is_not_planned_but_right() -> None:
    net = caffe.Net(HEAD + FILTER + TAIL, caffe.TEST)
    for i, which in enumerate(([1, 0, 1, 1], [1, 0, 0, 0], [0, 1, 1, 0])):
        net.forward(data=PICTURES[i], which=np.array(which))
        assert len(net._runner.plans) == 1
        assert "shapes change" in net.explain()[-1]
        found = net.blobs["fc"].data.copy()
        np.testing.assert_allclose(found, layer_by_layer(net)["fc"], atol=1e-4)


def test_a_layer_that_remembers_runs_once_for_each_forward() -> None:
    @register("Counting")
    class Counting(Layer):
        """x plus how often it was computed."""

        count = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.count += 1
            return x + self.count

    text = HEAD + 'layer { name: "some" type: "Counting" bottom: "conv1" top: "some" }' + TAIL
    net = caffe.Net(text, caffe.TEST)
    for i in range(1, 7):
        net.forward(data=PICTURES[0], which=np.zeros(4))
        np.testing.assert_allclose(
            net.blobs["some"].data, net.blobs["conv1"].data + i, rtol=1e-5, atol=1e-5
        )
        net.blobs["fc"].data.sum()


def test_reshaping_one_net_leaves_the_plans_of_others_alone() -> None:
    first, second = (caffe.Net(HEAD + FILTER, caffe.TEST) for _ in range(2))
    for net in (first, second):
        net.forward(data=PICTURES[0], which=np.ones(4))
    (plan,) = second._runner.plans
    first.blobs["data"].reshape(2, 3, 40, 40)
    first.blobs["which"].reshape(2)
    first.forward(data=PICTURES[0, :2], which=np.ones(2))
    assert not plan._layout.has_changed
    second.forward(data=PICTURES[1], which=np.ones(4))
    assert second._runner.plans == [plan]
    second.blobs["data"].reshape(3, 3, 40, 40)
    second.blobs["which"].reshape(3)
    second.forward(data=PICTURES[1, :3], which=np.ones(3))
    assert second._runner.plans != [plan]


def test_no_parameter_is_written_by_running() -> None:
    net = caffe.Net(HEAD + FILTER + TAIL, caffe.TEST)
    before = {
        (name, i): (blob.memory.version, blob.data_tensor().data_ptr(), blob.data_tensor().clone())
        for name, blobs in net.params.items()
        for i, blob in enumerate(blobs)
    }
    for _ in range(8):
        net.forward(data=PICTURES[0], which=np.ones(4))
    for (name, i), (version, place, values) in before.items():
        blob = net.params[name][i]
        assert not blob.memory.is_deferred
        assert (blob.memory.version, blob.data_tensor().data_ptr()) == (version, place)
        assert torch.equal(blob.data_tensor(), values)


JUDGED = (
    HEAD
    + TAIL.replace('"some"', '"conv1"')
    + """layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 4 } } }
    layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
    layer { name: "accuracy" type: "Accuracy" bottom: "fc" bottom: "label" top: "accuracy" }"""
)


def _gradients(net: caffe.Net) -> list[np.ndarray]:
    net.clear_param_diffs()
    net.backward()
    return [blob.diff.copy() for blobs in net.params.values() for blob in blobs]


def test_a_net_that_tells_its_loss_is_planned_until_somebody_asks_for_gradients() -> None:
    net = caffe.Net(JUDGED, caffe.TEST)
    assert_every_blob(net, data=PICTURES[0], which=np.zeros(4), label=np.arange(4))
    net.forward(data=PICTURES[1], which=np.zeros(4), label=np.arange(4))
    assert not any("by itself" in told for told in net.explain())
    first = _gradients(net)
    assert any(np.abs(gradient).sum() for gradient in first)
    net.forward()
    assert any("needs gradients" in told for told in net.explain())
    for engine in (caffe.mode.engine(), "layerwise"):
        caffe.set_engine(engine)
        net.forward()
        for found, wanted in zip(_gradients(net), first, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


def test_what_a_gradient_needs_and_a_plan_does_not_keep_is_not_planned() -> None:
    square = """layer { name: "square" type: "Power" bottom: "conv1" top: "conv1"
                        power_param { power: 2 } }"""
    second = 'layer { name: "conv2"'
    net = caffe.Net(JUDGED.replace(second, f"{square} {second}"), caffe.TEST)
    inputs = {"data": PICTURES[0], "which": np.zeros(4), "label": np.arange(4)}
    net.forward(**inputs)
    first = _gradients(net)
    caffe.set_engine("layerwise")
    net.forward(**inputs)
    for found, wanted in zip(_gradients(net), first, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)
