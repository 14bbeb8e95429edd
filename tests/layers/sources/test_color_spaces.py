"""Colours in other spaces, as OpenCV writes them in bytes."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest

from caffe.layers.sources.color_spaces import from_ycrcb, to_hsv, to_lab, to_ycrcb

RANDOM = np.random.default_rng(0).integers(0, 256, (3, 20, 30), dtype=np.uint8)


def pixel(*values: int) -> np.ndarray:
    return np.array(values, np.uint8).reshape(3, 1, 1)


@pytest.mark.parametrize(
    ("bgr", "hsv", "ycrcb", "lab"),
    [
        ((0, 0, 255), (0, 255, 255), (76, 255, 85), (136, 208, 195)),
        ((0, 255, 0), (60, 255, 255), (150, 21, 43), (224, 42, 211)),
        ((255, 0, 0), (120, 255, 255), (29, 107, 255), (82, 207, 20)),
        ((255, 255, 255), (0, 0, 255), (255, 128, 128), (255, 128, 128)),
        ((0, 0, 0), (0, 0, 0), (0, 128, 128), (0, 128, 128)),
        # The hue of what leans from red to blue is below 0 before 180 are added.
        ((128, 0, 255), (165, 255, 255), (91, 245, 149), (140, 212, 132)),
    ],
)
def test_colours_have_opencvs_numbers(
    bgr: tuple[int, ...], hsv: tuple[int, ...], ycrcb: tuple[int, ...], lab: tuple[int, ...]
) -> None:
    picture = pixel(*bgr)
    assert tuple(to_hsv(picture).ravel().tolist()) == hsv
    assert tuple(to_ycrcb(picture).ravel().tolist()) == ycrcb
    # OpenCV's own tables for Lab are a step off in places.
    assert np.abs(to_lab(picture).ravel().astype(int) - lab).max() <= 1


def test_hue_is_half_the_angle_of_colorsys() -> None:
    for place in np.ndindex(RANDOM.shape[1:]):
        blue, green, red = RANDOM[:, place[0], place[1]] / 255
        hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
        found = to_hsv(RANDOM)[:, place[0], place[1]].astype(int)
        apart = abs(found[0] - hue * 180)
        assert min(apart, 180 - apart) <= 0.55
        assert abs(found[1] - saturation * 255) <= 0.51
        assert found[2] == round(value * 255)


def test_brightness_and_differences_lead_back_to_the_colours() -> None:
    mild = RANDOM // 2 + 60
    back = from_ycrcb(to_ycrcb(mild)).astype(int)
    assert np.abs(back - mild).max() <= 2
