"""`classify`: the answers of `caffe.Classifier`, saved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import caffe
from caffe.tools.classify import classify
from tests.helpers.command import tool
from tests.helpers.serving import SMALL_NET
from tests.helpers.sources import picture, save_picture


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "net.prototxt").write_text(SMALL_NET)
    caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST).save(str(tmp_path / "net.caffemodel"))
    (tmp_path / "pictures").mkdir()
    for name in ("b.png", "a.png", "c.jpg"):
        save_picture(tmp_path / "pictures" / name, picture(20, 24))
    return tmp_path


def run(folder: Path, source: object, *options: object, expected: int = 0) -> np.ndarray | str:
    result = tool(
        classify,
        "--model_def",
        folder / "net.prototxt",
        f"--pretrained_model={folder / 'net.caffemodel'}",
        source,
        folder / "out",
        *options,
    )
    assert result.exit_code == expected, result.stderr
    return np.load(folder / "out.npy") if not expected else str(result.stderr)


def classifier(folder: Path, **settings: object) -> caffe.Classifier:
    return caffe.Classifier(folder / "net.prototxt", folder / "net.caffemodel", **settings)


def test_a_folder_s_pictures_are_classified_in_order(folder: Path) -> None:
    found = run(
        folder, folder / "pictures", "--ext", "png", "--images_dim", "16,16", "--mean_file", ""
    )
    net = classifier(folder, image_dims=(16, 16), raw_scale=255, channel_swap=(2, 1, 0))
    images = [caffe.io.load_image(folder / "pictures" / name) for name in ("a.png", "b.png")]
    assert np.allclose(found, net.predict(images), atol=1e-6)


def test_one_picture_at_its_centre_with_a_mean_file(folder: Path) -> None:
    mean = np.arange(3 * 8 * 8, dtype=np.float32).reshape(3, 8, 8)
    np.save(folder / "mean.npy", mean)
    path = folder / "pictures" / "c.jpg"
    found = run(
        folder,
        path,
        "--center_only",
        "--mean_file",
        folder / "mean.npy",
        "--input_scale=0.01",
        "--raw_scale=100",
        "--channel_swap=0,1,2",
    )
    net = classifier(
        folder,
        image_dims=(256, 256),
        mean=mean.mean((1, 2)),
        input_scale=0.01,
        raw_scale=100,
        channel_swap=(0, 1, 2),
    )
    assert np.allclose(found, net.predict([caffe.io.load_image(path)], False), atol=1e-6)


def test_an_array_is_taken_and_imagenet_s_mean_is_the_default(folder: Path) -> None:
    images = np.random.default_rng(1).random((2, 12, 12, 3), dtype=np.float32)
    np.save(folder / "in.npy", images)
    net = classifier(
        folder,
        image_dims=(256, 256),
        mean=np.array([104.00698793, 116.66876762, 122.67891434]),
        raw_scale=255,
        channel_swap=(2, 1, 0),
    )
    assert np.allclose(run(folder, folder / "in.npy"), net.predict(images), atol=1e-5)


def test_what_cannot_be_classified_is_told(folder: Path) -> None:
    (folder / "in.npy").write_bytes(b"nothing")
    for source, said in (
        (folder / "pictures" / "none.jpg", "none.jpg"),
        (folder / "in.npy", "in.npy"),
        (folder / "none.npy", "none.npy"),
        (folder, "--ext"),
    ):
        assert said in run(folder, source, expected=1)
    assert tool(classify, "x.jpg", "out", "--model_def", "x").exit_code == 2
    assert not (folder / "out.npy").exists()


def test_squeezenet_on_the_cat_equals_the_original(shared: Path, tmp_path: Path) -> None:
    models = shared / "models"
    result = tool(
        classify,
        models / "bvlc_caffe/examples/images/cat.jpg",
        tmp_path / "out.npy",
        f"--model_def={models}/squeezenet_v1.0/SqueezeNet_deploy.prototxt",
        f"--pretrained_model={models}/squeezenet_v1.0/squeezenet_v1.0.caffemodel",
        f"--mean_file={models}/bvlc_caffe/python/caffe/imagenet/ilsvrc_2012_mean.npy",
    )
    assert result.exit_code == 0, result.stderr
    with np.load(shared / "goldens" / "pipeline.npz") as figures:
        expected = figures["classifier_oversample"]
    assert np.abs(np.load(tmp_path / "out.npy") - expected).max() < 1e-4 * expected.max() + 1e-5
