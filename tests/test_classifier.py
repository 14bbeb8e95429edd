"""caffe.Classifier takes pictures to probabilities as pycaffe's did."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import caffe
from caffe.io import load_image, load_mean, oversample, resize_image
from tests.helpers.golden import assert_golden

# A net whose answer is easily worked out: the mean of each channel of its input.
MEANS = """
name: "means"
layer { name: "data" type: "Input" top: "data"
        input_param { shape { dim: 4 dim: 3 dim: 8 dim: 6 } } }
layer { name: "means" type: "Pooling" bottom: "data" top: "means"
        pooling_param { pool: AVE global_pooling: true } }
"""
MEAN = np.array([104.0, 117.0, 123.0])


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """The net of means: its prototxt and its caffemodel."""
    model, weights = tmp_path / "means.prototxt", tmp_path / "means.caffemodel"
    model.write_text(MEANS)
    caffe.Net(model, caffe.TEST).save(weights)
    return model, weights


def classifier(files: tuple[Path, Path], **options: Any) -> caffe.Classifier:
    return caffe.Classifier(
        *files, mean=MEAN, raw_scale=255, channel_swap=(2, 1, 0), input_scale=0.5, **options
    )


def random_pictures(*sizes: tuple[int, int]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.random((*size, 3)).astype(np.float32) for size in sizes]


def expected_means(crops: np.ndarray) -> np.ndarray:
    return (crops.mean(axis=(1, 2))[:, ::-1] * 255 - MEAN) * 0.5


@pytest.fixture(scope="module")
def squeezenet(shared: Path) -> caffe.Classifier:
    folder = shared / "models" / "squeezenet_v1.0"
    mean = load_mean(shared / "models/bvlc_caffe/python/caffe/imagenet/ilsvrc_2012_mean.npy")
    return caffe.Classifier(
        str(folder / "SqueezeNet_deploy.prototxt"),
        str(folder / "squeezenet_v1.0.caffemodel"),
        image_dims=(256, 256),
        mean=mean.mean((1, 2)),
        raw_scale=255,
        channel_swap=(2, 1, 0),
    )


@pytest.fixture(scope="module")
def cat(shared: Path) -> np.ndarray:
    return load_image(shared / "models" / "bvlc_caffe" / "examples" / "images" / "cat.jpg")


@pytest.fixture(scope="module")
def pipeline(shared: Path) -> dict[str, np.ndarray]:
    with np.load(shared / "goldens" / "pipeline.npz") as figures:
        return dict(figures)


def test_squeezenet_on_the_centre_equals_the_original(
    squeezenet: caffe.Classifier, cat: np.ndarray, pipeline: dict[str, np.ndarray]
) -> None:
    assert_golden(squeezenet.predict([cat], False), pipeline["classifier_center"], "centre")


def test_squeezenet_on_ten_crops_equals_the_original(
    squeezenet: caffe.Classifier, cat: np.ndarray, pipeline: dict[str, np.ndarray]
) -> None:
    assert_golden(squeezenet.predict([cat]), pipeline["classifier_oversample"], "ten crops")


def test_squeezenet_by_hand_at_batch_fifty_equals_the_original(
    shared: Path, cat: np.ndarray, pipeline: dict[str, np.ndarray]
) -> None:
    folder = shared / "models" / "squeezenet_v1.0"
    net = caffe.Net(
        str(folder / "SqueezeNet_deploy.prototxt"),
        str(folder / "squeezenet_v1.0.caffemodel"),
        caffe.TEST,
    )
    transformer = caffe.io.Transformer({"data": net.blobs["data"].data.shape})
    transformer.set_transpose("data", (2, 0, 1))
    transformer.set_mean("data", pipeline["mean_bgr"])
    transformer.set_raw_scale("data", 255)
    transformer.set_channel_swap("data", (2, 1, 0))
    net.blobs["data"].reshape(50, 3, 227, 227)
    net.blobs["data"].data[...] = transformer.preprocess("data", cat)
    output = net.forward()[str(pipeline["squeezenet_output_name"])]
    assert output.shape == tuple(pipeline["squeezenet_batch_shape"])
    assert_golden(output[0].ravel(), pipeline["squeezenet_output"], "first of the batch")
    top = output[49].ravel().argsort()[::-1][:5]
    assert top.tolist() == pipeline["squeezenet_top5"].tolist()
    # The net ends before its softmax.
    exponentials = np.exp(output[49].ravel() - output[49].max())
    probabilities = exponentials / exponentials.sum()
    assert_golden(probabilities[top], pipeline["squeezenet_top5_prob"], "top five")


def test_centre_crop_of_the_resized_picture(files: tuple[Path, Path]) -> None:
    # More pictures than the batch of four holds, of different sizes.
    images = random_pictures((20, 30), (9, 9), (12, 11), (40, 7), (8, 6))
    net = classifier(files, image_dims=(13, 11))
    found = net.predict(images, oversample=False)
    centres = np.stack([resize_image(image, (13, 11))[2:10, 2:8] for image in images])
    assert found.shape == (5, 3, 1, 1)
    np.testing.assert_allclose(found[:, :, 0, 0], expected_means(centres), rtol=1e-4, atol=1e-3)


def test_average_over_ten_crops(files: tuple[Path, Path]) -> None:
    images = random_pictures((20, 30), (9, 9))
    found = classifier(files, image_dims=(13, 11)).predict(images)
    crops = oversample([resize_image(image, (13, 11)) for image in images], (8, 6))
    expected = expected_means(crops).reshape(2, 10, 3).mean(axis=1)
    assert found.shape == (2, 3)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


def test_whole_picture_without_image_dims(files: tuple[Path, Path]) -> None:
    net = classifier(files)
    assert tuple(net.image_dims) == tuple(net.crop_dims) == (8, 6)
    (image,) = random_pictures((20, 30))
    found = net.predict([image], oversample=False)[:, :, 0, 0]
    expected = expected_means(resize_image(image, (8, 6))[np.newaxis])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


def test_mean_picture_is_subtracted_at_the_size_of_the_crop(files: tuple[Path, Path]) -> None:
    mean = np.random.default_rng(1).random((3, 13, 11)).astype(np.float32)
    net = caffe.Classifier(*files, image_dims=(13, 11), mean=mean)
    resized = resize_image(mean.transpose(1, 2, 0), (8, 6))
    found = net.predict([np.zeros((13, 11, 3))], oversample=False)[0, :, 0, 0]
    np.testing.assert_allclose(found, -resized.mean(axis=(0, 1)), rtol=1e-4)


def test_pictures_may_come_as_one_array_or_a_generator(files: tuple[Path, Path]) -> None:
    images = random_pictures((9, 9), (9, 9))
    net = classifier(files)
    expected = net.predict(images)
    np.testing.assert_array_equal(net.predict(np.stack(images)), expected)
    np.testing.assert_array_equal(net.predict(image for image in images), expected)


@pytest.mark.parametrize("ten", [True, False])
def test_a_generator_is_asked_for_a_few_pictures_ahead_only(
    ten: bool, files: tuple[Path, Path]
) -> None:
    net = classifier(files)
    (image,) = random_pictures((9, 9))
    given = forwards = 0
    most = 0
    forward = net.forward

    def counted(*arguments: Any, **keywords: Any) -> Any:
        nonlocal forwards, most
        forwards += 1
        # The net takes 4 crops at once.
        used = 4 * forwards / (10 if ten else 1)
        most = max(most, given - int(used))
        return forward(*arguments, **keywords)

    def endless() -> Any:
        nonlocal given
        for given in range(1, 101):  # noqa: B007
            yield image

    net.forward = counted  # type: ignore[method-assign]
    assert len(net.predict(endless(), oversample=ten)) == 100
    assert most <= 2 * 4 + 1


@pytest.mark.parametrize("ten", [True, False])
def test_bytes_may_be_prepared_as_they_are(ten: bool, files: tuple[Path, Path]) -> None:
    net = classifier(files, image_dims=(13, 11))
    pixels = np.random.default_rng(4).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    prepared = net.prepare(pixels, ten, white=255)
    assert prepared.shape == (10 if ten else 1, 3, 8, 6)
    expected = net.prepare(pixels / np.float32(255), ten)
    np.testing.assert_allclose(prepared, expected, atol=1e-4)
    np.testing.assert_allclose(
        net.predict_prepared([prepared]),
        net.predict([pixels / np.float32(255)], oversample=ten),
        rtol=1e-5,
        atol=1e-4,
    )


def test_pictures_are_not_changed(files: tuple[Path, Path]) -> None:
    images = random_pictures((8, 6))
    before = images[0].copy()
    classifier(files).predict(images)
    np.testing.assert_array_equal(images[0], before)


def test_is_a_net(files: tuple[Path, Path]) -> None:
    net = classifier(files)
    assert isinstance(net, caffe.Net)
    assert net.inputs == ["data"]
    assert net.transformer.raw_scale == {"data": 255}


@pytest.mark.parametrize(
    ("inputs", "complaint"),
    [
        ([], "no pictures"),
        (np.zeros((8, 6, 3)), r"item 0 has shape \(6, 3\)"),
        (["cat.jpg"], "load_image"),
        ([np.zeros((8, 6, 3)), np.zeros((8, 6))], "item 1"),
        ([np.zeros((8, 6, 1))], r"'data'.*\(3, 8, 6\)"),
        ([np.zeros((0, 6, 3))], "H x W x K"),
    ],
    ids=["none", "not-a-list", "path", "two-axes", "grey", "empty"],
)
@pytest.mark.parametrize("ten", [True, False])
def test_predict_refuses(inputs: Any, complaint: str, ten: bool, files: tuple[Path, Path]) -> None:
    with pytest.raises(caffe.ShapeError, match=complaint):
        classifier(files).predict(inputs, oversample=ten)


@pytest.mark.parametrize("dims", [(7, 6), (8, 5), (0, 0), (8, 6, 3)])
def test_image_dims_that_hold_no_crop(dims: tuple[int, ...], files: tuple[Path, Path]) -> None:
    with pytest.raises(caffe.ShapeError, match=r"image_dims|does not fit"):
        classifier(files, image_dims=dims).predict(random_pictures((9, 9)))


@pytest.mark.parametrize(
    "options",
    [{"mean": np.zeros(4)}, {"channel_swap": (1, 0)}, {"raw_scale": "x"}, {"input_scale": [1, 2]}],
)
def test_settings_that_do_not_fit(options: dict[str, Any], files: tuple[Path, Path]) -> None:
    with pytest.raises(caffe.ShapeError, match="'data'"):
        caffe.Classifier(*files, **options)


def test_net_that_takes_no_pictures(tmp_path: Path, files: tuple[Path, Path]) -> None:
    model = tmp_path / "flat.prototxt"
    model.write_text(MEANS.replace("dim: 8 dim: 6", "").split('layer { name: "means"')[0])
    with pytest.raises(caffe.ShapeError, match="takes no pictures"):
        caffe.Classifier(model, files[1])


def test_net_without_an_input(tmp_path: Path, files: tuple[Path, Path]) -> None:
    model = tmp_path / "dummy.prototxt"
    model.write_text(
        'layer { name: "data" type: "DummyData" top: "data"'
        " dummy_data_param { shape { dim: 1 dim: 3 dim: 8 dim: 6 } } }"
    )
    with pytest.raises(caffe.NetError, match=r"dummy\.prototxt.*no input"):
        caffe.Classifier(model, files[1])


def test_missing_weights_are_named(tmp_path: Path, files: tuple[Path, Path]) -> None:
    with pytest.raises(caffe.CaffeError, match=r"nothing\.caffemodel"):
        caffe.Classifier(files[0], tmp_path / "nothing.caffemodel")


def test_features_are_rows_in_the_pictures_order_whatever_holds_them(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    net = classifier(files)
    pictures = random_pictures((8, 6), (20, 30), (8, 6), (9, 9), (8, 6))
    alone = np.stack([net.features(picture, "means") for picture in pictures])
    assert alone.shape == (5, 3)
    assert alone.dtype == np.float32
    np.testing.assert_allclose(alone[0], expected_means(pictures[0][None])[0], atol=1e-3)
    for batch in (1, 2, 5, 16):
        np.testing.assert_allclose(net.features(pictures, "means", batch), alone, atol=1e-4)
        given = (picture for picture in pictures)
        np.testing.assert_allclose(net.features(given, "means", batch), alone, atol=1e-4)
    at_once = [len(rows) for rows in net.iterate_features(iter(pictures), "means", 2)]
    assert at_once == [2, 2, 1]
    # A blob with places keeps them, and only ones at the end are left out.
    assert net.features(pictures[:2], "data").shape == (2, 3, 8, 6)
    path = tmp_path / "a.png"
    Image.fromarray((pictures[0] * 255).astype(np.uint8)).save(path)
    np.testing.assert_allclose(net.features([path], "means")[0], alone[0], atol=1)


def test_features_of_very_many_pictures_need_no_more_than_a_few_at_a_time(
    files: tuple[Path, Path],
) -> None:
    net = classifier(files)
    under_way = most = 0

    def pictures() -> Any:
        nonlocal under_way, most
        for _ in range(100):
            under_way += 1
            most = max(most, under_way)
            yield np.zeros((8, 6, 3), np.float32)

    for rows in net.iterate_features(pictures(), "means", 4):
        under_way -= len(rows)
    assert under_way == 0
    assert most <= 4 * 4


def test_features_by_default_are_what_the_last_weights_are_given() -> None:
    text = MEANS + (
        'layer { name: "fc" type: "InnerProduct" bottom: "means" top: "fc" '
        'inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }'
        'layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }'
    )
    with tempfile.TemporaryDirectory() as folder:
        model, weights = Path(folder, "net.prototxt"), Path(folder, "net.caffemodel")
        model.write_text(text)
        caffe.Net(model, caffe.TEST).save(weights)
        net = classifier((model, weights))
    assert net.feature_blob() == "means"
    assert net.features(np.zeros((8, 6, 3))).shape == (3,)


def test_what_features_cannot_be_had_of_is_told(files: tuple[Path, Path]) -> None:
    net = classifier(files)
    picture = np.zeros((8, 6, 3))
    with pytest.raises(caffe.errors.CaffeError, match="no blob 'absent'; it has 'data', 'means'"):
        net.features(picture, "absent")
    with pytest.raises(caffe.errors.NetError, match="no layer of the net has weights"):
        net.features(picture)
    with pytest.raises(caffe.errors.ShapeError, match="no pictures"):
        net.features([], "means")
    with pytest.raises(caffe.errors.CaffeError, match="at least one picture"):
        net.features(picture, "means", batch=0)
