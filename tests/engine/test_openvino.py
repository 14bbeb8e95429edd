"""OpenVINO means what the layers mean, and is used where that pays."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import caffe
from caffe.engine.backends import choice
from tests.helpers.plans import choices_of
from tests.helpers.precision import needs_bfloat16

pytest.importorskip("openvino", reason="the extra openvino is not installed")

CONVOLUTION = "num_output: 12 weight_filler { type: 'msra' } bias_filler { type: 'gaussian' }"
LAYERS = {
    "Convolution": f"convolution_param {{ {CONVOLUTION} kernel_h: 3 kernel_w: 2 pad: 1 }}",
    "grouped": f"convolution_param {{ {CONVOLUTION} kernel_size: 3 group: 3 stride: 2 }}",
    "dilated": f"convolution_param {{ {CONVOLUTION} kernel_size: 3 dilation: 2 bias_term: false }}",
    "padded": f"convolution_param {{ {CONVOLUTION} kernel_size: 3 stride: 2 pad_r: 1 pad_b: 1 }}",
    "DepthwiseConvolution": "convolution_param { kernel_size: 3 weight_filler { type: 'msra' } }",
    "Deconvolution": f"convolution_param {{ {CONVOLUTION} kernel_size: 4 stride: 2 pad: 1 }}",
    "grouped up": f"convolution_param {{ {CONVOLUTION} kernel_size: 3 stride: 2 group: 6 }}",
    "InnerProduct": f"inner_product_param {{ {CONVOLUTION} }}",
    "along": f"inner_product_param {{ {CONVOLUTION} axis: -1 }}",
    "transposed": f"inner_product_param {{ {CONVOLUTION} transpose: true }}",
    "max": "pooling_param { kernel_size: 3 stride: 2 }",
    "max padded": "pooling_param { kernel_size: 3 stride: 2 pad: 1 }",
    "mean": "pooling_param { pool: AVE kernel_size: 3 stride: 2 }",
    "mean padded": "pooling_param { pool: AVE kernel_size: 4 stride: 3 pad: 2 }",
    "mean of all": "pooling_param { pool: AVE global_pooling: true }",
    "LRN": "lrn_param { local_size: 3 alpha: 0.3 beta: 0.6 k: 2 }",
    "Normalize": "norm_param { across_spatial: false scale_filler { type: 'gaussian' } }",
    "whole": "norm_param { channel_shared: true scale_filler { type: 'constant' value: 20 } }",
    "ReLU": "",
    "leaky": "relu_param { negative_slope: 0.1 }",
    "ReLU6": "",
    "PReLU": "",
    "one slope": "prelu_param { channel_shared: true }",
    "Clip": "clip_param { min: -0.5 max: 0.7 }",
    "ELU": "elu_param { alpha: 0.4 }",
    "Sigmoid": "",
    "TanH": "",
    "AbsVal": "",
    "Power": "power_param { power: 2 scale: 0.5 shift: 3 }",
    "Softmax": "softmax_param { axis: -3 }",
    "Permute": "permute_param { order: 0 order: 2 }",
    "ShuffleChannel": "shuffle_channel_param { group: 3 }",
    "BatchNorm": "",
    "Scale": "scale_param { bias_term: true filler { type: 'gaussian' } }",
    "Bias": "bias_param { filler { type: 'gaussian' } }",
    "Flatten": "",
    "Reshape": "reshape_param { shape { dim: 0 dim: -1 dim: 5 } }",
}
TYPES = {
    **dict.fromkeys(("grouped", "dilated", "padded"), "Convolution"),
    "grouped up": "Deconvolution",
    **dict.fromkeys(("along", "transposed"), "InnerProduct"),
    **dict.fromkeys(("max", "max padded", "mean", "mean padded", "mean of all"), "Pooling"),
    "whole": "Normalize",
    "leaky": "ReLU",
    "one slope": "PReLU",
}
SEVERAL = {
    "sum": "type: 'Eltwise' bottom: 'a' bottom: 'b' eltwise_param { coeff: 1 coeff: -2 }",
    "product": "type: 'Eltwise' bottom: 'a' bottom: 'b' eltwise_param { operation: PROD }",
    "largest": "type: 'Eltwise' bottom: 'a' bottom: 'b' eltwise_param { operation: MAX }",
    "concat": "type: 'Concat' bottom: 'a' bottom: 'b' concat_param { axis: 2 }",
    "slice": "type: 'Slice' bottom: 'a' top: 's' slice_param { slice_point: 2 }",
    "axpy": "type: 'Axpy' bottom: 'f' bottom: 'a' bottom: 'b'",
    "priors": "type: 'PriorBox' bottom: 'a' bottom: 'b' prior_box_param { min_size: 3 }",
}


@pytest.fixture(autouse=True)
def engine() -> Iterator[None]:
    caffe.set_random_seed(3)
    caffe.set_engine("openvino")
    yield
    caffe.set_engine("auto")


def inputs(*shapes: tuple[int, ...]) -> str:
    return "".join(
        f"layer {{ name: '{name}' type: 'Input' top: '{name}' input_param {{ shape {{ "
        + " ".join(f"dim: {n}" for n in shape)
        + " } } }\n"
        for name, shape in zip("abf", shapes, strict=False)
    )


def assert_the_layers_blobs(net: caffe.Net) -> None:
    """Compare what OpenVINO gives with each layer's own forward, over the same net."""
    rng = np.random.default_rng(0)
    for name in net.inputs:
        net.blobs[name].data[...] = rng.normal(size=net.blobs[name].shape)
    net.forward()
    assert all(choice.compiled is not None for choice in choices_of(net))
    found = {name: blob.data.copy() for name, blob in net.blobs.items()}
    caffe.set_engine("layerwise")
    net.forward()
    for name, blob in net.blobs.items():
        assert found[name].shape == blob.data.shape
        np.testing.assert_allclose(found[name], blob.data, atol=1e-5 * np.abs(blob.data).max())


@pytest.mark.parametrize("name", LAYERS)
def test_one_layer(name: str) -> None:
    kind = TYPES.get(name, name)
    text = inputs((2, 6, 11, 10)) + (
        f"layer {{ name: 'layer' type: '{kind}' bottom: 'a' top: 'layer' {LAYERS[name]} }}"
    )
    net = caffe.Net(text, caffe.TEST)
    if kind == "BatchNorm":
        for blob, value in zip(net.params["layer"], (0.5, 2, 2), strict=True):
            blob.data[...] = value
    if kind not in ("Flatten", "Reshape"):
        assert_the_layers_blobs(net)
    if not LAYERS[name] and kind not in ("Flatten", "AbsVal"):
        text = text.replace("top: 'layer'", "top: 'a'")
    assert_the_layers_blobs_behind_another(text, net)


def assert_the_layers_blobs_behind_another(text: str, net: caffe.Net) -> None:
    """The same net behind another layer, so that its bottom is no input, and may be its top."""
    caffe.set_engine("openvino")
    text = text.replace("name: 'a' type: 'Input' top: 'a'", "name: 'x' type: 'Input' top: 'x'")
    head = "layer { name: 'power' type: 'Power' bottom: 'x' top: 'a' power_param { scale: 2 } }\n"
    behind = caffe.Net(text.replace("layer { name: 'layer'", head + "layer { name: 'layer'"), 1)
    behind.share_with(net)
    assert_the_layers_blobs(behind)


@pytest.mark.parametrize("name", SEVERAL)
def test_layers_of_several_bottoms_or_tops(name: str) -> None:
    shape = (2, 6, 4, 5)
    text = inputs(shape, shape, *([(2, 6)] if name == "axpy" else []))
    net = caffe.Net(f"{text} layer {{ name: '{name}' top: '{name}' {SEVERAL[name]} }}", caffe.TEST)
    assert_the_layers_blobs(net)


NET = (
    inputs((2, 3, 16, 16))
    + """
layer { name: "conv" type: "Convolution" bottom: "a" top: "conv"
        convolution_param { num_output: 8 kernel_size: 3 weight_filler { type: "msra" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "mvn" type: "MVN" bottom: "conv" top: "mvn" }
layer { name: "fc" type: "InnerProduct" bottom: "mvn" top: "fc"
        inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
"""
)
PICTURES = np.random.default_rng(1).normal(size=(2, 3, 16, 16)).astype(np.float32)


def test_what_it_cannot_do_stays_with_pytorch() -> None:
    net = caffe.Net(NET, caffe.TEST)
    assert_the_layers_blobs(net)
    first, last = choices_of(net)
    assert first.compiled is not None
    assert last.compiled is not None
    caffe.set_engine("openvino")
    by = [reason.rpartition("; ")[2] for reason in net.explain()]
    assert by == [
        "given by the program",
        "run by OpenVINO",
        "run by OpenVINO",
        "not by OpenVINO: no translation for OpenVINO is known for MVN",
        "run by OpenVINO",
    ]


def test_auto_prepares_it_only_when_nothing_changes_for_some_runs() -> None:
    caffe.set_engine("auto")
    net = caffe.Net(NET, caffe.TEST)
    for _ in range(choice.PATIENCE - 1):
        net.forward(a=PICTURES)
        assert all(tried.due is not None for tried in choices_of(net))
    net.params["conv"][0].data[...] *= 2
    for _ in range(choice.PATIENCE - 1):
        net.forward(a=PICTURES)
        assert choices_of(net)[0].due is not None
    net.forward(a=PICTURES)
    assert choices_of(net)[0].due is None


def test_auto_keeps_the_faster_one() -> None:
    caffe.set_engine("auto")
    net = caffe.Net(NET, caffe.TEST)
    expected = net.forward(a=PICTURES)["fc"].copy()
    tried, _ = choices_of(net)
    for _ in range(choice.PATIENCE + choice.TRIAL + 1):
        found = net.forward(a=PICTURES)["fc"]
        np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    assert tried.is_settled
    times = {name: min(taken) for name, taken in tried._times.items()}
    is_faster = times["OpenVINO"] <= choice.WORTH * times["PyTorch"]
    assert is_faster == (tried.compiled is not None)
    assert tried.told in net.explain()[1]


def test_a_parameter_that_is_held_is_not_given_to_it() -> None:
    net = caffe.Net(NET, caffe.TEST)
    held = net.params["conv"][0].data
    net.forward(a=PICTURES)
    assert choices_of(net)[0].compiled is None
    held[...] = 0
    assert not net.forward(a=PICTURES)["fc"].any()


def test_what_is_no_number_comes_out_as_from_the_layers() -> None:
    net = caffe.Net(
        inputs((1, 1, 4, 4)) + "layer { name: 'r' type: 'ReLU' bottom: 'a' top: 'r' }", 1
    )
    net.blobs["a"].data[...] = np.nan
    assert np.isnan(net.forward()["r"]).all()
    net.blobs["a"].data[...] = 1
    assert (net.forward()["r"] == 1).all()


@needs_bfloat16
@pytest.mark.filterwarnings("ignore::caffe.CaffeWarning")
def test_bfloat16_gives_float32_blobs_near_float32s() -> None:
    net = caffe.Net(NET, caffe.TEST)
    net.forward(a=PICTURES)
    expected = net.blobs["conv"].data.copy()
    caffe.set_precision("bfloat16")
    try:
        found = net.forward(blobs=["conv"])["conv"]
    finally:
        caffe.set_precision("float32")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())
