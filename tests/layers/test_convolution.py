"""Convolution, Deconvolution and Im2col beyond the golden cases: any axes, and what is refused."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import caffe
from caffe.errors import CaffeError


def layer_net(kind: str, shape: tuple[int, ...], settings: str) -> caffe.Net:
    dims = " ".join(f"dim: {n}" for n in shape)
    return caffe.Net(
        f"""force_backward: true
        layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ {dims} }} }} }}
        layer {{ name: "layer" type: "{kind}" bottom: "x" top: "y"
                 convolution_param {{ {settings} }} }}""",
        caffe.TEST,
    )


def convolve(
    x: np.ndarray,
    weight: np.ndarray,
    stride: tuple[int, ...],
    pad: tuple[int, ...],
    dilation: tuple[int, ...],
    group: int,
) -> np.ndarray:
    """Convolve x (channels, *spatial) with weight (outputs, channels / group, *kernel)."""
    kernel, spatial = weight.shape[2:], x.shape[1:]
    out = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, p, d, k, s in zip(spatial, pad, dilation, kernel, stride, strict=True)
    ]
    y = np.zeros((len(weight), *out))
    for o, c in itertools.product(range(len(weight)), range(weight.shape[1])):
        channel = o // (len(weight) // group) * weight.shape[1] + c
        for place in np.ndindex(*out):
            for tap in np.ndindex(*kernel):
                at = tuple(
                    i * s - p + t * d
                    for i, s, p, t, d in zip(place, stride, pad, tap, dilation, strict=True)
                )
                if all(0 <= a < n for a, n in zip(at, spatial, strict=True)):
                    y[(o, *place)] += weight[(o, c, *tap)] * x[(channel, *at)]
    return y


# Channels, spatial shape, outputs, kernel, stride, pad, dilation, group.
GEOMETRIES = [
    (4, (), 6, (), (), (), (), 2),
    (3, (7,), 2, (3,), (2,), (1,), (2,), 1),
    (4, (5, 6), 6, (3, 2), (2, 1), (0, 3), (1, 2), 2),
    (2, (3, 4, 3), 2, (2, 2, 1), (1, 2, 1), (1, 0, 0), (1, 1, 1), 2),
    (2, (3, 3, 2, 4), 4, (2, 2, 1, 2), (1, 2, 1, 3), (1, 1, 0, 0), (1, 2, 1, 1), 2),
]


def settings_of(kernel: tuple[int, ...], **sizes: tuple[int, ...]) -> str:
    fields = {"kernel_size": kernel, **sizes}
    return " ".join(f"{name}: {n}" for name, values in fields.items() for n in values)


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=lambda g: f"{len(g[1])}-axes")
def test_convolution_by_hand(geometry: tuple) -> None:
    channels, spatial, outputs, kernel, stride, pad, dilation, group = geometry
    settings = settings_of(kernel, stride=stride, pad=pad, dilation=dilation)
    net = layer_net(
        "Convolution", (2, channels, *spatial), f"num_output: {outputs} group: {group} {settings}"
    )
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, channels, *spatial))
    weight, bias = (blob.data for blob in net.params["layer"])
    weight[...] = rng.normal(size=(outputs, channels // group, *kernel))
    bias[...] = rng.normal(size=outputs)
    net.blobs["x"].data[...] = x
    y = net.forward()["y"]
    for found, one in zip(y, x, strict=True):
        expected = convolve(one, weight, stride, pad, dilation, group)
        expected += bias.reshape(-1, *[1] * len(kernel))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=lambda g: f"{len(g[1])}-axes")
def test_deconvolution_is_what_convolution_does_backwards(geometry: tuple) -> None:
    channels, spatial, outputs, kernel, stride, pad, dilation, group = geometry
    settings = settings_of(kernel, stride=stride, pad=pad, dilation=dilation)
    settings = f"group: {group} bias_term: false {settings}"
    up = layer_net("Deconvolution", (2, outputs, *spatial), f"num_output: {channels} {settings}")
    down = layer_net("Convolution", up.blobs["y"].shape, f"num_output: {outputs} {settings}")
    assert down.blobs["y"].shape == (2, outputs, *spatial)
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(outputs, channels // group, *kernel))
    for net in (up, down):
        assert net.params["layer"][0].shape == weight.shape
        net.params["layer"][0].data[...] = weight
    small, large = (rng.normal(size=up.blobs[name].shape) for name in "xy")
    up.blobs["x"].data[...] = small
    down.blobs["x"].data[...] = large
    up.forward()
    down.forward()
    up.blobs["y"].diff[...] = large
    down.blobs["y"].diff[...] = small
    up.backward()
    down.backward()
    for one, other in ((up, down), (down, up)):
        np.testing.assert_allclose(one.blobs["x"].diff, other.blobs["y"].data, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        up.params["layer"][0].diff, down.params["layer"][0].diff, rtol=1e-4, atol=1e-3
    )


def test_axis_folds_what_comes_before_into_the_batch() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5, 6))
    folded = layer_net("Convolution", (6, 4, 5, 6), "num_output: 2 kernel_size: 3")
    net = layer_net("Convolution", x.shape, "num_output: 2 kernel_size: 3 axis: -3")
    for one, shape in ((net, x.shape), (folded, (6, 4, 5, 6))):
        one.params["layer"][0].data[...] = np.arange(72).reshape(2, 4, 3, 3) / 72
        one.blobs["x"].data[...] = x.reshape(shape)
        one.forward()
    assert net.blobs["y"].shape == (2, 3, 2, 3, 4)
    np.testing.assert_allclose(
        net.blobs["y"].data.reshape(6, 2, 3, 4), folded.blobs["y"].data, 1e-5, 1e-5
    )


def test_axis_0_needs_no_batch() -> None:
    net = layer_net("Convolution", (4, 5, 6), "num_output: 2 kernel_size: 3 axis: 0")
    net.params["layer"][0].data[...] = 1
    net.blobs["x"].data[...] = 1
    assert net.forward()["y"].shape == (2, 3, 4)
    np.testing.assert_array_equal(net.blobs["y"].data, 36)


@pytest.mark.parametrize("kind", ["Convolution", "Im2col"])
def test_a_kernel_that_reaches_past_the_end_by_less_than_a_stride_fits_once(kind: str) -> None:
    # (2 - 3) / 2 is 0 in C, so there is one window; what lies behind the picture counts as zero.
    net = layer_net(kind, (1, 1, 2, 7), "num_output: 1 kernel_size: 3 stride: 2")
    net.blobs["x"].data[...] = np.arange(14).reshape(2, 7)
    if kind == "Convolution":
        net.params["layer"][0].data[...] = 1
    y = net.forward()["y"]
    assert y.shape[2:] == (1, 3)
    sums = [0 + 1 + 2 + 7 + 8 + 9, 2 + 3 + 4 + 9 + 10 + 11, 4 + 5 + 6 + 11 + 12 + 13]
    np.testing.assert_array_equal(y.sum(1).ravel(), sums)


def test_several_bottoms_share_the_kernels() -> None:
    text = """force_backward: true
    layer { name: "x" type: "Input" top: "a" top: "b"
            input_param { shape { dim: 1 dim: 1 dim: 2 dim: 2 } } }
    layer { name: "c" type: "Convolution" bottom: "a" bottom: "b" top: "p" top: "q"
            convolution_param { num_output: 1 kernel_size: 2 } }"""
    net = caffe.Net(text, caffe.TEST)
    net.params["c"][0].data[...] = [[[[1, 2], [3, 4]]]]
    net.blobs["a"].data[...] = 1
    net.blobs["b"].data[...] = 2
    net.forward()
    assert (net.blobs["p"].data.item(), net.blobs["q"].data.item()) == (10, 20)
    for blob in net.params["c"]:
        blob.diff[...] = 0
    net.blobs["p"].diff[...] = 1
    net.blobs["q"].diff[...] = 10
    net.backward()
    np.testing.assert_array_equal(net.params["c"][0].diff, np.full((1, 1, 2, 2), 21))
    np.testing.assert_array_equal(net.params["c"][1].diff, [11])


@pytest.mark.parametrize("factor", [2, 3])
def test_bilinear_deconvolution_enlarges_smoothly(factor: int) -> None:
    kernel, pad = 2 * factor - factor % 2, math.ceil((factor - 1) / 2)
    net = layer_net(
        "Deconvolution",
        (1, 3, 4, 4),
        f"num_output: 3 group: 3 bias_term: false kernel_size: {kernel} stride: {factor} "
        f'pad: {pad} weight_filler {{ type: "bilinear" }}',
    )
    net.blobs["x"].data[...] = 5
    y = net.forward()["y"]
    assert y.shape == (1, 3, 4 * factor, 4 * factor)
    np.testing.assert_allclose(y[:, :, factor:-factor, factor:-factor], 5, rtol=1e-6)


@pytest.mark.parametrize(
    ("settings", "culprit"),
    [
        ("kernel_size: 3", "num_output"),
        ("num_output: 2", "kernel_size"),
        ("num_output: 2 kernel_size: 0", "kernel"),
        ("num_output: 2 kernel_size: 3 kernel_h: 3 kernel_w: 3", "kernel_size"),
        ("num_output: 2 kernel_h: 3", "kernel"),
        ("num_output: 2 kernel_size: 3 stride_h: 2", "stride"),
        ("num_output: 2 kernel_size: [3, 3, 3]", "kernel_size"),
        ("num_output: 2 kernel_size: 3 group: 3", "group"),
        ("num_output: 3 kernel_size: 3 group: 2", "group"),
        ("num_output: 2 kernel_size: 9", "does not fit"),
        ("num_output: 2 kernel_size: 3 axis: 4", "axis"),
        ("num_output: 2 kernel_size: 3 dilation: 0", "dilation"),
    ],
)
def test_settings_that_caffe_refuses(settings: str, culprit: str) -> None:
    with pytest.raises(CaffeError, match=rf"'layer' \(Convolution\).*{culprit}"):
        layer_net("Convolution", (1, 4, 5, 5), settings)


def test_other_channels_than_at_first_are_refused() -> None:
    net = layer_net("Convolution", (1, 4, 5, 5), "num_output: 2 kernel_size: 3")
    net.blobs["x"].reshape(1, 3, 5, 5)
    with pytest.raises(CaffeError, match=r"3 channels.*made for 4"):
        net.forward()
