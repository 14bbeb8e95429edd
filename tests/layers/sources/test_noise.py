"""SSD's noise_param: each field, their order, chance, and what is refused."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import caffe
from caffe.errors import CaffeError, CaffeWarning, NetError, ShapeError
from caffe.layers.sources.color_spaces import to_hsv
from caffe.layers.sources.data_transformer import DataTransformer
from caffe.layers.sources.equalization import equalized, equalized_in_parts
from caffe.layers.sources.noise import Noise
from caffe.proto.caffe_pb2 import NoiseParameter, TransformationParameter
from caffe.proto.text import parse_text
from tests.helpers.sources import save_picture, source

COLOR = np.random.default_rng(0).integers(0, 256, (3, 16, 24), dtype=np.uint8)
GREY = COLOR[:1]


def noisy(text: str, picture: np.ndarray = COLOR, seed: int = 1) -> np.ndarray:
    return Noise(parse_text(text, NoiseParameter()))(picture, np.random.default_rng(seed))


def jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def test_nothing_asked_nothing_done() -> None:
    assert noisy("") is COLOR
    np.testing.assert_array_equal(noisy("hist_eq: false jpeg: -1"), COLOR)


def test_values_are_inverted_and_posterized() -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    np.testing.assert_array_equal(noisy("inverse: true", ramp), ramp[:, ::-1, ::-1])
    steps = np.repeat([32, 96, 160, 224], 64).reshape(1, 16, 16)
    np.testing.assert_array_equal(noisy("posterize: true", ramp), steps)


def test_without_colour_all_channels_are_the_brightness() -> None:
    found = noisy("decolorize: true")
    blue, green, red = COLOR.astype(float)
    grey = 0.114 * blue + 0.587 * green + 0.299 * red
    assert np.abs(found - grey).max() <= 0.51
    assert found.shape == COLOR.shape
    np.testing.assert_array_equal(noisy("decolorize: true", GREY), GREY)


def test_erosion_lets_the_dark_grow_by_a_cross() -> None:
    picture = np.full((1, 5, 5), 200, np.uint8)
    picture[0, 2, 2], picture[0, 0, 4] = 7, 9
    expected = picture.copy()
    expected[0, [1, 3, 2, 2], [2, 2, 1, 3]] = 7
    expected[0, [0, 1], [3, 4]] = 9
    np.testing.assert_array_equal(noisy("erode: true", picture), expected)


def test_a_jpeg_of_that_quality_lies_between() -> None:
    rgb = np.ascontiguousarray(COLOR[::-1].transpose(1, 2, 0))
    expected = jpeg(rgb, 30).transpose(2, 0, 1)[::-1]
    np.testing.assert_array_equal(noisy("jpeg: 30"), expected)
    np.testing.assert_array_equal(noisy("jpeg: 30", GREY)[0], jpeg(GREY[0], 30))


def test_equalizing_is_of_the_brightness() -> None:
    np.testing.assert_array_equal(noisy("hist_eq: true", GREY)[0], equalized(GREY[0]))
    np.testing.assert_array_equal(noisy("clahe: true", GREY)[0], equalized_in_parts(GREY[0], 4))
    # Without colour it is the grey values; with it, blue minus green and the like stay.
    even = np.repeat(GREY, 3, 0)
    np.testing.assert_array_equal(noisy("hist_eq: true", even)[1], equalized(GREY[0]))
    dull = np.stack([GREY[0] // 8 + 130, GREY[0] // 8 + 100, GREY[0] // 8 + 110])
    wide = noisy("hist_eq: true", dull).astype(int)
    inside = (wide > 0).all(0) & (wide < 255).all(0)
    assert inside.sum() > 100
    assert np.abs((wide[0] - wide[1])[inside] - 30).max() <= 2


def test_salt_lies_on_that_part_of_the_pixels() -> None:
    text = "saltpepper: true saltpepper_param { fraction: 0.25 value: [1, 2, 3] }"
    found = noisy(text)
    changed = (found == np.array([1, 2, 3])[:, None, None]).all(0)
    np.testing.assert_array_equal(found[:, ~changed], COLOR[:, ~changed])
    # A quarter is drawn, some of it twice.
    assert 0.75 * 96 < changed.sum() <= 96
    np.testing.assert_array_equal(found, noisy(text))
    assert (found != noisy(text, seed=2)).any()
    one = noisy("saltpepper: true saltpepper_param { fraction: 1 value: 255 }", GREY)
    assert (one == 255).mean() > 0.5


@pytest.mark.parametrize(
    ("text", "first", "second"),
    [
        # The text's order does not count.
        ("inverse: true posterize: true", "posterize: true", "inverse: true"),
        ("inverse: true erode: true", "erode: true", "inverse: true"),
        ("posterize: true erode: true jpeg: 20", "jpeg: 20", "posterize: true erode: true"),
        ("clahe: true hist_eq: true", "hist_eq: true", "clahe: true"),
        ("hist_eq: true gauss_blur: true", "gauss_blur: true", "hist_eq: true"),
        ("gauss_blur: true decolorize: true", "decolorize: true", "gauss_blur: true"),
        ("jpeg: 20 clahe: true", "clahe: true", "jpeg: 20"),
        ("convert_to_hsv: true inverse: true", "inverse: true", "convert_to_hsv: true"),
    ],
)
def test_the_order_is_ssds(text: str, first: str, second: str) -> None:
    np.testing.assert_array_equal(noisy(text), noisy(second, noisy(first)))
    if "decolorize" not in text:
        assert (noisy(text) != noisy(first, noisy(second))).any()


def test_salt_is_neither_inverted_nor_eroded_but_becomes_hsv() -> None:
    salt = "saltpepper: true saltpepper_param { fraction: 1 value: 255 }"
    found = noisy(f"{salt} inverse: true erode: true convert_to_hsv: true")
    salted = noisy(salt, noisy("inverse: true erode: true"))
    np.testing.assert_array_equal(found, to_hsv(salted))


@pytest.mark.parametrize(("text", "share"), [("", 1), ("prob: 0", 0), ("prob: 0.3", 0.3)])
def test_it_is_done_as_often_as_is_said(text: str, share: float) -> None:
    made = Noise(parse_text(f"inverse: true {text}", NoiseParameter()))
    random = np.random.default_rng(0)
    done = [bool((made(GREY, random) != GREY).any()) for _ in range(300)]
    assert np.mean(done) == pytest.approx(share, abs=0.08)


@pytest.mark.parametrize("phase", [caffe.TRAIN, caffe.TEST])
def test_it_stands_between_resizing_and_the_crop(phase: int) -> None:
    text = """crop_size: 6 mean_value: 10 scale: 0.5 noise_param { gauss_blur: true inverse: true }
        resize_param { height: 8 width: 12 interp_mode: NEAREST }"""
    caffe.set_random_seed(1)
    found = DataTransformer(parse_text(text, TransformationParameter()), phase)(COLOR)
    whole = (noisy("gauss_blur: true inverse: true", COLOR[:, ::2, ::2]).astype(float) - 10) / 2
    crops = [whole[:, y : y + 6, x : x + 6] for y in range(3) for x in range(7)]
    assert any((crop == found).all() for crop in crops)
    assert phase == caffe.TRAIN or (crops[7 + 3] == found).all()


def test_it_stands_behind_distort_param() -> None:
    text = """distort_param { brightness_prob: 1 brightness_delta: 0 contrast_prob: 1
        contrast_lower: 0.5 contrast_upper: 0.5 } noise_param { inverse: true }"""
    made = DataTransformer(parse_text(text, TransformationParameter()), caffe.TRAIN)
    np.testing.assert_array_equal(made(COLOR), 255 - np.rint(COLOR / 2))


def image_net(folder: Path, noise: str, grey: bool = False, seed: int = 3) -> caffe.Net:
    (folder / "list.txt").write_text("a.png 1\n")
    caffe.set_random_seed(seed)
    return source(
        f'type: "ImageData" image_data_param {{ source: "{folder}/list.txt" '
        f'root_folder: "{folder}/" batch_size: 2 is_color: {str(not grey).lower()} }} '
        f"transform_param {{ noise_param {{ {noise} }} }}"
    )


SALT = "saltpepper: true saltpepper_param { fraction: 0.3 value: 255 } prob: 0.5"


def test_nets_repeat_it_with_the_seed(tmp_path: Path) -> None:
    save_picture(tmp_path / "a.png", COLOR.transpose(1, 2, 0))
    runs = []
    for seed in (3, 3, 4):
        net = image_net(tmp_path, SALT, seed=seed)
        runs.append([net.forward()["data"].copy() for _ in range(6)])
    np.testing.assert_array_equal(runs[0], runs[1])
    assert (np.array(runs[0]) != runs[2]).any()


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        ("prob: 1.5", "noise_param.prob must be from 0 to 1, not 1.5"),
        ("prob: nan", "noise_param.prob must be from 0 to 1"),
        ("jpeg: 101", "noise_param.jpeg is a quality from 1 to 100, not 101"),
        ("jpeg: 0.9", "noise_param.jpeg is a quality"),
        ("jpeg: nan", "noise_param.jpeg is a quality"),
        ("saltpepper: true", "noise_param.saltpepper needs saltpepper_param"),
        ("saltpepper_param { fraction: 2 value: 1 }", "saltpepper_param.fraction must be"),
        ("saltpepper_param { fraction: nan }", "saltpepper_param.fraction must be"),
        ("saltpepper_param { value: 256 }", "saltpepper_param.value must be from 0 to 255"),
    ],
)
def test_bad_values_name_the_layer_and_the_field(tmp_path: Path, noise: str, message: str) -> None:
    save_picture(tmp_path / "a.png", COLOR.transpose(1, 2, 0))
    with pytest.raises(NetError, match=rf"layer 'in' \(ImageData\).*{re.escape(message)}"):
        image_net(tmp_path, noise)


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        ("convert_to_hsv: true", "noise_param.convert_to_hsv needs a picture in colour"),
        ("convert_to_lab: true", "noise_param.convert_to_lab needs a picture in colour"),
        (
            "saltpepper: true saltpepper_param { value: [1, 2, 3] }",
            "saltpepper_param has 3 values for a picture of 1 channels",
        ),
    ],
)
def test_grey_pictures_have_no_colours(tmp_path: Path, noise: str, message: str) -> None:
    save_picture(tmp_path / "a.png", COLOR.transpose(1, 2, 0))
    net = image_net(tmp_path, noise, grey=True)
    with pytest.raises(CaffeError, match=rf"layer 'in' \(ImageData\).*a\.png.*{message}"):
        net.forward()


def test_other_than_grey_and_colour_is_refused() -> None:
    with pytest.raises(ShapeError, match="not for 4 channels"):
        noisy("inverse: true", np.zeros((4, 3, 3), np.uint8))
    with pytest.raises(ShapeError, match="bytes, not of floats"):
        noisy("inverse: true", COLOR.astype(np.float32))


def test_salt_that_is_not_switched_on_is_told_of() -> None:
    with pytest.warns(CaffeWarning, match="nothing without saltpepper: true"):
        np.testing.assert_array_equal(noisy("saltpepper_param { fraction: 1 value: 0 }"), COLOR)
