"""Every form of a picture gives the same numbers."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from caffe.errors import ArgumentError, FetchError, ImageError, ShapeError
from caffe.io.given import is_one_picture, name_of, read_given, several

PIXELS = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)


def numbers(picture: Any, color: bool = True) -> np.ndarray:
    pixels, white = read_given(picture, color)
    return np.divide(pixels, white, dtype=np.float32)


def test_every_form_of_a_picture_gives_the_same_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(PIXELS).save(path)
    with_alpha = np.dstack([PIXELS, np.full((5, 7), 9, np.uint8)])
    forms = [
        path,
        str(path),
        path.read_bytes(),
        io.BytesIO(path.read_bytes()),
        Image.open(path),
        Image.fromarray(PIXELS),
        PIXELS,
        PIXELS / 255.0,
        with_alpha,
        PIXELS.astype(np.uint16) * 257,
    ]
    for form in forms:
        assert is_one_picture(form)
        np.testing.assert_allclose(numbers(form), PIXELS / np.float32(255), atol=1e-7)
        np.testing.assert_allclose(
            numbers(form, color=False), numbers(PIXELS, color=False), atol=1e-6
        )


def test_a_grey_array_may_have_two_axes_or_three() -> None:
    grey = PIXELS[:, :, 0]
    assert numbers(grey).shape == (5, 7, 3)
    assert numbers(grey[:, :, None], color=False).shape == (5, 7, 1)


@pytest.mark.parametrize(
    ("picture", "error", "told"),
    [
        (np.zeros((2, 5, 7, 3)), ShapeError, "H x W x 3"),
        (np.zeros((5, 7, 2)), ShapeError, "H x W x 3"),
        (np.zeros((0, 7, 3)), ShapeError, "H x W x 3"),
        (np.zeros((5, 7, 3), np.int64), ImageError, "int64"),
        (3, ImageError, "neither a path"),
        ("ftp://x/y.png", FetchError, "only http"),
    ],
)
def test_what_is_no_picture_is_told(picture: Any, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        read_given(picture)


def test_a_damaged_picture_of_pillows_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "half.png"
    Image.effect_noise((64, 64), 50).save(path)
    path.write_bytes(path.read_bytes()[:1000])
    with Image.open(path) as opened, pytest.raises(ImageError, match=r"half\.png"):
        read_given(opened)


def test_several_are_told_from_one() -> None:
    assert list(several("a.png")) == ["a.png"]
    assert list(several(["a.png", "b.png"])) == ["a.png", "b.png"]
    assert len(list(several(np.zeros((2, 5, 7, 3))))) == 2
    with pytest.raises(ArgumentError, match="a picture, or several"):
        several(3)  # type: ignore[arg-type]


def test_the_name_is_known_of_files_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(PIXELS).save(path)
    assert name_of(path) == str(path)
    with Image.open(path) as opened, open(path, "rb") as file:
        assert name_of(opened) == name_of(file) == str(path)
    assert name_of(path.read_bytes()) is None
    assert name_of(PIXELS) is None
