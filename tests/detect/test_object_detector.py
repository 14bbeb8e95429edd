"""caffe.detect and `caffe detect`: from pictures to boxes in their coordinates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from caffe import detect
from caffe.errors import CaffeError, ShapeError
from caffe.io import resize_image
from tests.helpers.detectors import SSD, cells, painted


def test_boxes_stand_where_the_objects_are_in_the_picture(tmp_path: Path) -> None:
    detector = detect.ObjectDetector(*cells(tmp_path), labels=["red", "blue"])
    found = detector.detect(painted())
    assert {d.name: d.label for d in found} == {"red": 1, "blue": 2}
    boxes = {d.name: d.box for d in found}
    # The background counts as label 0, and does not need a name.
    np.testing.assert_allclose(boxes["red"], (32, 16, 48, 32), atol=0.01)
    np.testing.assert_allclose(boxes["blue"], (112, 64, 128, 80), atol=0.01)
    assert all(0.9 < d.score <= 1 for d in found)
    assert found == sorted(found, key=lambda d: -d.score)


def test_every_size_and_kind_of_picture_will_do(tmp_path: Path) -> None:
    detector = detect.ObjectDetector(*cells(tmp_path))
    wide = painted((60, 320))
    path = tmp_path / "wide.png"
    Image.fromarray(wide).save(path)
    for picture in (wide, wide / 255.0, str(path), path.read_bytes()):
        (red, blue) = sorted(detector.detect(picture), key=lambda d: d.label)
        np.testing.assert_allclose(red.box, (80, 10, 120, 20), atol=0.01)
        assert (red.name, blue.name) == ("class 1", "class 2")
    assert detector.detect(np.zeros((5, 7), np.uint8)) == []
    with pytest.raises(ShapeError, match="H x W x 3"):
        detector.detect(np.zeros((2, 5, 7, 3)))


def test_a_letterbox_keeps_the_form_and_the_size_may_be_another(tmp_path: Path) -> None:
    files = cells(tmp_path)
    picture = painted((96, 96))  # cells of 16 rows and 12 columns
    detector = detect.ObjectDetector(*files, fit="letterbox", size=(48, 64))
    blob, frame = detector.prepare(picture / np.float32(255))
    assert blob.shape == (3, 48, 64)
    assert (frame.scale, frame.offset) == ((0.5, 0.5), (8, 0))
    np.testing.assert_allclose(frame.back(np.float32([[8, 0, 56, 48]])), [[0, 0, 96, 96]])
    # Grey stands at the sides, and the mean is taken from it as well.
    np.testing.assert_allclose(blob[:, 20, 0], np.float32([127.5 - 104, 127.5 - 117, 4.5]))
    large = detect.ObjectDetector(*files, size=(96, 128))
    found = large.detect(painted())
    assert {tuple(np.round(d.box).astype(int)) for d in found if d.label == 1} >= {(32, 16, 40, 24)}


def test_the_threshold_and_a_picture_without_objects(tmp_path: Path) -> None:
    detector = detect.ObjectDetector(*cells(tmp_path))
    assert len(detector.detect(painted(), threshold=0.9)) == 2
    assert detector.detect(np.full((48, 64, 3), 90, np.uint8)) == []


@pytest.mark.parametrize(
    ("options", "order", "brought"),
    [
        ({}, "bgr", (48, 64)),
        ({"order": "rgb", "mean": (1, 2, 3), "scale": 0.5}, "rgb", (48, 64)),
        ({"size": (30, 50), "scale": 1 / 128, "mean": 127}, "bgr", (30, 50)),
    ],
)
def test_what_goes_in_is_what_was_said(
    options: dict[str, Any], order: str, brought: tuple[int, int]
) -> None:
    picture = painted() / np.float32(255)
    blob, frame = detect.ObjectDetector(SSD, **options).prepare(picture)
    resized = resize_image(picture, brought)
    seen = resized if order == "rgb" else resized[:, :, ::-1]
    mean = np.array(options.get("mean", (104, 117, 123)), np.float32)
    expected = (seen * np.float32(255) - mean) * np.float32(options.get("scale", 1))
    np.testing.assert_array_equal(blob, expected.transpose(2, 0, 1))
    assert frame.scale == (brought[1] / 128, brought[0] / 96)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": ["one"]}, "name 1 classes, but the net tells 2 or 3 apart"),
        ({"labels": "nowhere.txt"}, "nowhere.txt: the labels cannot be read"),
        ({"mean": [1, 2]}, "the mean has 2 numbers, but the net 3"),
        ({"order": "grey"}, "order of channels"),
        ({"fit": "squeeze"}, "fit must be stretch or letterbox"),
        ({"size": (0, 5)}, "size must be a height and a width"),
    ],
)
def test_settings_that_do_not_fit_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(CaffeError, match=message):
        detect.ObjectDetector(SSD, **options)  # type: ignore[arg-type]


def test_label_maps_of_ssd_and_files_of_lines_are_read(tmp_path: Path) -> None:
    lines, items = tmp_path / "labels.txt", tmp_path / "labelmap.prototxt"
    lines.write_text("background\nred\nblue\n")
    items.write_text(
        'item { name: "none" label: 0 display_name: "background" }\n'
        'item { name: "b" label: 2 display_name: "blue" }\n'
        'item { name: "r" label: 1 display_name: "red" }\n'
    )
    for path in (lines, items):
        names = detect.ObjectDetector(SSD, labels=path)
        assert [names.name_of(i) for i in range(3)] == ["background", "red", "blue"]


@pytest.mark.parametrize(
    "name",
    ["libfacedetection_v1/yufacedetectnet-open-v1", "ultraface_slim320/slim-320"],
)
def test_faces_in_a_photograph(shared: Path, name: str) -> None:
    data = pytest.importorskip("skimage.data", reason="the picture is scikit-image's")
    files = [shared / "models" / f"{name}.{kind}" for kind in ("prototxt", "caffemodel")]
    detector = detect.ObjectDetector(*files, labels=["face"])
    face = detector.detect(data.astronaut(), threshold=0.9)[0]
    assert face.name == "face"
    np.testing.assert_allclose(face.box, (180, 60, 272, 176), atol=15)
