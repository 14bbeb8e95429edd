"""Resizing by chance, as NVIDIA's fork has it."""

from __future__ import annotations

import numpy as np
import pytest

import caffe
from caffe.errors import NetError
from caffe.layers.sources.bgr_pictures import resize_cubic, resize_to_nearest
from caffe.layers.sources.data_transformer import DataTransformer
from caffe.layers.sources.random_resize import RandomResize
from caffe.proto.caffe_pb2 import TransformationParameter
from caffe.proto.text import parse_text

PICTURE = np.random.default_rng(0).integers(0, 256, (3, 12, 18), dtype=np.uint8)


def resizing(text: str, seed: int = 1) -> RandomResize:
    param = parse_text(text, TransformationParameter())
    return RandomResize(param, np.random.default_rng(seed))


def sizes(text: str, picture: np.ndarray = PICTURE) -> set[tuple[int, int]]:
    made = resizing(text)
    return {made(picture).shape[1:] for _ in range(120)}


def test_the_shorter_side_is_drawn_and_the_proportions_stay() -> None:
    assert sizes("img_rand_resize_lower: 4 img_rand_resize_upper: 6") == {(4, 6), (5, 8), (6, 9)}


def test_pictures_become_larger_only_where_that_is_allowed() -> None:
    text = "img_rand_resize_lower: 24 img_rand_resize_upper: 24"
    assert sizes(text) == {(12, 18)}
    assert sizes(f"{text} allow_upscale: true") == {(24, 36)}
    # Up to what it was, in each direction.
    assert sizes(f"{text} vertical_stretch_lower: 0.25 vertical_stretch_upper: 0.25") == {(6, 18)}


def test_the_longer_side_is_so_many_times_the_shorter() -> None:
    text = "rand_resize_ratio_lower: 1 rand_resize_ratio_upper: 1.25"
    found = sizes(text)
    assert {size[0] for size in found} == {12}
    assert {size[1] for size in found} == {12, 13, 14, 15}
    square = sizes(f"{text} allow_upscale: true", PICTURE[:, :, :12])
    assert (12, 15) in square
    assert (15, 12) in square
    assert all(12 in size for size in square)
    # Below 1 it does nothing, as there.
    assert sizes("rand_resize_ratio_lower: 0.5 rand_resize_ratio_upper: 0.9") == {(12, 18)}


def test_sides_are_stretched_each_by_itself() -> None:
    found = sizes(
        "vertical_stretch_lower: 0.5 vertical_stretch_upper: 1 "
        "horizontal_stretch_lower: 0.5 horizontal_stretch_upper: 0.75"
    )
    assert {size[0] for size in found} == {6, 7, 8, 9, 10, 11, 12}
    assert {size[1] for size in found} == {9, 10, 11, 12, 13}


def test_no_side_is_below_the_crop() -> None:
    text = "img_rand_resize_lower: 2 img_rand_resize_upper: 2 crop_size: 8"
    assert sizes(text) == {(8, 8)}
    param = parse_text(text, TransformationParameter())
    assert DataTransformer(param, caffe.TEST)(PICTURE).shape == (3, 8, 8)


def test_smaller_and_larger_pictures_are_made_in_ways_of_their_own() -> None:
    smaller = resizing("img_rand_resize_lower: 6 img_rand_resize_upper: 6")
    np.testing.assert_array_equal(smaller(PICTURE), resize_to_nearest(PICTURE, 6, 9))
    np.testing.assert_array_equal(smaller(PICTURE), PICTURE[:, ::2, ::2])
    larger = resizing("img_rand_resize_lower: 24 img_rand_resize_upper: 24 allow_upscale: true")
    np.testing.assert_array_equal(larger(PICTURE), resize_cubic(PICTURE, 24, 36))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("img_rand_resize_lower: 9 img_rand_resize_upper: 5", "cannot be from 9 to 5"),
        ("img_rand_resize_upper: 5", "cannot be from 0 to 5"),
        ("vertical_stretch_lower: 2", "vertical_stretch_lower must be above 0 and not above"),
        ("horizontal_stretch_upper: 0.5", "horizontal_stretch_lower must be above 0"),
        ("rand_resize_ratio_upper: 2", "rand_resize_ratio_lower must be above 0"),
    ],
)
def test_limits_in_no_order_are_refused(text: str, message: str) -> None:
    with pytest.raises(NetError, match=message):
        resizing(text)
