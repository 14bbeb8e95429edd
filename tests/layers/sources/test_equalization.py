"""Equalized pictures against sums done by hand."""

from __future__ import annotations

import numpy as np

from caffe.layers.sources.equalization import equalized, equalized_in_parts


def test_values_become_the_share_of_pixels_above_the_least() -> None:
    grey = np.array([[10, 10, 20], [30, 30, 250]], np.uint8)
    # Of the four that are not the darkest, 1, 3 and 4 are no brighter than these.
    expected = [[0, 0, 64], [191, 191, 255]]
    assert equalized(grey).tolist() == expected


def test_a_picture_of_one_value_stays() -> None:
    even = np.full((5, 6), 99, np.uint8)
    np.testing.assert_array_equal(equalized(even), even)


def test_parts_of_one_pixel_are_blended_from_their_neighbours() -> None:
    grey = np.random.default_rng(1).integers(0, 256, (8, 8), dtype=np.uint8)
    found = equalized_in_parts(grey, 4)
    for y, x in np.ndindex(8, 8):
        # A part of one pixel makes 255 of what is not darker than it, and 0 of the rest.
        around = [grey[max(0, y - i), max(0, x - j)] for i in (0, 1) for j in (0, 1)]
        mean = np.mean([255.0 * (grey[y, x] >= other) for other in around])
        assert found[y, x] == np.rint(mean)


def test_what_is_too_frequent_is_spread_over_all_values() -> None:
    even = np.full((128, 128), 77, np.uint8)
    # In a part of 256 pixels a value counts 4 times at most, and 252 others get one each:
    # up to 77 there are 77 + 5 of 256.
    assert set(equalized_in_parts(even, 4).ravel()) == {round(82 / 256 * 255)}


def test_sides_need_not_divide() -> None:
    grey = np.random.default_rng(2).integers(100, 130, (37, 8), dtype=np.uint8)
    found = equalized_in_parts(grey, 4)
    assert found.shape == grey.shape
    assert found.std() > grey.std()
    assert equalized_in_parts(grey[:1, :1], 4).shape == (1, 1)
