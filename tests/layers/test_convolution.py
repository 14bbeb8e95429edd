"""Convolution, Deconvolution and Im2col beyond the golden cases: any axes, and what is refused."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import torch

import caffe
from caffe import onednn
from caffe.errors import CaffeError, NetError
from tests.helpers.places import REPOSITORY
from tests.helpers.precision import needs_bfloat16
from tests.helpers.running import SEEDS, close, feed, layer_net, lone_layer, run


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
    settings = f"num_output: {outputs} group: {group} {settings}"
    shape = (2, channels, *spatial)
    net = layer_net(f'type: "Convolution" convolution_param {{ {settings} }}', [shape])
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, channels, *spatial))
    weight, bias = (blob.data for blob in net.params["layer"])
    weight[...] = rng.normal(size=(outputs, channels // group, *kernel))
    bias[...] = rng.normal(size=outputs)
    net.blobs["b0"].data[...] = x
    y = feed(net)[0]
    for found, one in zip(y, x, strict=True):
        expected = convolve(one, weight, stride, pad, dilation, group)
        expected += bias.reshape(-1, *[1] * len(kernel))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=lambda g: f"{len(g[1])}-axes")
def test_deconvolution_is_what_convolution_does_backwards(geometry: tuple) -> None:
    channels, spatial, outputs, kernel, stride, pad, dilation, group = geometry
    settings = settings_of(kernel, stride=stride, pad=pad, dilation=dilation)
    settings = f"group: {group} bias_term: false {settings}"
    up = layer_net(
        f'type: "Deconvolution" convolution_param {{ num_output: {channels} {settings} }}',
        [(2, outputs, *spatial)],
        backward=True,
    )
    down = layer_net(
        f'type: "Convolution" convolution_param {{ num_output: {outputs} {settings} }}',
        [up.blobs["t0"].shape],
        backward=True,
    )
    assert down.blobs["t0"].shape == (2, outputs, *spatial)
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(outputs, channels // group, *kernel))
    for net in (up, down):
        assert net.params["layer"][0].shape == weight.shape
        net.params["layer"][0].data[...] = weight
    small, large = (rng.normal(size=up.blobs[name].shape) for name in ("b0", "t0"))
    up.blobs["b0"].data[...] = small
    down.blobs["b0"].data[...] = large
    up.forward()
    down.forward()
    up.blobs["t0"].diff[...] = large
    down.blobs["t0"].diff[...] = small
    up.backward()
    down.backward()
    for one, other in ((up, down), (down, up)):
        np.testing.assert_allclose(
            one.blobs["b0"].diff, other.blobs["t0"].data, rtol=1e-4, atol=1e-4
        )
    np.testing.assert_allclose(
        up.params["layer"][0].diff, down.params["layer"][0].diff, rtol=1e-4, atol=1e-3
    )


def test_axis_folds_what_comes_before_into_the_batch() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5, 6))
    folded = layer_net(
        'type: "Convolution" convolution_param { num_output: 2 kernel_size: 3 }', [(6, 4, 5, 6)]
    )
    net = layer_net(
        'type: "Convolution" convolution_param { num_output: 2 kernel_size: 3 axis: -3 }', [x.shape]
    )
    for one, shape in ((net, x.shape), (folded, (6, 4, 5, 6))):
        one.params["layer"][0].data[...] = np.arange(72).reshape(2, 4, 3, 3) / 72
        one.blobs["b0"].data[...] = x.reshape(shape)
        one.forward()
    assert net.blobs["t0"].shape == (2, 3, 2, 3, 4)
    np.testing.assert_allclose(
        net.blobs["t0"].data.reshape(6, 2, 3, 4), folded.blobs["t0"].data, 1e-5, 1e-5
    )


def test_axis_0_needs_no_batch() -> None:
    net = layer_net(
        'type: "Convolution" convolution_param { num_output: 2 kernel_size: 3 axis: 0 }',
        [(4, 5, 6)],
    )
    net.params["layer"][0].data[...] = 1
    net.blobs["b0"].data[...] = 1
    assert feed(net)[0].shape == (2, 3, 4)
    np.testing.assert_array_equal(net.blobs["t0"].data, 36)


@pytest.mark.parametrize("kind", ["Convolution", "Im2col"])
def test_a_kernel_that_reaches_past_the_end_by_less_than_a_stride_fits_once(kind: str) -> None:
    # (2 - 3) / 2 is 0 in C, so there is one window; what lies behind the picture counts as zero.
    net = layer_net(
        f'type: "{kind}" convolution_param {{ num_output: 1 kernel_size: 3 stride: 2 }}',
        [(1, 1, 2, 7)],
    )
    net.blobs["b0"].data[...] = np.arange(14).reshape(2, 7)
    if kind == "Convolution":
        net.params["layer"][0].data[...] = 1
    y = feed(net)[0]
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
    settings = (
        f"num_output: 3 group: 3 bias_term: false kernel_size: {kernel} stride: {factor} "
        f'pad: {pad} weight_filler {{ type: "bilinear" }}'
    )
    net = layer_net(f'type: "Deconvolution" convolution_param {{ {settings} }}', [(1, 3, 4, 4)])
    net.blobs["b0"].data[...] = 5
    y = feed(net)[0]
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
        layer_net(f'type: "Convolution" convolution_param {{ {settings} }}', [(1, 4, 5, 5)])


def test_other_channels_than_at_first_are_refused() -> None:
    net = layer_net(
        'type: "Convolution" convolution_param { num_output: 2 kernel_size: 3 }', [(1, 4, 5, 5)]
    )
    net.blobs["b0"].reshape(1, 3, 5, 5)
    with pytest.raises(CaffeError, match=r"3 channels.*made for 4"):
        net.forward()


@pytest.mark.parametrize("kind", ["ConvolutionDepthwise", "DepthwiseConvolution"])
def test_depthwise_convolution(kind: str) -> None:
    rng = np.random.default_rng(0)
    x, weight, bias = (
        rng.normal(size=(2, 3, 5, 6)),
        rng.normal(size=(3, 1, 3, 3)),
        rng.normal(size=3),
    )
    rest = "num_output: 3 kernel_size: 3 pad: 1 stride: 2"
    plain = f'type: "Convolution" convolution_param {{ {rest} group: 3 }}'
    wanted = run(plain, x, params=[weight, bias])[0]
    for group in ("", "group: 3"):
        text = f'type: "{kind}" convolution_param {{ {rest} {group} }}'
        close(run(text, x, params=[weight, bias])[0], wanted)


@pytest.mark.parametrize("seed", SEEDS)
def test_convolution_padded_side_by_side(seed: int) -> None:
    rng = np.random.default_rng(seed)
    left, right, top, bottom = (int(v) for v in rng.integers(0, 4, size=4))
    bottom += not any((left, right, top, bottom))
    x, weight = rng.normal(size=(1, 2, 5, 6)), rng.normal(size=(2, 2, 3, 3))
    rest = "num_output: 2 kernel_size: 3 stride: 2 bias_term: false"
    sides = f"pad_l: {left} pad_r: {right} pad_t: {top} pad_b: {bottom}"
    padded = np.pad(x, [(0, 0), (0, 0), (top, bottom), (left, right)])
    wanted = run(f'type: "Convolution" convolution_param {{ {rest} }}', padded, params=[weight])[0]
    text = f'type: "Convolution" convolution_param {{ {rest} {sides} }}'
    close(run(text, x, params=[weight])[0], wanted)


def test_same_padding() -> None:
    x, weight = np.ones((1, 1, 5, 6)), np.ones((1, 1, 3, 3))
    rest = "num_output: 1 kernel_size: 3 stride: 2 bias_term: false pad_type: 1"
    found = run(f'type: "Convolution" convolution_param {{ {rest} }}', x, params=[weight])[0]
    # 5 rows get one above and below, 6 columns one behind.
    close(found[0, 0], np.array([[6, 6, 4], [9, 9, 6], [6, 6, 4]]))
    pool = (
        'type: "Pooling" pooling_param { kernel_size: 3 stride: 2 pad_type: 1 pool: AVE_EXC_PAD }'
    )
    close(run(pool, x)[0], np.ones((1, 1, 3, 3)))


def test_padding_given_twice_is_refused() -> None:
    text = 'type: "Convolution" convolution_param { num_output: 1 kernel_size: 3 pad: 1 pad_l: 1 }'
    with pytest.raises(NetError, match="not both"):
        run(text, np.ones((1, 1, 5, 5)))


# Those of which oneDNN's kernels for AVX-512 take other numbers than those of the windows.
ONE_COLUMN = [
    # Channels, height and width, kernel, stride, pad.
    (1, (11, 3), (2, 2), (1, 3), (0, 0)),
    (1, (9, 4), (5, 2), (1, 5), (2, 0)),
    (1, (10, 1), (3, 3), (1, 2), (0, 1)),
]


@pytest.fixture(params=["layerwise", "torch", "onednn", "openvino"])
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "openvino":
        pytest.importorskip("openvino")
    if request.param == "onednn" and not onednn.joins_graphs():
        pytest.skip("this PyTorch hands no graphs to oneDNN")
    caffe.set_engine(request.param)
    yield request.param
    caffe.set_engine("auto")
    caffe.set_precision("float32")


def one_column(rng: np.random.Generator, geometry: tuple) -> tuple[np.ndarray, np.ndarray, str]:
    """Pictures, weights and the layer's text."""
    channels, spatial, kernel, stride, pad = geometry
    x = rng.normal(size=(7, channels, *spatial))
    weight = rng.normal(size=(4, channels, *kernel)) / math.sqrt(channels * math.prod(kernel))
    sizes = (("kernel", kernel), ("stride", stride), ("pad", pad))
    text = " ".join(f"{name}_h: {size[0]} {name}_w: {size[1]}" for name, size in sizes)
    text = f"convolution_param {{ num_output: 4 bias_term: false {text} }}"
    return x, weight, text


@pytest.mark.cpu
@pytest.mark.parametrize("geometry", ONE_COLUMN)
def test_results_of_one_column_at_a_stride(geometry: tuple, engine: str) -> None:
    _, _, _, stride, pad = geometry
    x, weight, text = one_column(np.random.default_rng(0), geometry)
    (found,) = run(f'type: "Convolution" {text}', x, params=[weight])
    close(found, np.stack([convolve(one, weight, stride, pad, (1, 1), 1) for one in x]))


@pytest.mark.cpu
@needs_bfloat16
@pytest.mark.parametrize("geometry", [*ONE_COLUMN, (16, (4, 4), (2, 4), (2, 4), (0, 0))])
def test_results_of_one_column_in_short_numbers(geometry: tuple, engine: str) -> None:
    if engine == "onednn":
        pytest.skip("it computes in float32 alone")
    _, _, _, stride, pad = geometry
    x, weight, text = one_column(np.random.default_rng(0), geometry)
    caffe.set_precision("bfloat16")
    (found,) = run(f'type: "Convolution" {text}', x, params=[weight])
    wanted = np.stack([convolve(one, weight, stride, pad, (1, 1), 1) for one in x])
    np.testing.assert_allclose(found, wanted, atol=0.02 * np.abs(wanted).max())


@pytest.mark.parametrize("geometry", ONE_COLUMN)
def test_results_of_one_column_of_pictures_by_rows(geometry: tuple) -> None:
    _, _, _, stride, pad = geometry
    x, weight, text = one_column(np.random.default_rng(0), geometry)
    text = f'name: "layer" type: "Convolution" bottom: "x" top: "y" {text}'
    layer = lone_layer(text, [x.shape])
    rows = torch.from_numpy(x.transpose(0, 2, 3, 1).astype("f4")).permute(0, 3, 1, 2)
    (found,) = layer.forward(rows, torch.from_numpy(weight).float())
    close(found.numpy(), np.stack([convolve(one, weight, stride, pad, (1, 1), 1) for one in x]))


IN_PADDING = """
import numpy as np
import caffe
from tests.helpers.running import run

for engine in ("layerwise", "torch"):
    caffe.set_engine(engine)
    (top,) = run(
        "type: 'Convolution' convolution_param { num_output: 1 kernel_size: 1 stride_h: 7 "
        "stride_w: 2 pad: 3 dilation: 3 weight_filler { type: 'constant' value: 2 } }",
        np.ones((1, 2, 5, 1), "f4"),
    )
    print(top.shape, top.sum())
"""


def test_windows_that_lie_in_the_padding_do_not_end_the_process() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IN_PADDING], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.stdout.splitlines() == ["(1, 1, 2, 4) 0.0"] * 2, done
