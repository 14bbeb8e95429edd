"""caffe.coord_map: coordinates of one top in another, and cropping by them."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import caffe.coord_map as coord_maps
from caffe.coord_map import (
    AxisMismatchException,
    CropError,
    UndefinedMapException,
    compose,
    coord_map,
    coord_map_from_to,
    crop,
    inverse,
)
from caffe.errors import CaffeError
from caffe.net_spec import NetSpec
from caffe.net_spec import layers as L


def picture(size: int = 100) -> Any:
    return L.Input(shape={"dim": [1, 3, size, size]})


def brute_force_center(size: int, kernel: int, stride: int, pad: int, dilation: int) -> np.ndarray:
    """The mean input coordinate under each place of a sliding window, along one axis."""
    taps = np.arange(kernel) * dilation
    starts = np.arange(-pad, size + pad - taps[-1], stride)
    return np.array([np.mean(start + taps) for start in starts])


@pytest.mark.parametrize(
    ("kernel", "stride", "pad", "dilation"),
    [(3, 1, 0, 1), (3, 2, 1, 1), (5, 3, 2, 1), (2, 2, 0, 1), (3, 1, 4, 4), (4, 2, 1, 3)],
)
def test_a_convolution_maps_to_the_middle_of_its_window(
    kernel: int, stride: int, pad: int, dilation: int
) -> None:
    data = picture(40)
    top = L.Convolution(data, kernel_size=kernel, stride=stride, pad=pad, dilation=dilation)
    axis, scale, shift = coord_map_from_to(top, data)
    centers = brute_force_center(40, kernel, stride, pad, dilation)
    assert axis == 1
    np.testing.assert_allclose(scale * np.arange(len(centers)) + shift, centers)


def test_deconvolution_undoes_the_convolution_of_the_same_size() -> None:
    data = picture()
    down = L.Convolution(data, kernel_size=4, stride=2, pad=1)
    up = L.Deconvolution(down, convolution_param={"kernel_size": 4, "stride": 2, "pad": 1})
    _, scale, shift = coord_map_from_to(up, data)
    np.testing.assert_allclose((scale, shift), ([1], [0]))


def test_the_layers_that_keep_coordinates_are_known_by_the_originals_name() -> None:
    originals = {"AbsVal", "BatchNorm", "Bias", "BNLL", "Dropout", "Eltwise", "ELU", "Log", "LRN"}
    originals |= {"Exp", "MVN", "Power", "ReLU", "PReLU", "Scale", "Sigmoid", "Split", "TanH"}
    originals.add("Threshold")
    assert originals < set(coord_maps.PASS_THROUGH_LAYERS)
    assert not {"Pooling", "Flatten", "InnerProduct"} & set(coord_maps.PASS_THROUGH_LAYERS)
    assert "PASS_THROUGH_LAYERS" in dir(coord_maps)


def test_a_name_that_is_added_to_them_is_passed_through(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [*coord_maps.PASS_THROUGH_LAYERS, "Unheard"]
    monkeypatch.setattr(coord_maps, "PASS_THROUGH_LAYERS", names)
    data = picture()
    assert coord_map_from_to(L.Unheard(data), data) == (None, 1, 0)


def test_importing_it_does_not_load_pytorch() -> None:
    program = "import sys, caffe.coord_map; print('torch' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "False"


def test_sizes_that_differ_by_axis_give_a_number_for_each() -> None:
    data = picture()
    top = L.Convolution(data, kernel_size=[3, 5], stride=[1, 2], pad=[0, 2])
    _, scale, shift = coord_map_from_to(top, data)
    np.testing.assert_allclose(scale, [1, 2])
    np.testing.assert_allclose(shift, [1, 0])


def test_two_branches_meet_at_their_common_bottom() -> None:
    data = picture()
    stem = L.Convolution(data, kernel_size=3)
    coarse = L.Pooling(L.ReLU(stem), kernel_size=2, stride=2)
    fine = L.Convolution(stem, kernel_size=5, pad=2)
    axis, scale, shift = coord_map_from_to(coarse, fine)
    assert axis == 1
    np.testing.assert_allclose([scale[0], shift[0]], [2, 0.5])


def test_a_net_with_many_branches_is_walked_once() -> None:
    data = picture()
    top = data
    for _ in range(60):
        top = L.Eltwise(top, L.ReLU(top))
    assert coord_map_from_to(top, data) == (None, 1, 0)


def test_crop_cuts_what_an_fcn_needs() -> None:
    n = NetSpec()
    n.data = picture()
    n.conv1 = L.Convolution(n.data, num_output=4, kernel_size=3, pad=100)
    n.pool1 = L.Pooling(n.conv1, kernel_size=2, stride=2)
    n.fc6 = L.Convolution(n.pool1, num_output=4, kernel_size=7)
    n.up = L.Deconvolution(n.fc6, num_output=4, kernel_size=4, stride=2)
    n.score = crop(n.up, n.data)
    layer = n.to_proto().layer[-1]
    # up = 2 * (fc6's) + 1.5, where fc6 = pool1 - 3, pool1 = (conv1 - 0.5) / 2, conv1 = data + 99.
    assert (layer.type, list(layer.bottom)) == ("Crop", ["up", "data"])
    assert layer.crop_param.axis == 2
    assert list(layer.crop_param.offset) == [94]


def test_crop_of_tops_without_a_shift_starts_at_zero() -> None:
    data = picture()
    layer = crop(L.ReLU(data), data).to_proto().layer[-1]
    assert (layer.crop_param.axis, list(layer.crop_param.offset)) == (2, [0])


def test_crop_moves_coordinates_by_its_offset() -> None:
    data = picture()
    cut = L.Crop(data, L.Input(shape={"dim": [1, 1, 50, 50]}), offset=[10, 20], axis=2)
    axis, _, shift = coord_map_from_to(cut, data)
    assert axis == 1
    np.testing.assert_array_equal(shift, [10, 20])


def test_crop_says_what_stands_in_the_way() -> None:
    data = picture()
    pooled = L.Pooling(data, kernel_size=3, stride=3)
    with pytest.raises(CropError, match=r"scale differs, by 1\.5"):
        crop(L.Deconvolution(pooled, kernel_size=4, stride=2), data)
    with pytest.raises(CropError, match="negative"):
        crop(L.Convolution(data, kernel_size=3), data)
    with pytest.raises(CropError, match="no whole number"):
        crop(L.Convolution(data, kernel_size=2, pad=1), data)


@pytest.mark.parametrize("cut_off", [L.InnerProduct, L.Flatten, L.Softmax])
def test_layers_without_coordinates_do_not_connect(cut_off: Any) -> None:
    data = picture()
    with pytest.raises(CaffeError, match="connected"):
        coord_map_from_to(cut_off(data), data)
    with pytest.raises(UndefinedMapException):
        coord_map(cut_off(data).fn)


def test_global_pooling_does_not_connect() -> None:
    data = picture()
    with pytest.raises(CaffeError, match="connected"):
        coord_map_from_to(L.Pooling(data, pooling_param={"global_pooling": True}), data)


def test_kernels_by_their_sides_are_refused_by_name() -> None:
    data = picture()
    with pytest.raises(CropError, match="kernel_h, kernel_w"):
        coord_map_from_to(L.Convolution(data, kernel_h=3, kernel_w=5), data)


def test_maps_of_different_axes_do_not_compose() -> None:
    with pytest.raises(AxisMismatchException):
        compose((1, 2, 0), (2, 2, 0))


def test_a_map_and_its_inverse_are_the_identity() -> None:
    assert compose((1, 4, 3), inverse((1, 4, 3))) == (1, 1, 0)
