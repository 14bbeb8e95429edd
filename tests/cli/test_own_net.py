"""How the options of a person's own net become the record of how pictures go in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import caffe
from caffe.cli.own_net import OwnNet, own_recipe, tell_recipe
from caffe.io import array_to_blobproto, resize_image

F = np.float32


def net(folder: Path, channels: int = 3) -> tuple[Path, Path]:
    model, weights = folder / "net.prototxt", folder / "net.caffemodel"
    model.write_text(
        'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 '
        f"dim: {channels} dim: 8 dim: 6 }} }} }}\n"
        'layer { name: "mean" type: "Pooling" bottom: "data" top: "mean"\n'
        "        pooling_param { pool: AVE global_pooling: true } }"
    )
    caffe.Net(model, caffe.TEST).save(weights)
    return model, weights


def pixels(channels: int = 3) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (20, 30, channels), dtype=np.uint8)


def test_what_is_not_said_is_as_caffe_has_it(tmp_path: Path) -> None:
    classifier = OwnNet(*net(tmp_path)).classifier()
    assert classifier.recipe.why == (
        "order and raw scale: Caffe's usual; size and crop: the net's input"
    )
    resized = resize_image(pixels(), (8, 6)) / F(255)
    expected = resized[:, :, ::-1].transpose(2, 0, 1) * F(255)
    np.testing.assert_array_equal(classifier.prepare(pixels(), False, 255), [expected])


def test_every_option_is_told_as_the_reason_of_its_value(tmp_path: Path) -> None:
    classifier = OwnNet(
        *net(tmp_path),
        mean="1,2,3.5",
        raw_scale=4.0,
        input_scale=0.5,
        channel_swap="1,2,0",
        image_dims="13x11",
    ).classifier()
    recipe = classifier.recipe
    assert recipe.reasons == {
        "mean": "--mean",
        "raw_scale": "--raw-scale",
        "input_scale": "--input-scale",
        "channel_swap": "--channel-swap",
        "image_dims": "--image-dims",
        "crop": "the net's input",
    }
    crop = resize_image(pixels(), (13, 11))[2:10, 2:8] / F(255)
    expected = (crop[:, :, [1, 2, 0]] * F(4) - np.array([1, 2, 3.5], F)) * F(0.5)
    found = classifier.prepare(pixels(), False, 255)
    np.testing.assert_array_equal(found, [expected.transpose(2, 0, 1)])
    np.testing.assert_array_equal(recipe.apply(pixels(), white=255), found)


@pytest.mark.parametrize("kind", ["npy", "binaryproto"])
def test_a_mean_file_is_named_as_the_reason(tmp_path: Path, kind: str) -> None:
    mean = np.random.default_rng(6).random((3, 13, 11)).astype(F) * F(255)
    path = tmp_path / f"mean.{kind}"
    if kind == "npy":
        np.save(path, mean)
    else:
        path.write_bytes(array_to_blobproto(mean[np.newaxis]).SerializeToString())
    classifier = OwnNet(*net(tmp_path), mean=str(path)).classifier()
    assert f"mean: from {path}" in classifier.recipe.why
    resized = resize_image(pixels(), (8, 6)) / F(255)
    expected = resized[:, :, ::-1] * F(255) - resize_image(mean.transpose(1, 2, 0), (8, 6))
    found = classifier.prepare(pixels(), False, 255)
    np.testing.assert_array_equal(found, [expected.transpose(2, 0, 1)])


def test_a_net_of_one_channel_has_no_order(tmp_path: Path) -> None:
    classifier = OwnNet(*net(tmp_path, channels=1), channel_swap="2,1,0").classifier()
    assert (classifier.recipe.order, classifier.recipe.channel_swap) == ("grey", None)
    assert classifier.recipe.why.startswith("order: a net of one channel; ")
    expected = (resize_image(pixels(1), (8, 6)) / F(255) * F(255)).transpose(2, 0, 1)
    np.testing.assert_array_equal(classifier.prepare(pixels(1), False, 255), [expected])


def test_the_record_is_told_with_its_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    tell_recipe(own_recipe("104,117,123").for_input((1, 3, 8, 6)))
    assert capsys.readouterr().err == (
        "caffe: pictures go in as bgr, pixel - (104, 117, 123), brought to 6 x 8 "
        "(order and raw scale: Caffe's usual; mean: --mean; size and crop: the net's input)\n"
    )
