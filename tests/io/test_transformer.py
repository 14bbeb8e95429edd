"""caffe.io.Transformer prepares pictures as Caffe did, and takes them back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import caffe
from caffe.io import Transformer, load_image, load_mean, resize_image
from tests.helpers.golden import assert_golden

SHAPE = (10, 3, 6, 5)


def random_image(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape or (6, 5, 3)).astype(np.float32)


def usual(shape: tuple[int, ...] = SHAPE, mean: Any = None) -> Transformer:
    transformer = Transformer({"data": shape})
    transformer.set_transpose("data", (2, 0, 1))
    transformer.set_channel_swap("data", (2, 1, 0))
    transformer.set_raw_scale("data", 255)
    if mean is not None:
        transformer.set_mean("data", mean)
    return transformer


def test_preprocess_and_deprocess_equal_the_original(shared: Path) -> None:
    with np.load(shared / "goldens" / "pipeline.npz") as figures:
        golden = dict(figures)
    caffe_files = shared / "models" / "bvlc_caffe"
    cat = load_image(caffe_files / "examples" / "images" / "cat.jpg")
    mean = load_mean(caffe_files / "python" / "caffe" / "imagenet" / "ilsvrc_2012_mean.npy")

    transformer = usual((10, 3, 227, 227), mean.mean((1, 2)))
    item = transformer.preprocess("data", cat)
    assert item.shape == (3, 227, 227)
    assert_golden(item[:, ::5, ::5], golden["preprocess_mu"], "mean by channel")
    back = transformer.deprocess("data", item)
    assert_golden(back[::5, ::5], golden["deprocess_mu"], "deprocess")

    transformer.set_input_scale("data", 0.017)
    item = transformer.preprocess("data", cat)
    assert_golden(item[:, ::5, ::5], golden["preprocess_scaled"], "input scale")

    item = usual((10, 3, 227, 227), mean).preprocess("data", cat)
    assert_golden(item[:, ::5, ::5], golden["preprocess_full_mean"], "mean picture")


def test_steps_come_in_caffes_order() -> None:
    image, mean = random_image(), np.array([104.0, 117.0, 123.0])
    transformer = usual(mean=mean)
    transformer.set_input_scale("data", 0.5)
    expected = (image.transpose(2, 0, 1)[::-1] * 255 - mean[:, None, None]) * 0.5
    found = transformer.preprocess("data", image)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_nothing_set_leaves_a_fitting_item_alone() -> None:
    item = random_image(3, 6, 5)
    np.testing.assert_array_equal(Transformer({"data": SHAPE}).preprocess("data", item), item)


def test_picture_is_resized_to_the_input() -> None:
    image = random_image(20, 11, 3)
    transformer = Transformer({"data": SHAPE})
    transformer.set_transpose("data", (2, 0, 1))
    np.testing.assert_array_equal(
        transformer.preprocess("data", image), resize_image(image, (6, 5)).transpose(2, 0, 1)
    )


def test_shapes_may_be_lists() -> None:
    image = random_image()
    transformer = usual(list(SHAPE))  # type: ignore[arg-type]
    np.testing.assert_array_equal(
        transformer.preprocess("data", image), usual().preprocess("data", image)
    )


@pytest.mark.parametrize("swap", [True, False])
def test_inputs_are_not_changed(swap: bool) -> None:
    transformer = Transformer({"data": SHAPE})
    transformer.set_transpose("data", (2, 0, 1))
    if swap:
        transformer.set_channel_swap("data", (2, 1, 0))
    transformer.set_raw_scale("data", 255)
    mean = np.array([1.0, 2.0, 3.0], np.float32)
    transformer.set_mean("data", mean)
    transformer.set_input_scale("data", 2)
    image = random_image()
    before = image.copy()
    item = transformer.preprocess("data", image)
    np.testing.assert_array_equal(image, before)
    prepared = item.copy()
    transformer.deprocess("data", item)
    np.testing.assert_array_equal(item, prepared)
    assert mean.tolist() == [1, 2, 3]


def test_integer_pictures_become_float32() -> None:
    image = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    transformer = Transformer({"data": SHAPE})
    transformer.set_transpose("data", (2, 0, 1))
    item = transformer.preprocess("data", image)
    assert item.dtype == np.float32
    np.testing.assert_array_equal(item, image.transpose(2, 0, 1))


def test_preprocess_writes_where_it_is_told() -> None:
    batch = np.zeros(SHAPE, dtype=np.float32)
    transformer = usual(mean=[1, 2, 3])
    found = transformer.preprocess("data", random_image(), out=batch[4])
    assert np.shares_memory(found, batch)
    np.testing.assert_array_equal(batch[4], transformer.preprocess("data", random_image()))
    assert not batch[[3, 5]].any()
    with pytest.raises(caffe.ShapeError, match="out has shape"):
        transformer.preprocess("data", random_image(), out=batch)


def test_deprocess_undoes_preprocess() -> None:
    transformer = usual(mean=random_image(3, 6, 5) * 255)
    transformer.set_channel_swap("data", (1, 2, 0))
    transformer.set_input_scale("data", 0.1)
    image = random_image()
    item = transformer.preprocess("data", image)
    np.testing.assert_allclose(transformer.deprocess("data", item), image, atol=1e-5)
    np.testing.assert_allclose(transformer.deprocess("data", item[None]), image, atol=1e-5)


def test_deprocess_takes_other_sizes_with_a_mean_by_channel() -> None:
    transformer = usual(mean=[104, 117, 123])
    assert transformer.deprocess("data", np.zeros((3, 12, 13))).shape == (12, 13, 3)


def test_deprocess_keeps_a_single_channel() -> None:
    transformer = Transformer({"data": (1, 1, 6, 5)})
    transformer.set_transpose("data", (2, 0, 1))
    image = random_image(6, 5, 1)
    item = transformer.preprocess("data", image)
    np.testing.assert_array_equal(transformer.deprocess("data", item[None]), image)


def test_settings_are_public() -> None:
    transformer = usual(mean=[1, 2, 3])
    transformer.set_input_scale("data", 0.5)
    assert transformer.inputs == {"data": SHAPE}
    assert transformer.transpose == {"data": (2, 0, 1)}
    assert transformer.channel_swap == {"data": (2, 1, 0)}
    assert transformer.raw_scale == {"data": 255}
    assert transformer.input_scale == {"data": 0.5}
    assert transformer.mean["data"].shape == (3, 1, 1)


def test_scale_may_differ_by_channel() -> None:
    transformer = usual()
    transformer.set_input_scale("data", np.array([1, 2, 3]).reshape(3, 1, 1))
    image = random_image()
    np.testing.assert_allclose(
        transformer.preprocess("data", image),
        usual().preprocess("data", image) * np.array([1, 2, 3]).reshape(3, 1, 1),
        rtol=1e-6,
    )


# Means.


def test_mean_of_another_size_is_resized() -> None:
    mean = random_image(3, 12, 11) * 200
    transformer = usual(mean=mean)
    np.testing.assert_array_equal(
        transformer.mean["data"], resize_image(mean.transpose(1, 2, 0), (6, 5)).transpose(2, 0, 1)
    )


def test_constant_mean_of_another_size_stays_constant() -> None:
    assert (usual(mean=np.full((3, 2, 2), 118.0)).mean["data"] == 118).all()


def test_mean_by_channel_with_unit_axes_is_not_resized() -> None:
    mean = np.array([104, 117, 123]).reshape(3, 1, 1)
    image = random_image()
    np.testing.assert_array_equal(
        usual(mean=mean).preprocess("data", image),
        usual(mean=mean.ravel()).preprocess("data", image),
    )


@pytest.mark.parametrize("size", [(6, 5), (9, 9)])
def test_two_axes_are_the_mean_of_a_single_channel(size: tuple[int, int]) -> None:
    mean = random_image(*size)
    transformer = Transformer({"data": (1, 1, 6, 5)})
    transformer.set_mean("data", mean)
    expected = resize_image(mean[:, :, None], (6, 5))[:, :, 0]
    np.testing.assert_array_equal(transformer.mean["data"][0], expected)


@pytest.mark.parametrize("shape", [(4,), (6, 5), (7, 7), (1, 6, 5), (4, 6, 5), (2, 3, 6, 5), ()])
@pytest.mark.parametrize("error", [ValueError, caffe.ShapeError])
def test_mean_that_does_not_fit(shape: tuple[int, ...], error: type[Exception]) -> None:
    with pytest.raises(error, match=r"'data'.*\(3, 6, 5\)"):
        usual(mean=np.zeros(shape))


def test_mean_with_a_batch_axis_says_what_to_pass() -> None:
    with pytest.raises(caffe.ShapeError, match=r"pass mean\[0\]"):
        usual(mean=np.zeros((1, 3, 6, 5)))


def test_mean_put_in_by_hand_that_does_not_fit() -> None:
    transformer = usual()
    transformer.mean["data"] = np.zeros((3, 2, 2), np.float32)
    with pytest.raises(caffe.ShapeError, match="mean of shape"):
        transformer.preprocess("data", random_image())
    with pytest.raises(caffe.ShapeError, match="mean of shape"):
        transformer.deprocess("data", np.zeros((3, 6, 5)))


# What does not fit.


@pytest.mark.parametrize(
    ("method", "value"),
    [
        ("preprocess", np.zeros((6, 5, 3))),
        ("deprocess", np.zeros((3, 6, 5))),
        ("set_transpose", (2, 0, 1)),
        ("set_channel_swap", (2, 1, 0)),
        ("set_raw_scale", 255),
        ("set_input_scale", 1),
        ("set_mean", np.zeros(3)),
    ],
)
def test_unknown_input_is_named(method: str, value: Any) -> None:
    with pytest.raises(caffe.CaffeError, match=r"'image'.*data"):
        getattr(Transformer({"data": SHAPE}), method)("image", value)


@pytest.mark.parametrize("order", [(2, 0), (0, 1, 2, 3), (0, 0, 1), (1, 2, 3)])
def test_transpose_that_does_not_fit(order: tuple[int, ...]) -> None:
    with pytest.raises(caffe.ShapeError, match=r"'data'.*3 axes"):
        Transformer({"data": SHAPE}).set_transpose("data", order)


@pytest.mark.parametrize("order", [(1, 0), (3, 2, 1, 0), (1, 2, 3), (0, 1, -1)])
def test_channel_swap_that_does_not_fit(order: tuple[int, ...]) -> None:
    with pytest.raises(caffe.ShapeError, match=r"'data'.*3 channels"):
        Transformer({"data": SHAPE}).set_channel_swap("data", order)


@pytest.mark.parametrize("scale", ["255", None, [1, 2], np.ones((2, 1, 1))])
@pytest.mark.parametrize("method", ["set_raw_scale", "set_input_scale"])
def test_scale_that_does_not_fit(method: str, scale: Any) -> None:
    with pytest.raises(caffe.ShapeError, match="'data'"):
        getattr(Transformer({"data": SHAPE}), method)("data", scale)


@pytest.mark.parametrize("shape", [(6, 5, 1), (20, 20, 4), (6, 5), (1, 6, 5, 3), ()])
def test_picture_that_does_not_fit(shape: tuple[int, ...]) -> None:
    with pytest.raises(caffe.ShapeError, match=r"'data'.*\(3, 6, 5\)"):
        usual().preprocess("data", np.zeros(shape))


def test_missing_transpose_is_hinted_at() -> None:
    with pytest.raises(caffe.ShapeError, match="set_transpose"):
        Transformer({"data": SHAPE}).preprocess("data", np.zeros((6, 5, 3)))


@pytest.mark.parametrize("shape", [(6, 5), (2, 3, 6, 5), (4, 6, 5)])
def test_deprocess_of_what_is_no_item(shape: tuple[int, ...]) -> None:
    with pytest.raises(caffe.ShapeError, match="'data'"):
        usual().deprocess("data", np.zeros(shape))
