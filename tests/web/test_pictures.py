"""Pictures that strangers send: upright, and measured before they are unpacked."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from caffe.web.pictures import read_sent_picture
from caffe.web.refusals import Refusal


def encoded(picture: Image.Image, form: str, orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    picture.save(stream, form, exif=exif)
    return stream.getvalue()


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(10))
def test_pictures_are_turned_upright(orientation: int, form: str) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (5, 7, 3), np.uint8)
    content = encoded(Image.fromarray(noise), form, orientation)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))
    found = read_sent_picture(content, 100).pixels
    np.testing.assert_array_equal(found, expected)
    assert found.flags.c_contiguous


@pytest.mark.parametrize(("mode", "most"), [("L", 100), ("RGB", 100), ("I;16", 200), ("F", 400)])
def test_numbers_of_more_bits_count_more(mode: str, most: int) -> None:
    content = encoded(Image.new(mode, (10, 10)), "TIFF")
    assert read_sent_picture(content, most).pixels.shape[:2] == (10, 10)
    with pytest.raises(Refusal, match="counts twice") as caught:
        read_sent_picture(content, most - 1)
    assert caught.value.code == "too_many_pixels"
