"""Pictures that a kernel makes items of are, to the last bit, what the recipe makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import caffe
from caffe.compiled import llvm
from caffe.io.recipe import PictureRecipe
from caffe.preparing import PATIENCE, Preparer, Unmade
from tests.helpers.kernels import beside_nothing

pytestmark = pytest.mark.skipif(not llvm.width(), reason="no kernels can be compiled here")

RECIPES = [
    PictureRecipe((104.0, 117.0, 123.0), crop=(41, 37), image_dims=(48, 50)),
    PictureRecipe((127, 127, 127), None, 255, 1 / 128, (33, 47), (33, 47)),
    PictureRecipe(None, (1, 2, 0), None, None, (40, 40), (16, 17)),
    PictureRecipe((0.1, 0.2, 0.3), None, 1.5, -3, (64, 31), (20, 20)),
]
SIZES = [(75, 100), (60, 64), (65, 300), (1200, 51)]
NET = """
layer { name: "data" type: "Input" top: "data"
        input_param { shape { dim: 2 dim: 3 dim: 20 dim: 24 } } }
layer { name: "root" type: "Power" bottom: "data" top: "root" power_param { scale: 0.5 } }
"""


def picture(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def made(unmade: Unmade | None, recipe: PictureRecipe) -> np.ndarray:
    assert unmade is not None
    assert recipe.crop is not None
    item = np.full((3, *recipe.crop), np.nan, np.float32)
    unmade.put(item)
    return item


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("white", [255.0, 1.0])
def test_all_bits_are_the_recipes(
    recipe: PictureRecipe, size: tuple[int, int], white: float
) -> None:
    image = picture(*size, 3)
    item = made(Preparer(recipe, patience=0).take(image, white), recipe)
    assert item.tobytes() == recipe.apply(image, white=white)[0].tobytes()


def test_so_are_those_of_the_middle_of_a_picture_that_is_enlarged() -> None:
    image, recipe = picture(30, 40, 3), RECIPES[0]
    item = made(Preparer(recipe, patience=0).take(image, 255.0), recipe)
    assert item.tobytes() == recipe.apply(image, white=255.0)[0].tobytes()


@pytest.mark.parametrize("size", [(40, 44), (400, 500)])
def test_no_more_memory_is_kept_than_an_item_has(size: tuple[int, int]) -> None:
    image, recipe = picture(*size, 3), RECIPES[0]
    unmade = Preparer(recipe, patience=0).take(image, 255.0)
    assert unmade is not None
    kept = unmade.kept()
    if isinstance(kept, Unmade):
        kept = kept.image
    assert kept.nbytes <= 4 * 3 * 41 * 37


@pytest.mark.parametrize("is_before", [True, False])
def test_nothing_beside_a_picture_is_read(is_before: bool) -> None:
    recipe = RECIPES[1]
    # As many bytes as 64 x 64 x 3 / 4 numbers have.
    image = beside_nothing(64 * 48, is_before=is_before).numpy().view(np.uint8).reshape(64, 64, 3)
    item = made(Preparer(recipe, patience=0).take(image, 255.0), recipe)
    assert item.tobytes() == recipe.apply(image, white=255.0)[0].tobytes()


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(picture(75, 100, 3) / 255, id="floats"),
        pytest.param(picture(75, 100, 1), id="grey"),
        pytest.param(picture(75, 100, 4), id="with alpha"),
        pytest.param(picture(20, 20, 3), id="enlarged, so that the outside counts"),
        pytest.param(picture(33, 47, 3), id="of the right size"),
        pytest.param(picture(75, 200, 3)[:, ::2], id="not in one piece"),
        pytest.param(picture(0, 100, 3), id="empty"),
    ],
)
def test_what_it_does_not_know_is_left_to_others(image: np.ndarray) -> None:
    assert Preparer(RECIPES[1], patience=0).take(image, 255.0) is None


@pytest.mark.parametrize(
    "values",
    [
        {"mean": np.ones((3, 41, 37), np.float32)},
        {"raw_scale": np.float64(255)},
        {"input_scale": np.ones((3, 1, 1))},
        {"crop": (41, 3)},
    ],
)
def test_what_more_than_a_number_for_each_channel_is_done_with_is_too(
    values: dict[str, Any],
) -> None:
    recipe = RECIPES[0].changed("here", **values)
    assert Preparer(recipe, patience=0).take(picture(75, 100, 3), 255.0) is None


def test_the_many_pictures_of_a_classifier_give_what_each_gives_alone(tmp_path: Path) -> None:
    model, weights = tmp_path / "net.prototxt", tmp_path / "net.caffemodel"
    model.write_text(NET)
    caffe.Net(model, caffe.TEST).save(weights)
    options: dict[str, Any] = {"image_dims": (24, 30), "channel_swap": (2, 1, 0), "mean": [1, 2, 3]}
    net = caffe.Classifier(model, weights, raw_scale=255, **options)
    # Of every third the item takes less memory than the picture.
    images = [picture(40, [24, 30, 90][i % 3], 3, seed=i) for i in range(PATIENCE + 7)]
    together = np.concatenate(list(net.run(images, batch=2)))
    alone = [net.prepare(image, False, 255.0)[0] * np.float32(0.5) for image in images]
    np.testing.assert_array_equal(together, alone)
