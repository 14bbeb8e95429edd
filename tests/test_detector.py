"""caffe.Detector classifies windows of pictures as pycaffe's did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import caffe
from caffe.io import load_image, resize_image

# A net whose answer is easily worked out: the mean of each channel of its input.
MEANS = """
name: "means"
layer {{ name: "data" type: "Input" top: "data"
         input_param {{ shape {{ dim: 2 dim: {channels} dim: {size} dim: {size} }} }} }}
layer {{ name: "means" type: "Pooling" bottom: "data" top: "means"
         pooling_param {{ pool: AVE global_pooling: true }} }}
"""


def detector(folder: Path, size: int = 12, channels: int = 3, **options: Any) -> caffe.Detector:
    model, weights = folder / "means.prototxt", folder / "means.caffemodel"
    model.write_text(MEANS.format(size=size, channels=channels))
    caffe.Net(model, caffe.TEST).save(weights)
    return caffe.Detector(model, weights, **options)


def random_picture(*size: int) -> np.ndarray:
    return np.random.default_rng(0).random((*size, 3)).astype(np.float32)


def test_windows_of_files_and_arrays(tmp_path: Path) -> None:
    path = str(tmp_path / "a.png")
    Image.fromarray((random_picture(20, 30) * 255).astype(np.uint8)).save(path)
    array = random_picture(15, 15)
    windows = [(0, 0, 20, 30), (3, 4, 15, 16), (19, 29, 20, 30)]
    net = detector(tmp_path, raw_scale=255, mean=np.array([1, 2, 3]), channel_swap=(2, 1, 0))
    found = net.detect_windows([(path, windows), (array, np.array([[1, 2, 13, 14]]))])

    assert [detection["filename"] for detection in found[:3]] == [path] * 3
    assert found[3]["filename"] is array
    assert [detection["window"] for detection in found[:3]] == windows
    assert set(found[0]) == {"window", "prediction", "filename"}
    pictures = [load_image(path)] * 3 + [array]
    for detection, picture in zip(found, pictures, strict=True):
        ymin, xmin, ymax, xmax = detection["window"]
        part = resize_image(picture[ymin:ymax, xmin:xmax], (12, 12)).mean(axis=(0, 1))
        assert detection["prediction"].shape == (3,)
        np.testing.assert_allclose(
            detection["prediction"], part[::-1] * 255 - [1, 2, 3], rtol=1e-4, atol=1e-3
        )


def test_one_window_gives_one_vector(tmp_path: Path) -> None:
    net = detector(tmp_path)
    (detection,) = net.detect_windows(iter([(random_picture(9, 9), iter([(1, 1, 5, 5)]))]))
    assert detection["prediction"].shape == (3,)


@pytest.mark.parametrize("pictures", [[], [(np.zeros((9, 9, 3)), [])]])
def test_no_windows_give_no_detections(pictures: list[Any], tmp_path: Path) -> None:
    assert detector(tmp_path).detect_windows(pictures) == []


def test_files_are_read_as_grey_for_a_net_of_one_channel(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (9, 9), (0, 255, 0)).save(path)
    (detection,) = detector(tmp_path, channels=1).detect_windows([(path, [(0, 0, 9, 9)])])
    np.testing.assert_allclose(detection["prediction"], [0.7154], rtol=1e-5)


def test_crop_without_context_is_the_window_alone(tmp_path: Path) -> None:
    picture = random_picture(20, 30)
    crop = detector(tmp_path).crop(picture, (3, 4, 15, 17))
    np.testing.assert_array_equal(crop, picture[3:15, 4:17])


def test_context_surrounds_the_window(tmp_path: Path) -> None:
    picture = np.zeros((200, 200, 3), dtype=np.float32)
    picture[60:120, 80:140] = 1
    crop = detector(tmp_path, size=60, context_pad=10).crop(picture, (60, 80, 119, 139))
    assert crop.shape == (60, 60, 3)
    # The edge itself may fall a pixel to either side.
    np.testing.assert_allclose(crop[12:48, 12:48], 1, atol=1e-6)
    for border in (crop[:9], crop[51:], crop[:, :9], crop[:, 51:]):
        np.testing.assert_allclose(border, 0, atol=1e-6)


def test_context_outside_the_picture_is_the_mean(tmp_path: Path) -> None:
    # Worked out for rows 0 to 10 with R-CNN's figures: half an extent is 11 / 2, enlarged by
    # 227 / (227 - 32) it is 6.4, so rows -1 to 12 fill 227 pixels, 14 rows of 16.2 pixels each.
    picture = random_picture(40, 40)
    net = detector(
        tmp_path,
        size=227,
        context_pad=16,
        mean=np.array([104.0, 117.0, 123.0]),
        raw_scale=255,
        channel_swap=(2, 1, 0),
    )
    crop = net.crop(picture, (0, 20, 10, 30))
    mean = np.array([123, 117, 104]) / 255
    np.testing.assert_allclose(crop[:16], np.broadcast_to(mean, (16, 227, 3)), rtol=1e-6)
    np.testing.assert_allclose(crop[16:], resize_image(picture[0:12, 19:32], (211, 227)))
    # What the net sees there is nothing at all.
    item = net.transformer.preprocess("data", crop)
    np.testing.assert_allclose(item[:, :16], 0, atol=1e-4)


def test_context_below_and_right_of_the_picture_is_the_mean(tmp_path: Path) -> None:
    net = detector(tmp_path, size=60, context_pad=20, mean=np.array([0.25, 0.5, 0.75]))
    crop = net.crop(np.ones((30, 30, 3), np.float32), (20, 20, 30, 30))
    outside = np.broadcast_to(np.array([0.25, 0.5, 0.75]), (15, 60, 3))
    np.testing.assert_allclose(crop[-15:], outside)
    np.testing.assert_allclose(crop[:, -15:], outside.transpose(1, 0, 2))
    np.testing.assert_allclose(crop[:38, :38], 1)


def test_context_without_a_mean_is_black(tmp_path: Path) -> None:
    net = detector(tmp_path, size=60, context_pad=20)
    crop = net.crop(np.ones((30, 30, 3), np.float32), (0, 0, 30, 30))
    assert not crop[:10].any()
    np.testing.assert_allclose(crop[30, 30], 1)


def test_mean_picture_fills_by_place(tmp_path: Path) -> None:
    mean = np.random.default_rng(1).random((3, 12, 12)).astype(np.float32) * 255
    net = detector(tmp_path, context_pad=2, mean=mean, raw_scale=255, channel_swap=(1, 2, 0))
    item = net.transformer.preprocess("data", net.crop_mean)
    np.testing.assert_allclose(item, 0, atol=1e-3)


def test_crop_changes_neither_picture_nor_mean(tmp_path: Path) -> None:
    net = detector(tmp_path, context_pad=2, mean=np.array([1, 2, 3]))
    picture, mean = random_picture(20, 20), net.crop_mean.copy()
    before = picture.copy()
    net.detect_windows([(picture, [(0, 0, 9, 9), (9, 9, 20, 20)])])
    np.testing.assert_array_equal(picture, before)
    np.testing.assert_array_equal(net.crop_mean, mean)


def test_every_window_gives_a_full_crop(tmp_path: Path) -> None:
    net = detector(tmp_path, context_pad=5)
    picture = random_picture(7, 9)
    for ymin, xmin in np.ndindex(7, 9):
        for ymax, xmax in ((ymin + 1, xmin + 1), (7, 9), (7, xmin + 1), (70, 90)):
            crop = net.crop(picture, (ymin, xmin, ymax, xmax))
            assert crop.shape == (12, 12, 3)
            assert crop.any()


@pytest.mark.parametrize(
    "window",
    [
        (5, 5, 5, 8),
        (5, 5, 4, 8),
        (-1, 0, 5, 5),
        (0, 9, 5, 12),
        (9, 0, 12, 5),
        (0, 0, 5),
        "window",
        ("a", "b", "c", "d"),
        (0, 0, 5, float("nan")),
    ],
)
@pytest.mark.parametrize("context_pad", [None, 2])
def test_window_that_is_none(window: Any, context_pad: int | None, tmp_path: Path) -> None:
    net = detector(tmp_path, context_pad=context_pad)
    with pytest.raises(caffe.ShapeError, match="window"):
        net.detect_windows([(random_picture(9, 9), [window])])


def test_window_names_its_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (9, 9)).save(path)
    with pytest.raises(caffe.ShapeError, match=r"a\.png.*9 x 9"):
        detector(tmp_path).detect_windows([(path, [(0, 0, 5, 5), (20, 20, 30, 30)])])


def test_picture_that_is_none(tmp_path: Path) -> None:
    net = detector(tmp_path)
    with pytest.raises(caffe.ImageError, match=r"nothing\.jpg"):
        net.detect_windows([(tmp_path / "nothing.jpg", [(0, 0, 5, 5)])])
    with pytest.raises(caffe.ShapeError, match="H x W x K"):
        net.detect_windows([(np.zeros((9, 9)), [(0, 0, 5, 5)])])
    with pytest.raises(caffe.ShapeError, match="'data'"):
        net.detect_windows([(np.zeros((9, 9, 1)), [(0, 0, 5, 5)])])


@pytest.mark.parametrize("context_pad", [-1, 6, 100])
def test_context_that_leaves_no_room(context_pad: int, tmp_path: Path) -> None:
    with pytest.raises(caffe.ShapeError, match=f"context_pad {context_pad}"):
        detector(tmp_path, context_pad=context_pad)


def test_context_of_a_picture_with_other_channels(tmp_path: Path) -> None:
    net = detector(tmp_path, context_pad=2)
    with pytest.raises(caffe.ShapeError, match="4 channels"):
        net.crop(np.zeros((9, 9, 4)), (0, 0, 5, 5))


def test_selective_search_is_left_out(tmp_path: Path) -> None:
    with pytest.raises(caffe.CaffeError, match=r"selective search.*detect_windows"):
        detector(tmp_path).detect_selective_search(["cat.jpg"])
