"""The record of how a picture goes in: what it makes of pixels, its reasons, and its words.

What pixels become is worked out here in NumPy from the published rules, and compared bit by bit.
"""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import caffe
from caffe.errors import CaffeError, ShapeError
from caffe.io import oversample, resize_image
from caffe.io.pictures import GREY_WEIGHTS
from caffe.io.recipe import LETTERBOX, SHORTER_SIDE, PictureRecipe
from caffe.io.transformer import Transformer, recipe_of, transformer_of

F = np.float32
MEAN = (104.0, 117.0, 123.0)
SSD = PictureRecipe(MEAN, input_scale=0.017, image_dims=(30, 40), crop=None)


def pixels(*size: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (*size, channels), dtype=np.uint8)


def units(*size: int, channels: int = 3) -> np.ndarray:
    return pixels(*size, channels=channels) / F(255)


def values(crop: np.ndarray, mean: Any, scale: float) -> np.ndarray:
    """What BGR nets of 0 to 255 take of an RGB crop of 0 to 1."""
    return ((crop[:, :, ::-1] * F(255) - np.array(mean, F)) * F(scale)).transpose(2, 0, 1)


def files(folder: Path, channels: int = 3, height: int = 8, width: int = 6) -> tuple[Path, Path]:
    """A net that takes pictures of this size: its prototxt and its caffemodel."""
    model, weights = folder / "net.prototxt", folder / "net.caffemodel"
    model.write_text(
        'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 '
        f"dim: {channels} dim: {height} dim: {width} }} }} }}\n"
        'layer { name: "mean" type: "Pooling" bottom: "data" top: "mean"\n'
        "        pooling_param { pool: AVE global_pooling: true } }"
    )
    caffe.Net(model, caffe.TEST).save(weights)
    return model, weights


# What becomes of pixels.


def test_the_middle_of_a_stretched_picture_becomes_the_nets_values() -> None:
    picture = units(20, 30)
    recipe = PictureRecipe(MEAN, input_scale=0.5, image_dims=(13, 11), crop=(8, 6))
    crop = resize_image(picture, (13, 11))[2:10, 2:8]
    np.testing.assert_array_equal(recipe.apply(picture), [values(crop, MEAN, 0.5)])


def test_ten_crops_are_those_of_oversample() -> None:
    picture = units(20, 30)
    recipe = PictureRecipe(MEAN, image_dims=(13, 11), crop=(8, 6))
    crops = oversample([resize_image(picture, (13, 11))], (8, 6))
    expected = [values(crop, MEAN, 1) for crop in crops]
    np.testing.assert_array_equal(recipe.apply(picture, oversample=True), expected)


def test_bytes_are_divided_once_they_are_resized() -> None:
    picture = pixels(20, 30)
    crop = resize_image(picture, (30, 40)) / F(255)
    found = SSD.apply(picture, white=255)
    np.testing.assert_array_equal(found, [values(crop, MEAN, 0.017)])


def test_a_picture_of_the_right_size_is_taken_as_it_is() -> None:
    picture = units(30, 40)
    before = picture.copy()
    np.testing.assert_array_equal(SSD.apply(picture), [values(picture, MEAN, 0.017)])
    SSD.apply(picture, white=2.0)
    np.testing.assert_array_equal(picture, before)


def test_a_letterbox_has_grey_bars_and_says_where_the_picture_lies() -> None:
    picture = units(60, 40)
    recipe = replace(SSD, fit=LETTERBOX)
    canvas = np.full((30, 40, 3), 0.5, F)
    canvas[:, 10:30] = resize_image(picture, (30, 20))
    np.testing.assert_array_equal(recipe.apply(picture), [values(canvas, MEAN, 0.017)])
    frame = recipe.frame(60, 40)
    assert (frame.scale, frame.offset, frame.size) == ((0.5, 0.5), (10, 0), (40, 60))
    np.testing.assert_array_equal(frame.back(np.array([[10, 0, 30, 30]], F)), [[0, 0, 40, 60]])


@pytest.mark.parametrize(
    ("size", "brought"),
    [((50, 100), (30, 60)), ((100, 50), (60, 30)), ((20, 200), (8, 80)), ((10, 10), (30, 30))],
)
def test_the_shorter_side_is_brought_to_its_length_unless_the_longer_grows_too_long(
    size: tuple[int, int], brought: tuple[int, int]
) -> None:
    picture = units(*size)
    recipe = replace(SSD, image_dims=(30, 80), fit=SHORTER_SIDE)
    expected = values(resize_image(picture, brought), MEAN, 0.017)
    np.testing.assert_array_equal(recipe.apply(picture), [expected])


def test_a_net_of_one_channel_takes_grey_pictures_and_makes_others_grey() -> None:
    recipe = PictureRecipe((7.0,), None, input_scale=0.5, image_dims=(9, 9), crop=None, channels=1)
    grey, colour = units(20, 30, channels=1), units(20, 30)
    for picture, seen in ((grey, grey), (colour, (colour @ GREY_WEIGHTS)[:, :, None])):
        expected = ((resize_image(seen, (9, 9)) * F(255) - F(7)) * F(0.5)).transpose(2, 0, 1)
        np.testing.assert_array_equal(recipe.apply(picture), [expected])


def test_rgb_without_a_mean_or_scales_is_the_picture() -> None:
    picture = units(8, 6)
    recipe = PictureRecipe(None, None, None, image_dims=(8, 6), crop=None)
    np.testing.assert_array_equal(recipe.apply(picture), [picture.transpose(2, 0, 1)])


def test_a_mean_picture_is_resized_to_the_crop() -> None:
    mean = units(3, 13, channels=11) * F(255)
    recipe = PictureRecipe(mean, None, image_dims=(13, 11), crop=(8, 6))
    crop = resize_image(units(20, 30), (13, 11))[2:10, 2:8]
    resized = resize_image(mean.transpose(1, 2, 0), (8, 6))
    expected = (crop * F(255) - resized).transpose(2, 0, 1)
    np.testing.assert_array_equal(recipe.apply(units(20, 30)), [expected])


# One record, whoever uses it.


@pytest.mark.parametrize("ten", [True, False])
@pytest.mark.parametrize("white", [1, 255])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mean": np.array(MEAN), "raw_scale": 255, "channel_swap": (2, 1, 0)},
        {"mean": units(3, 13, channels=11) * 255, "input_scale": np.float64(0.017)},
        {"image_dims": np.array([13, 11]), "raw_scale": 4, "input_scale": 0.3},
    ],
)
def test_a_classifiers_recipe_does_what_the_classifier_does(
    tmp_path: Path, options: dict[str, Any], white: int, ten: bool
) -> None:
    classifier = caffe.Classifier(*files(tmp_path), **options)
    picture = pixels(20, 30) if white == 255 else units(20, 30)
    expected = classifier.prepare(picture, ten, white)
    np.testing.assert_array_equal(classifier.recipe.apply(picture, ten, white), expected)
    # In another process there is the record alone.
    sent = pickle.loads(pickle.dumps(classifier.recipe))
    np.testing.assert_array_equal(sent.apply(picture, ten, white), expected)
    other = caffe.Classifier(*files(tmp_path))
    other.recipe = sent
    np.testing.assert_array_equal(other.prepare(picture, ten, white), expected)


def test_what_is_set_on_the_transformer_is_in_the_recipe(tmp_path: Path) -> None:
    classifier = caffe.Classifier(*files(tmp_path), raw_scale=255, channel_swap=(2, 1, 0))
    assert classifier.recipe.reasons["channel_swap"] == "as said"
    classifier.transformer.set_mean("data", np.array(MEAN))
    classifier.transformer.set_channel_swap("data", (0, 2, 1))
    classifier.image_dims = np.array([13, 11])
    recipe = classifier.recipe
    assert (recipe.mean, recipe.channel_swap, recipe.image_dims) == (MEAN, (0, 2, 1), (13, 11))
    picture = units(20, 30)
    np.testing.assert_array_equal(recipe.apply(picture), classifier.prepare(picture, False))
    told = "set on the transformer"
    assert {name for name, why in recipe.reasons.items() if why == told} == {
        "mean",
        "channel_swap",
        "image_dims",
    }
    assert recipe.reasons["raw_scale"] == "as said"


def test_a_transformer_is_made_of_a_recipe_and_gives_it_back() -> None:
    recipe = PictureRecipe(MEAN, input_scale=0.5, image_dims=(8, 6), crop=(8, 6))
    transformer = transformer_of(recipe, "data", (10, 3, 8, 6))
    assert recipe_of(transformer, "data") == recipe
    picture = units(20, 30)
    np.testing.assert_array_equal(transformer.preprocess("data", picture), recipe.apply(picture)[0])
    with pytest.raises(CaffeError, match=r"'data'.*transpose of \(2, 0, 1\), not None"):
        recipe_of(Transformer({"data": (10, 3, 8, 6)}), "data")


def test_a_classifier_stretches_and_takes_no_other_recipe(tmp_path: Path) -> None:
    classifier = caffe.Classifier(*files(tmp_path))
    with pytest.raises(CaffeError, match=r"stretches pictures.*letterbox"):
        classifier.recipe = replace(SSD, fit=LETTERBOX)


# The record itself.


def test_a_record_is_frozen_equal_by_its_values_and_can_be_sent() -> None:
    mean = units(3, 13, channels=11)
    recipe = PictureRecipe(mean, image_dims=np.array([9, 9]), reasons={"mean": "a file"})  # type: ignore[arg-type]
    with pytest.raises(FrozenInstanceError):
        recipe.fit = LETTERBOX  # type: ignore[misc]
    mean[:] = 0
    for record in (recipe, pickle.loads(pickle.dumps(recipe))):
        assert isinstance(record.mean, np.ndarray)
        assert record.mean.min() < record.mean.max()
        with pytest.raises(ValueError, match="read-only"):
            record.mean[:] = 0
        assert record == recipe
        assert hash(record) == hash(recipe)
        assert record.reasons == {"mean": "a file"}
    assert recipe.because("another reason") == recipe
    assert recipe != replace(recipe, mean=MEAN)
    assert recipe != replace(recipe, input_scale=0.5)
    assert recipe != "bgr"


def test_every_value_has_its_reason() -> None:
    recipe = PictureRecipe(None, image_dims=None, crop=None).because("Caffe's usual")
    assert recipe.why == "Caffe's usual"
    recipe = recipe.changed("from mean.npy", mean=MEAN).for_input((1, 3, 8, 6))
    assert recipe.why == (
        "order and raw scale: Caffe's usual; mean: from mean.npy; size and crop: the net's input"
    )
    assert (recipe.image_dims, recipe.crop, recipe.channels) == ((8, 6), (8, 6), 3)


def test_a_size_that_is_said_goes_before_the_inputs() -> None:
    recipe = PictureRecipe(None, image_dims=(13, 11)).because("as said").for_input((1, 1, 8, 6))
    assert (recipe.image_dims, recipe.crop, recipe.channels) == ((13, 11), (8, 6), 1)
    assert recipe.reasons["image_dims"] == "as said"


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (SSD, "bgr, (pixel - (104, 117, 123)) * 0.017, brought to 40 x 30"),
        (replace(SSD, fit=LETTERBOX), "brought to 40 x 30 (letterbox)"),
        (
            replace(SSD, fit=SHORTER_SIDE, image_dims=(600, 1000)),
            "brought to a shorter side of 600 and a longer of at most 1000",
        ),
        (
            PictureRecipe(MEAN),
            "bgr, pixel - (104, 117, 123), brought to 256 x 256, 224 x 224 from its middle",
        ),
        (PictureRecipe(None, None, None), "rgb, pixel / 255, brought"),
        (PictureRecipe(None, (0, 1, 2), 4), "rgb, pixel / 255 * 4, brought"),
        (PictureRecipe(None, (1, 2, 0)), "channels 1, 2, 0, pixel, brought"),
        (PictureRecipe((9.0,), None, channels=1), "grey, pixel - (9), brought"),
        (PictureRecipe(np.ones((3, 9, 9))), "pixel - an array of 3 x 9 x 9, 1 on average"),
        (PictureRecipe(None, image_dims=None, crop=None), "brought to the size of the net's input"),
    ],
)
def test_a_record_can_be_read(recipe: PictureRecipe, words: str) -> None:
    assert words in str(recipe)


def test_which_pictures_a_net_takes() -> None:
    assert SSD.color
    assert not replace(SSD, channels=1).color
    with pytest.raises(ShapeError, match="takes 4 channels"):
        _ = replace(SSD, channels=4).color


@pytest.mark.parametrize(
    ("recipe", "picture", "message"),
    [
        (SSD, np.zeros((8, 6)), "H x W x K"),
        (SSD, np.zeros((0, 6, 3)), "H x W x K"),
        (SSD, np.zeros((8, 6, 4)), "takes 3 channels"),
        (replace(SSD, crop=(31, 40)), np.zeros((8, 6, 3)), "does not fit"),
        (replace(SSD, mean=(1.0, 2.0)), np.zeros((8, 6, 3)), r"mean of shape \(2,\)"),
        (replace(SSD, image_dims=None), np.zeros((8, 6, 3)), "for_input"),
    ],
)
def test_what_does_not_fit_is_told(
    recipe: PictureRecipe, picture: np.ndarray, message: str
) -> None:
    with pytest.raises(CaffeError, match=message):
        recipe.apply(picture)
