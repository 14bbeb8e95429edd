"""Blurs, on pictures whose means and medians are known."""

from __future__ import annotations

import numpy as np
import pytest

from caffe.layers.sources.blurring import box, gauss, median


def test_a_gauss_spreads_one_pixel_by_its_weights() -> None:
    picture = np.zeros((1, 9, 9), np.uint8)
    picture[0, 4, 4] = 255
    bell = np.exp(-(np.arange(-3, 4) ** 2) / (2 * 1.5**2))
    bell /= bell.sum()
    expected = np.zeros((9, 9))
    expected[1:8, 1:8] = np.rint(255 * np.outer(bell, bell))
    np.testing.assert_array_equal(gauss(picture, 7, 1.5)[0], expected)


@pytest.mark.parametrize("blur", [lambda p: gauss(p, 7, 1.5), lambda p: box(p, 6)])
def test_even_pictures_of_any_size_stay(blur: object) -> None:
    for size in ((1, 1), (1, 9), (3, 2), (20, 30)):
        even = np.full((3, *size), 77, np.uint8)
        np.testing.assert_array_equal(blur(even), even)  # type: ignore[operator]


def test_a_box_is_a_mean_with_the_mirror_picture_beyond_the_border() -> None:
    picture = np.array([[[0, 30, 90, 240]]], np.uint8)
    assert box(picture, 3).tolist() == [[[20, 40, 120, 140]]]


def test_a_median_takes_the_middle_one() -> None:
    picture = np.array([[[1, 2, 3], [4, 200, 6], [7, 8, 9]]], np.uint8)
    assert median(picture, 3)[0, 1, 1] == 6
    assert median(picture, 1) is picture
