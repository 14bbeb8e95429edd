"""Pictures as OpenCV reads and resizes them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from caffe.layers.sources.bgr_pictures import (
    read_native_picture,
    read_picture,
    resize_cubic,
    resize_picture,
    resize_to_nearest,
)
from tests.helpers.sources import encoded


def test_resize_keeps_flat_pictures_flat_and_doubles_a_ramp_as_opencv() -> None:
    flat = np.full((3, 5, 7), 200, np.uint8)
    assert (resize_picture(flat, 13, 4) == 200).all()
    ramp = np.array([[[0, 100]]], np.uint8)
    assert resize_picture(ramp, 1, 4)[0, 0].tolist() == [0, 25, 75, 100]


def test_pictures_are_bgr_bytes() -> None:
    content = encoded(Image.new("RGB", (2, 1), (255, 128, 0)))
    assert read_picture(content)[:, 0, 0].tolist() == [0, 128, 255]
    assert read_picture(content, color=False).tolist() == [[[151, 151]]]


@pytest.mark.parametrize("form", ["PNG", "PPM", "TIFF"])
def test_of_sixteen_bits_the_lower_eight_are_dropped(form: str) -> None:
    deep = np.array([[0, 255, 256, 32895, 65535]], np.uint16)
    stream = io.BytesIO()
    Image.fromarray(deep).save(stream, form)
    assert read_picture(stream.getvalue())[:, 0].tolist() == [[0, 0, 1, 128, 255]] * 3


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("RGBA", 4), ("P", 3)])
def test_native_pictures_keep_their_channels(mode: str, channels: int) -> None:
    assert read_native_picture(encoded(Image.new(mode, (3, 2)))).shape == (channels, 2, 3)


def test_bicubic_keeps_flat_pictures_flat_and_overshoots_at_an_edge_as_opencv() -> None:
    flat = np.full((1, 4, 5), 77, np.uint8)
    assert (resize_cubic(flat, 9, 3) == 77).all()
    edge = np.array([[[100, 100, 100, 200, 200, 200]]], np.uint8)
    # OpenCV 5.0, INTER_CUBIC.
    assert resize_cubic(edge, 1, 12)[0, 0].tolist() == [
        *(100, 100, 100, 96, 89, 123),
        *(177, 211, 204, 200, 200, 200),
    ]


def test_the_nearest_pixel_is_the_one_in_which_a_corner_lies() -> None:
    ramp = np.arange(6, dtype=np.uint8).reshape(1, 1, 6)
    assert resize_to_nearest(ramp, 1, 4)[0, 0].tolist() == [0, 1, 3, 4]
    assert resize_to_nearest(ramp, 2, 9)[0, 1].tolist() == [0, 0, 1, 2, 2, 3, 4, 4, 5]
