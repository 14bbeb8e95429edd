"""caffe.io resizes and crops pictures as Caffe did."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import caffe
from caffe.io import load_image, oversample, resize_image
from caffe.io.resizing import resize_planes
from tests.helpers.golden import assert_golden


@pytest.mark.parametrize("dims", [(227, 227), (256, 256), (64, 100), (500, 700)])
def test_resize_equals_the_original(
    dims: tuple[int, int], cat: Path, pipeline: dict[str, np.ndarray]
) -> None:
    resized = resize_image(load_image(cat), dims)
    assert resized.dtype == np.float32
    assert resized.shape == (*dims, 3)
    assert_golden(resized[::4, ::4], pipeline["resize_{}x{}".format(*dims)], f"resize to {dims}")


def test_resize_of_five_channels_equals_the_original(pipeline: dict[str, np.ndarray]) -> None:
    resized = resize_image(pipeline["resize5_in"], (12, 9))
    assert_golden(resized, pipeline["resize5_12x9"], "five channels")


@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dims", [(5, 30), (23, 2), (12, 17), (40, 40), (1, 1)])
def test_resize_equals_scikit_image_without_anti_aliasing(
    order: int, channels: int, dims: tuple[int, int]
) -> None:
    transform = pytest.importorskip("skimage.transform", reason="needs the extra 'demo'")
    image = np.random.default_rng(1).random((12, 17, channels)) * 300 - 100
    low, high = image.min(), image.max()
    expected = transform.resize(
        (image - low) / (high - low), dims, order=order, mode="constant", anti_aliasing=False
    )
    np.testing.assert_allclose(
        resize_image(image, dims, order), expected * (high - low) + low, atol=1e-3
    )


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("dims", [(5, 30), (23, 2), (12, 17)])
def test_a_window_of_the_resized_picture_is_cut_out_of_it(
    channels: int, dims: tuple[int, int]
) -> None:
    image = np.random.default_rng(3).random((12, 17, channels)).astype(np.float32)
    window = slice(1, dims[0]), slice(0, dims[1] - 1)
    np.testing.assert_array_equal(
        resize_planes(image, dims, *window), resize_planes(image, dims)[:, window[0], window[1]]
    )
    whole = resize_image(image, dims)
    np.testing.assert_array_equal(resize_planes(image, dims).transpose(1, 2, 0), whole)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_a_picture_of_a_few_long_rows_is_resized_like_others(channels: int) -> None:
    image = np.random.default_rng(4).integers(0, 255, (3, 900, channels)).astype(np.float32)
    by_rows = resize_image(image, (50, 900))
    np.testing.assert_allclose(resize_image(image, (50, 7)), resize_image(by_rows, (50, 7)))


def test_a_picture_of_one_long_row_takes_no_more_memory_than_others() -> None:
    tracemalloc.start()
    resize_planes(np.zeros((1, 1_000_000, 3), np.uint8), (224, 224))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 20e6


def test_enlarging_darkens_the_border_as_in_caffe() -> None:
    # The outermost samples lie a quarter pixel outside: a quarter of them is the minimum, 2.
    image = np.array([[[10.0], [2.0], [10.0]]])
    resized = resize_image(np.repeat(image, 2, axis=0), (2, 6))[0, :, 0]
    np.testing.assert_allclose(resized, [8, 8, 4, 4, 8, 8])


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("order", [0, 1, 2])
def test_constant_picture_stays_constant(channels: int, order: int) -> None:
    if order > 1:
        pytest.importorskip("skimage", reason="needs the extra 'demo'")
    resized = resize_image(np.full((4, 6, channels), 0.3, np.float32), (9, 3), order)
    assert resized.shape == (9, 3, channels)
    np.testing.assert_allclose(resized, 0.3, rtol=1e-6)


def test_resize_takes_any_number_type_and_changes_nothing() -> None:
    image = np.random.default_rng(2).integers(0, 256, (9, 8, 3), dtype=np.uint8)
    before = image.copy()
    as_floats = resize_image(image.astype(np.float64), (5, 5))
    np.testing.assert_allclose(resize_image(image, (5, 5)), as_floats, rtol=1e-6)
    same = resize_image(image.astype(np.float32), (9, 8))
    same[...] = 0
    np.testing.assert_array_equal(image, before)


def test_resize_to_the_same_size_is_a_copy() -> None:
    image = np.ones((3, 3, 3), dtype=np.float32)
    resized = resize_image(image, (3, 3))
    assert not np.shares_memory(resized, image)
    np.testing.assert_array_equal(resized, image)


@pytest.mark.parametrize("shape", [(4, 4), (0, 4, 3), (1, 4, 4, 3)])
def test_resize_refuses_what_is_no_picture(shape: tuple[int, ...]) -> None:
    with pytest.raises(caffe.ShapeError, match=r"H x W x K"):
        resize_image(np.zeros(shape), (2, 2))


@pytest.mark.parametrize("dims", [(0, 4), (-1, 4), (4,), (4, 4, 3), (2.5, 2), "ab"])
def test_resize_refuses_impossible_sizes(dims: Any) -> None:
    with pytest.raises(caffe.ShapeError, match="new_dims"):
        resize_image(np.zeros((4, 4, 3)), dims)


def test_resize_refuses_an_unknown_order() -> None:
    with pytest.raises(caffe.CaffeError, match="interp_order"):
        resize_image(np.zeros((4, 4, 3)), (2, 2), interp_order=7)


# Ten crops.


def test_oversample_equals_the_original(cat: Path, pipeline: dict[str, np.ndarray]) -> None:
    crops = oversample([resize_image(load_image(cat), (64, 64))], (56, 48))
    assert crops.dtype == np.float32
    assert_golden(
        crops.sum(axis=(1, 2, 3), dtype=np.float64), pipeline["oversample_sums"], "sums of crops"
    )
    assert_golden(crops[:, 0, 0], pipeline["oversample_first_pixels"], "first pixels")
    assert_golden(crops[:, -1, -1], pipeline["oversample_last_pixels"], "last pixels")


def test_oversample_takes_corners_centre_and_mirrors() -> None:
    rows, columns = np.mgrid[0:5, 0:8]
    image = np.stack([rows, columns], axis=2)
    crops = oversample([image, image + 100], (2, 3))
    assert crops.shape == (20, 2, 3, 2)
    first = [[0, 0], [0, 5], [3, 0], [3, 5], [1, 2]]
    np.testing.assert_array_equal(crops[:5, 0, 0], first)
    np.testing.assert_array_equal(crops[5:10], crops[:5, :, ::-1])
    np.testing.assert_array_equal(crops[10:], crops[:10] + 100)


@pytest.mark.parametrize(
    ("images", "dims", "complaint"),
    [
        ([], (2, 2), "no pictures"),
        ([np.zeros((4, 4))], (2, 2), "H x W x K"),
        ([np.zeros((4, 4, 3))], (5, 2), "does not fit"),
        ([np.zeros((4, 4, 3))], (0, 2), "crop_dims"),
        ([np.zeros((4, 4, 3)), np.zeros((5, 4, 3))], (2, 2), "number 1"),
    ],
)
def test_oversample_refuses(
    images: list[np.ndarray], dims: tuple[int, int], complaint: str
) -> None:
    with pytest.raises(caffe.ShapeError, match=complaint):
        oversample(images, dims)
