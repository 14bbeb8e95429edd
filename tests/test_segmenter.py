"""caffe.segmenter: from a picture to a class for each of its pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import caffe
from caffe.errors import CaffeError, NetError, ShapeError
from caffe.io import labels
from caffe.segmenter import Segmentation, Segmenter, color_of
from tests.helpers.segmenters import ARGMAX, FCN, colours, halves

NAMES = ["red", "blue"]


@pytest.mark.parametrize("more", ["", ARGMAX])
def test_each_pixel_has_the_class_of_its_place(tmp_path: Path, more: str) -> None:
    labels = ["background", *NAMES] if more else NAMES
    segmenter = Segmenter(*colours(tmp_path, more), labels=labels)
    found = segmenter.segment(halves())
    assert found.classes.shape == (48, 64)
    # Borders are blurred by the net's coarse places.
    assert (found.classes[:, :28] == 1).all()
    assert (found.classes[28:, 36:] == 2).all()
    assert (found.classes[:20, 36:] == 0).all()
    areas = found.areas()
    assert areas[0].name == "red"
    assert {area.name for area in areas} == {"red", "blue", "background"}
    assert sum(area.pixels for area in areas) == 48 * 64
    assert areas[0].share == pytest.approx(0.5, abs=0.05)


def test_any_form_and_size_of_a_picture_will_do(tmp_path: Path) -> None:
    segmenter = Segmenter(*colours(tmp_path))
    path = tmp_path / "a.png"
    Image.fromarray(halves((96, 200))).save(path)
    for picture in (path, path.read_bytes(), Image.open(path), halves((96, 200)) / 255.0):
        found = segmenter.segment(picture)
        assert found.classes.shape == (96, 200)
        assert found.classes[50, 20] == 1
    assert found.name_of(1) == "class 1"


def test_pictures_may_be_brought_to_another_size(tmp_path: Path) -> None:
    fine = Segmenter(*colours(tmp_path), size=(96, 128), reasons={"size": "--size"})
    assert fine.preparation.size == (96, 128)
    picture = halves()
    picture[4:8, 40:44] = 250, 10, 10
    # At the net's own size this would be a quarter of a place.
    assert (fine.segment(picture).classes[5:7, 41:43] == 1).all()


def test_the_palette_is_vocs_and_keeps_the_numbers(tmp_path: Path) -> None:
    classes = np.array([[0, 1, 20], [-1, 255, 2]], np.int32)
    path = tmp_path / "a.png"
    Segmentation(classes).to_image().save(path)
    with Image.open(path) as read:
        assert read.mode == "P"
        assert np.asarray(read).tolist() == [[0, 1, 20], [255, 255, 2]]
        colors = np.asarray(read.convert("RGB"))
    # As in PASCAL VOC's own files: aeroplane, tvmonitor, and the border.
    assert colors[0, 1].tolist() == [128, 0, 0]
    assert colors[0, 2].tolist() == [0, 64, 128]
    assert colors[1, 0].tolist() == [224, 224, 192]
    assert len({color_of(label) for label in range(256)}) == 256
    with pytest.raises(CaffeError, match="256 classes at most; here is class 256"):
        Segmentation(np.full((2, 2), 256, np.int32)).to_image()


def test_an_overlay_shows_classes_where_they_are_and_their_names() -> None:
    picture = np.full((60, 80, 3), 100, np.uint8)
    classes = np.zeros((60, 80), np.int32)
    classes[10:40, 10:40] = 15
    drawn = np.asarray(Segmentation(classes, ["x"] * 16).overlay(picture))
    assert drawn.shape[0] > 60
    assert (drawn[50, 60] == 100).all()
    assert drawn[25, 25, 0] > 140 > drawn[25, 25, 1] > 100
    assert drawn[10, 20].tolist() == list(color_of(15))


@pytest.mark.parametrize(
    ("text", "options", "error", "told"),
    [
        (FCN, {"labels": ["a", "b", "c", "d"]}, CaffeError, "4 classes, but 'score' tells 3"),
        (FCN, {"blob": "absent"}, CaffeError, "no blob 'absent'"),
        (FCN, {"order": "grey"}, CaffeError, "order of channels"),
        (FCN.replace("dim: 3 dim: 24", "dim: 2 dim: 24"), {}, ShapeError, "takes no pictures"),
        (FCN.replace("kernel_size: 4 stride: 4", "global_pooling: true"), {}, NetError, "no map"),
        (
            'layer { name: "d" type: "DummyData" top: "d" dummy_data_param { shape { dim: 1 } } }',
            {},
            NetError,
            "no input",
        ),
    ],
)
def test_what_is_no_segmenter_is_told(
    text: str, options: dict[str, Any], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        Segmenter(caffe.Net(text, caffe.TEST), **options)


def test_nets_of_one_channel_get_grey_pictures() -> None:
    text = FCN.replace("dim: 1 dim: 3", "dim: 1 dim: 1").split('layer { name: "score"')[0]
    both = (
        'layer { name: "low" type: "Power" bottom: "mean" top: "low" '
        "power_param { scale: -1 shift: 1 } } "
        'layer { name: "map" type: "Concat" bottom: "low" bottom: "mean" top: "map" }'
    )
    segmenter = Segmenter(caffe.Net(text + both, caffe.TEST))
    picture = np.zeros((24, 32, 3), np.uint8)
    picture[:, 16:] = 255
    assert segmenter.segment(picture).classes[:, ::31].tolist() == [[0, 1]] * 24


def test_published_nets_are_segmenters(shared: Path) -> None:
    model = shared / "models" / "segnet_basic" / "segnet_basic_camvid.prototxt"
    segmenter = Segmenter(model, labels="camvid")
    found = segmenter.segment(halves())
    assert found.classes.shape == (48, 64)
    assert all(area.name in labels.camvid() for area in found.areas())
