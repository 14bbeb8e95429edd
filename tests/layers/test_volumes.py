"""C3D's layers on clips, against loops over windows."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import caffe
from caffe.errors import NetError, ShapeError
from caffe.proto.files import parse_net
from tests.helpers.running import run

CLIP = (2, 3, 5, 6, 7)

SAID = {
    "C3D 1.0": "kernel_size: 3 kernel_depth: 2 stride: 2 temporal_stride: 1 pad: 1 temporal_pad: 1",
    "C3D 1.1": "kernel_shape { dim: 2 dim: 3 dim: 3 } stride_shape { dim: 1 dim: 2 dim: 2 } "
    "pad_shape { dim: 1 dim: 1 dim: 1 }",
}
KERNEL, STRIDE, PAD = (2, 3, 3), (1, 2, 2), (1, 1, 1)


@pytest.mark.parametrize(
    ("kind", "said"), [("Convolution3D", "C3D 1.0"), ("NdConvolution", "C3D 1.1")]
)
def test_convolution_goes_over_time_too(kind: str, said: str) -> None:
    x = np.random.default_rng(0).normal(size=CLIP)
    net = caffe.Net(
        f"""input: "x" input_shape {{ dim: 2 dim: 3 dim: 5 dim: 6 dim: 7 }}
        layer {{ name: "c" type: "{kind}" bottom: "x" top: "y" convolution_param {{ num_output: 2
                 {SAID[said]} weight_filler {{ type: "gaussian" std: 1 }} bias_filler {{ value: 1 }}
                 }} }}""",
        caffe.TEST,
    )
    weights = net.params["c"][0].data
    assert weights.shape == (2, 3, *KERNEL)
    top = net.forward(x=x)["y"]
    padded = np.pad(x, ((0, 0), (0, 0), *[(p, p) for p in PAD]))
    each = zip(CLIP[2:], PAD, KERNEL, STRIDE, strict=True)
    sizes = [(n + 2 * p - k) // s + 1 for n, p, k, s in each]
    assert top.shape == (2, 2, *sizes)
    for place in itertools.product(*map(range, sizes)):
        cut = tuple(slice(i * s, i * s + k) for i, s, k in zip(place, STRIDE, KERNEL, strict=True))
        window = padded[(slice(None), slice(None), *cut)]
        expected = np.einsum("nctij,octij->no", window, weights) + 1
        np.testing.assert_allclose(top[(slice(None), slice(None), *place)], expected, atol=5e-5)


@pytest.mark.parametrize("pool", ["MAX", "AVE"])
@pytest.mark.parametrize("said", SAID)
def test_pooling_goes_over_time_too(pool: str, said: str) -> None:
    x = np.random.default_rng(1).normal(size=CLIP)
    kind = "Pooling3D" if said == "C3D 1.0" else "NdPooling"
    (top,) = run(f'type: "{kind}" pooling_param {{ pool: {pool} {SAID[said]} }}', x)
    sizes = []
    for n, k, s, p in zip(CLIP[2:], KERNEL, STRIDE, PAD, strict=True):
        count = math.ceil((n + 2 * p - k) / s) + 1
        sizes.append(count - ((count - 1) * s >= n + p))
    assert top.shape == (2, 3, *sizes)
    for place in itertools.product(*map(range, sizes)):
        begins = [i * s - p for i, s, p in zip(place, STRIDE, PAD, strict=True)]
        ends = [min(b + k, n + p) for b, k, n, p in zip(begins, KERNEL, CLIP[2:], PAD, strict=True)]
        cut = tuple(slice(max(0, b), e) for b, e in zip(begins, ends, strict=True))
        window = x[(slice(None), slice(None), *cut)].reshape(2, 3, -1)
        # The padding counts as zeros, but not what lies behind it.
        count = math.prod(e - b for b, e in zip(begins, ends, strict=True))
        expected = window.max(2) if pool == "MAX" else window.sum(2) / count
        np.testing.assert_allclose(top[(slice(None), slice(None), *place)], expected, atol=1e-5)


def test_deconvolution_is_the_convolutions_gradient() -> None:
    sizes = "num_output: 2 kernel_size: 3 kernel_depth: 2 stride: 2 temporal_stride: 2"
    (top,) = run(f'type: "Deconvolution3D" convolution_param {{ {sizes} }}', np.zeros(CLIP))
    assert top.shape == (2, 2, 10, 13, 15)


def test_texts_of_2014_are_read() -> None:
    net = parse_net(
        """input: "x" input_dim: 1 input_dim: 3 input_dim: 16 input_dim: 112 input_dim: 112
        layers { name: "conv1a" type: CONVOLUTION3D bottom: "x" top: "c"
                 convolution_param { num_output: 64 kernel_size: 3 kernel_depth: 3 pad: 1
                                     temporal_pad: 1 } }
        layers { name: "pool1" type: POOLING3D bottom: "c" top: "p"
                 pooling_param { pool: MAX kernel_size: 2 kernel_depth: 1 stride: 2
                                 temporal_stride: 1 } }"""
    )
    assert [layer.type for layer in net.layer][1:] == ["Convolution3D", "Pooling3D"]
    assert list(net.layer[0].input_param.shape[0].dim) == [1, 3, 16, 112, 112]
    assert net.layer[1].convolution_param.kernel_depth == 3


def test_pictures_and_kernels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ShapeError, match="5 axes"):
        run('type: "Pooling3D" pooling_param { kernel_size: 2 }', np.zeros((1, 2, 3, 4)))
    text = "convolution_param { num_output: 1 kernel_size: 1 }"
    with pytest.raises(ShapeError, match="5 axes"):
        run(f'type: "Convolution3D" {text}', np.zeros((1, 2, 3, 4)))
    with pytest.raises(NetError, match="three dim"):
        run('type: "NdPooling" pooling_param { kernel_shape { dim: 2 } }', np.zeros(CLIP))
    with pytest.raises(NetError, match="kernel_size"):
        run('type: "Pooling3D"', np.zeros(CLIP))


def test_hole_is_deeplabs_first_word_for_dilation() -> None:
    x = np.random.default_rng(0).normal(size=(1, 1, 9, 9))
    same = "num_output: 1 kernel_size: 3 weight_filler { value: 1 }"
    tops = [
        run(f'type: "Convolution" convolution_param {{ {same} {way} }}', x)[0]
        for way in ("dilation: 2", "hole: 2", "hole_h: 2 hole_w: 2")
    ]
    np.testing.assert_array_equal(tops[0], tops[1])
    np.testing.assert_array_equal(tops[0], tops[2])
    with pytest.raises(NetError, match="hole"):
        run(f'type: "Convolution" convolution_param {{ {same} hole: 2 dilation: 2 }}', x)
