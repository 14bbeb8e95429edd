"""caffe.io reads pictures as Caffe did."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import caffe
from caffe.io import load_image, pictures
from caffe.io.pictures import read_pixels
from tests.helpers.golden import assert_golden

GREY = [0.2125, 0.7154, 0.0721]


def saved(picture: Image.Image, path: Path, **options: Any) -> Path:
    picture.save(path, **options)
    return path


def random_picture(mode: str = "RGB", size: tuple[int, int] = (7, 5)) -> Image.Image:
    channels = len(Image.new(mode, (1, 1)).getbands())
    shape = (size[1], size[0], channels) if channels > 1 else (size[1], size[0])
    values = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return Image.frombytes(mode, size, values.tobytes())


def test_load_image_equals_the_original(cat: Path, pipeline: dict[str, np.ndarray]) -> None:
    image = load_image(cat)
    assert image.dtype == np.float32
    assert image.shape == tuple(pipeline["load_image_shape"])
    assert_golden(image[::8, ::8], pipeline["load_image"], "load_image")
    assert_golden(load_image(cat, color=False)[::8, ::8], pipeline["load_image_gray"], "grey")


def test_load_image_takes_paths_bytes_and_files(tmp_path: Path) -> None:
    path = saved(random_picture(), tmp_path / "a.png")
    image = load_image(path)
    assert image.shape == (5, 7, 3)
    np.testing.assert_array_equal(image, np.asarray(random_picture(), np.float32) / 255)
    np.testing.assert_array_equal(load_image(str(path)), image)
    np.testing.assert_array_equal(load_image(path.read_bytes()), image)
    with open(path, "rb") as file:
        np.testing.assert_array_equal(load_image(file), image)
        assert not file.closed


def test_pixels_are_the_stored_numbers_and_white_what_they_are_divided_by(tmp_path: Path) -> None:
    path = saved(random_picture(), tmp_path / "a.png")
    pixels, white = read_pixels(path)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, np.asarray(random_picture()))
    assert white == 255
    np.testing.assert_array_equal(load_image(path), pixels / np.float32(255))


def test_grey_picture_is_repeated_for_colour(tmp_path: Path) -> None:
    path = saved(random_picture("L"), tmp_path / "a.png")
    grey = load_image(path, color=False)
    assert grey.shape == (5, 7, 1)
    np.testing.assert_array_equal(load_image(path), np.repeat(grey, 3, axis=2))


def test_colour_picture_is_weighed_for_grey(tmp_path: Path) -> None:
    path = saved(random_picture(), tmp_path / "a.png")
    np.testing.assert_allclose(
        load_image(path, color=False)[:, :, 0], load_image(path) @ GREY, atol=1e-6
    )


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_dropped(mode: str, tmp_path: Path) -> None:
    picture = random_picture(mode)
    image = load_image(saved(picture, tmp_path / "a.png"))
    values = np.asarray(picture, np.float32)[:, :, :-1] / 255
    np.testing.assert_array_equal(image, np.broadcast_to(values, (5, 7, 3)))


@pytest.mark.parametrize("transparent", [False, True])
def test_palette_is_looked_up(transparent: bool, tmp_path: Path) -> None:
    picture = random_picture().quantize(16)
    options = {"transparency": 3} if transparent else {}
    image = load_image(saved(picture, tmp_path / "a.png", **options))
    np.testing.assert_array_equal(image, np.asarray(picture.convert("RGB"), np.float32) / 255)


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    picture = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    image = load_image(saved(picture, tmp_path / "a.tif"))
    np.testing.assert_array_equal(
        image, np.broadcast_to(np.array([1, 0, 0], np.float32), (8, 8, 3))
    )


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_sixteen_bits_span_zero_to_one(suffix: str, tmp_path: Path) -> None:
    values = np.array([[0, 1, 256], [32768, 65534, 65535]], dtype=np.uint16)
    image = load_image(saved(Image.fromarray(values), tmp_path / f"a.{suffix}"), color=False)
    np.testing.assert_allclose(image[:, :, 0], values / 65535, atol=1e-7)


def test_one_bit_picture_is_black_and_white(tmp_path: Path) -> None:
    values = np.array([[True, False], [False, True]])
    image = load_image(saved(Image.fromarray(values), tmp_path / "a.png"))
    np.testing.assert_array_equal(image, np.repeat(values[:, :, None], 3, axis=2))


def test_exif_orientation_is_not_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    assert load_image(saved(random_picture(), tmp_path / "a.jpg", exif=exif)).shape == (5, 7, 3)


def not_a_picture(folder: Path, kind: str) -> Path:
    path = folder / f"{kind}.jpg"
    if kind == "truncated":
        stream = io.BytesIO()
        random_picture(size=(64, 64)).save(stream, "JPEG")
        path.write_bytes(stream.getvalue()[:700])
    elif kind == "text":
        path.write_text("no picture at all\n")
    elif kind == "directory":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    elif kind == "pipe":
        os.mkfifo(path)
    return path


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        ("truncated", "cannot be read"),
        ("text", "not a picture"),
        ("empty", "not a picture"),
        ("directory", "a directory"),
        ("missing", "no such file"),
        pytest.param(
            "pipe",
            "not a regular file",
            marks=pytest.mark.skipif(sys.platform == "win32", reason="no named pipes"),
        ),
    ],
)
def test_what_is_no_picture_is_named(kind: str, complaint: str, tmp_path: Path) -> None:
    path = not_a_picture(tmp_path, kind)
    with pytest.raises(caffe.ImageError, match=complaint) as caught:
        load_image(path)
    assert str(path) in str(caught.value)


def test_bytes_that_are_no_picture() -> None:
    with pytest.raises(caffe.ImageError, match="<7 bytes>"):
        load_image(b"nothing")
    with pytest.raises(caffe.ImageError, match="neither a path"):
        load_image(42)  # type: ignore[arg-type]


FOREIGN = {
    "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n{} loop\n",
    "PDF": b"%PDF-1.4\n",
    "WMF": b"\xd7\xcd\xc6\x9a\x00\x00" + bytes(40),
    "PSD": b"8BPS\x00\x01" + bytes(40),
}


@pytest.mark.parametrize("form", FOREIGN)
def test_formats_that_are_programs_are_refused_by_name(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ghostscript = tmp_path / "gs"
    ghostscript.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    path = tmp_path / "cat.jpg"
    path.write_bytes(FOREIGN[form])
    for source in (path, FOREIGN[form], io.BytesIO(FOREIGN[form])):
        with pytest.raises(caffe.ImageError, match=f"this is {form}, which is not read"):
            load_image(source)
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "LA", "RGBA", "CMYK", "I;16", "I", "F", "1"])
@pytest.mark.parametrize("color", [True, False])
def test_large_pictures_are_unpacked_in_bands(
    mode: str, color: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.BytesIO()
    form = "TIFF" if mode in ("CMYK", "I", "F") else "PNG"
    noise = random_picture("RGB", (9, 13))
    picture = (
        noise.convert("L").convert(mode) if mode in ("I;16", "I", "F") else noise.convert(mode)
    )
    picture.save(stream, form)
    whole, white = read_pixels(stream.getvalue(), color)
    monkeypatch.setattr("caffe.io.pictures._BAND", 20)
    bands, same_white = read_pixels(stream.getvalue(), color)
    assert bands.dtype == whole.dtype
    assert same_white == white
    np.testing.assert_array_equal(bands, whole)


@pytest.mark.parametrize("limit", [30, 5])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_decompression_bomb_is_refused(
    limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(random_picture(), tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(caffe.ImageError, match=r"bomb\.png: too large .*MAX_IMAGE_PIXELS"):
        load_image(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert load_image(path).shape == (5, 7, 3)


def test_the_first_animation_is_told_of_and_its_first_frame_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "_told", [])
    frames = [Image.new("RGB", (4, 2), color) for color in ("red", "blue")]
    still = tmp_path / "still.gif"
    frames[0].save(still)
    assert load_image(still)[0, 0].tolist() == [1, 0, 0]
    for number, ending in enumerate(("gif", "png", "webp")):
        path = tmp_path / f"moving.{ending}"
        frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)
        if number == 0:
            with pytest.warns(caffe.CaffeWarning, match=r"moving\.gif.*first frame"):
                image = load_image(path)
        else:
            image = load_image(path)
        assert image[0, 0].tolist() == [1, 0, 0]
