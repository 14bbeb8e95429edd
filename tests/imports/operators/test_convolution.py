"""Convolutions, their padding on each side its own."""

from __future__ import annotations

import pytest

from caffe import CaffeError, imports
from tests.helpers.onnx_models import check, numbers, one, types

pytest.importorskip("onnxruntime")


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"pads": [1, 1, 1, 1], "strides": [2, 2]},
        {"pads": [0, 1, 1, 0], "strides": [2, 2]},
        {"pads": [1, 0, 0, 2]},
        {"pads": [2, 2, 2, 2], "dilations": [2, 2]},
        {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
        {"auto_pad": "SAME_LOWER", "strides": [2, 1]},
        {"pads": [0, 3, 0, 3], "strides": [1, 3]},
    ],
)
def test_padding_strides_and_dilation(attributes: dict[str, object]) -> None:
    arrays = [numbers(4, 3, 3, 3, seed=1), numbers(4, seed=2)]
    made = check(one("Conv", (2, 3, 9, 8), arrays=arrays, **attributes), evaluator="runtime")
    assert types(made) == ["Convolution"]


def test_groups_rectangles_and_no_bias() -> None:
    made = check(one("Conv", (1, 4, 7, 8), arrays=[numbers(8, 2, 1, 3)], group=2))
    (layer,) = [layer for layer in made.text.layer if layer.type == "Convolution"]
    assert layer.convolution_param.group == 2
    assert layer.convolution_param.kernel_h == 1
    assert not layer.convolution_param.bias_term


def test_one_axis() -> None:
    check(one("Conv", (1, 4, 9), arrays=[numbers(6, 4, 3)], strides=[2], pads=[1, 0]))
    check(one("ConvTranspose", (1, 4, 9), arrays=[numbers(4, 2, 3)], strides=[2]))


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]},
        {"strides": [2, 3], "pads": [0, 1, 2, 1]},
        {"strides": [2, 2], "dilations": [2, 1]},
        {"strides": [2, 2], "auto_pad": "SAME_UPPER"},
        {"strides": [2, 2], "output_shape": [11, 12]},
    ],
)
def test_transposed(attributes: dict[str, object]) -> None:
    arrays = [numbers(4, 3, 3, 3, seed=1), numbers(6, seed=2)]
    proto = one("ConvTranspose", (1, 4, 5, 6), arrays=arrays, group=2, **attributes)
    assert types(check(proto, evaluator="runtime")) == ["Deconvolution"]


def test_dilations_that_a_reader_does_not_know_stand_as_zeros_in_the_kernel() -> None:
    proto = one("ConvTranspose", (1, 4, 5, 5), arrays=[numbers(4, 2, 3, 3)], group=2,
                dilations=[2, 2], strides=[2, 2], pads=[1, 1, 1, 1])  # fmt: skip
    for target, size in (("opencv", 5), ("bvlc", 3)):
        made = check(proto, target, "runtime")
        assert made.weights["y0"][0].shape[2:] == (size, size)
    proto = one("Conv", (1, 4, 6, 6), arrays=[numbers(8, 4, 3, 3)], dilations=[1, 2])
    for target, shape in (("mnn", (3, 5)), ("sophon", (3, 5)), ("bvlc", (3, 3))):
        assert check(proto, target, "runtime").weights["y0"][0].shape[2:] == shape
    proto = one("Conv", (1, 4, 6, 6), arrays=[numbers(8, 4, 3, 3)], dilations=[2, 2])
    assert check(proto, "mnn", "runtime").weights["y0"][0].shape[2:] == (3, 3)


def test_a_reader_that_pads_single_lines_wrongly_has_kernels_of_one_line() -> None:
    arrays = [numbers(4, 1, 3, 3), numbers(4)]
    for strides in ([1, 1], [2, 2]):
        proto = one("Conv", (1, 4, 1, 5), arrays=arrays, group=4, pads=[1] * 4, strides=strides)
        made = check(proto, "opencv", "runtime")
        assert made.weights["y0"][0].shape == (4, 1, 1, 3)
        assert check(proto, "mnn", "runtime").weights["y0"][0].shape == (4, 1, 3, 3)


def test_three_axes_where_the_reader_has_them() -> None:
    arrays = [numbers(4, 2, 2, 3, 1), numbers(4, seed=1)]
    proto = one("Conv", (1, 2, 3, 4, 5), arrays=arrays, pads=[0, 1, 0, 1, 1, 0], strides=[1, 2, 1])
    assert types(check(proto, evaluator="runtime")) == ["Convolution"]
    arrays = [numbers(2, 4, 2, 3, 1)]
    check(one("ConvTranspose", (1, 2, 3, 4, 5), arrays=arrays, strides=[2, 1, 2]))
    with pytest.raises(CaffeError, match=r"OpenCV 4 has no convolutions over 3 axes; .* bvlc has"):
        imports.load(proto, target="opencv")


def test_what_has_no_form_is_named() -> None:
    with pytest.raises(CaffeError, match=r"node 'node' \(Conv\).*pad the picture before"):
        imports.load(one("Conv", (1, 2, 6, 6), arrays=[numbers(2, 2, 3, 3)], pads=[-1, 0, 0, 0]))
    with pytest.raises(CaffeError, match=r"'weight' \(input 1\) is computed"):
        imports.load(one("Conv", (1, 2, 4, 4), (2, 2, 1, 1)))


def test_a_reader_whose_transposes_need_steps_has_convolutions() -> None:
    for attributes in ({}, {"pads": [1, 0, 1, 2]}, {"dilations": [2, 2]}):
        proto = one("ConvTranspose", (1, 4, 5, 5), arrays=[numbers(4, 3, 3, 3), numbers(6)],
                    group=2, **attributes)  # fmt: skip
        assert types(check(proto, "rknn", "runtime")) == ["Convolution"]
        assert types(check(proto, "opencv", "runtime")) == ["Deconvolution"]
    proto = one("ConvTranspose", (1, 4, 5, 5), arrays=[numbers(4, 3, 3, 3)], strides=[2, 2])
    assert types(check(proto, "rknn", "runtime")) == ["Deconvolution"]
