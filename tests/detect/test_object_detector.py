"""caffe.detect and `caffe detect`: from pictures to boxes in their coordinates."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import caffe
from caffe import detect
from caffe.detect.preparation import guess_preparation
from caffe.errors import CaffeError, NetError, ShapeError
from caffe.io import resize_image
from caffe.io.annotate import Mark, color_of, draw_marks
from caffe.io.recipe import PictureRecipe
from caffe.net.construction import read_model
from tests.helpers.command import caffe_command

CELL = 8

# A net that finds white cells of 8 x 8 pixels: their mean, as the score of a prior of that size.
SSD = """
name: "cells"
layer { name: "data" type: "Input" top: "data"
        input_param { shape { dim: 1 dim: 3 dim: 48 dim: 64 } } }
layer { name: "mean" type: "Pooling" bottom: "data" top: "mean"
        pooling_param { pool: AVE kernel_size: 8 stride: 8 } }
layer { name: "conf" type: "Convolution" bottom: "mean" top: "conf"
        convolution_param { num_output: 3 kernel_size: 1 } }
layer { name: "loc" type: "Convolution" bottom: "mean" top: "loc"
        convolution_param { num_output: 4 kernel_size: 1 } }
layer { name: "cp" type: "Permute" bottom: "conf" top: "cp"
        permute_param { order: 0 order: 2 order: 3 order: 1 } }
layer { name: "lp" type: "Permute" bottom: "loc" top: "lp"
        permute_param { order: 0 order: 2 order: 3 order: 1 } }
layer { name: "cr" type: "Reshape" bottom: "cp" top: "cr"
        reshape_param { shape { dim: 0 dim: -1 dim: 3 } } }
layer { name: "cs" type: "Softmax" bottom: "cr" top: "cs" softmax_param { axis: 2 } }
layer { name: "cf" type: "Flatten" bottom: "cs" top: "cf" }
layer { name: "lf" type: "Flatten" bottom: "lp" top: "lf" }
layer { name: "prior" type: "PriorBox" bottom: "mean" bottom: "data" top: "prior"
        prior_box_param { min_size: 8 variance: 0.1 } }
layer { name: "found" type: "DetectionOutput" bottom: "lf" bottom: "cf" bottom: "prior"
        top: "found"
        detection_output_param { num_classes: 3 code_type: CENTER_SIZE confidence_threshold: 0.1
                                 nms_param { nms_threshold: 0.4 } } }
"""


def cells(folder: Path) -> tuple[Path, Path]:
    """The net's files: red cells are class 1, blue ones class 2."""
    net = caffe.Net(SSD, caffe.TEST)
    weights, bias = net.params["conf"]
    weights.data[1, :, 0, 0] = 0, -0.1, 0.1  # blue, green, red
    weights.data[2, :, 0, 0] = 0.1, -0.1, 0
    bias.data[:] = 8, 0, 0
    model, trained = folder / "cells.prototxt", folder / "cells.caffemodel"
    model.write_text(SSD)
    net.save(trained)
    return model, trained


def painted(size: tuple[int, int] = (96, 128)) -> np.ndarray:
    """A grey picture, twice the net's size, with a red and a blue cell."""
    picture = np.full((*size, 3), 90, np.uint8)
    y, x = size[0] // 6, size[1] // 8
    picture[y * 1 : y * 2, x * 2 : x * 3] = 250, 20, 20
    picture[y * 4 : y * 5, x * 7 : x * 8] = 20, 20, 250
    return picture


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


YOLO = """
input: "data" input_shape {{ dim: 1 dim: 3 dim: 64 dim: 64 }}
layer {{ name: "mean" type: "Pooling" bottom: "data" top: "mean"
        pooling_param {{ pool: AVE kernel_size: 16 stride: 16 }} }}
layer {{ name: "map" type: "Convolution" bottom: "mean" top: "map"
        convolution_param {{ num_output: {channels} kernel_size: 1 }} }}
{more}
"""


def test_maps_of_yolo_are_read_with_the_anchors() -> None:
    text = YOLO.format(channels=2 * 7, more="")
    detector = detect.ObjectDetector(
        text, anchors=[1, 1, 2, 3], labels=["a", "b"], order="bgr", fit="stretch", mean=0, scale=1
    )
    assert (detector.head.kind, detector.head.classes) == ("maps", 2)
    weights, bias = detector.net.params["map"]
    bias.data[:] = 0
    bias.data[[4, 11]] = -20  # no object anywhere
    weights.data[11, 2] = 0.3  # but the second box sees red
    bias.data[13] = 8  # and calls it b
    picture = np.zeros((128, 128, 3), np.uint8)
    picture[32:64, 64:96, 0] = 255
    (found,) = detector.detect(picture)
    assert (found.name, found.label) == ("b", 1)
    # Cell (1, 2) of 4 x 4, its middle, 2 cells wide and 3 high.
    np.testing.assert_allclose(found.box, (48, 0, 112, 96), atol=0.1)


def test_three_maps_are_yolo_v3s() -> None:
    more = """
    layer { name: "p2" type: "Pooling" bottom: "mean" top: "p2"
            pooling_param { pool: AVE kernel_size: 2 stride: 2 } }
    layer { name: "map2" type: "Convolution" bottom: "p2" top: "map2"
            convolution_param { num_output: 255 kernel_size: 1 } }
    layer { name: "p3" type: "Pooling" bottom: "p2" top: "p3"
            pooling_param { pool: AVE kernel_size: 2 stride: 2 } }
    layer { name: "map3" type: "Convolution" bottom: "p3" top: "map3"
            convolution_param { num_output: 255 kernel_size: 1 } }
    """
    detector = detect.ObjectDetector(YOLO.format(channels=255, more=more), labels="coco")
    for name in ("map", "map2", "map3"):
        detector.net.params[name][1].data[:] = -20
    bias = detector.net.params["map3"][1].data
    bias[85 + 4] = bias[85 + 5 + 15] = 20  # the second box of the coarsest map: a cat
    bias[85 : 85 + 4] = 0
    (found,) = detector.detect(np.zeros((64, 64, 3), np.uint8))
    assert found.name == "cat"
    # Its anchor, 156 x 198 pixels, is larger than the picture.
    assert found.box == (0, 0, 64, 64)
    assert str(detector.preparation).startswith("rgb, ")
    assert detector.preparation.fit == "letterbox"


RCNN = """
input: "data" input_shape { dim: 1 dim: 3 dim: 60 dim: 80 }
input: "im_info" input_shape { dim: 1 dim: 3 }
layer { name: "rois" type: "DummyData" top: "rois"
        dummy_data_param { shape { dim: 2 dim: 5 } data_filler { type: "constant" value: 0 } } }
layer { name: "s" type: "Silence" bottom: "data" bottom: "im_info" }
layer { name: "cls_prob" type: "DummyData" top: "cls_prob"
        dummy_data_param { shape { dim: 2 dim: 3 } data_filler { type: "constant" value: 0 } } }
layer { name: "bbox_pred" type: "DummyData" top: "bbox_pred"
        dummy_data_param { shape { dim: 2 dim: WIDE } data_filler { type: "constant" value: 0 } } }
"""


@pytest.mark.parametrize("agnostic", [False, True])
def test_regions_of_an_rcnn_are_moved_by_their_class(agnostic: bool) -> None:
    wide = 8 if agnostic else 12
    detector = detect.ObjectDetector(RCNN.replace("WIDE", str(wide)), size=(60, 200))
    assert (detector.head.kind, detector.preparation.fit) == ("regions", "shorter side")
    blobs = detector.net.blobs
    # A DummyData of one constant is filled once only.
    blobs["rois"].data[...] = [[0, 10, 20, 29, 39], [0, 0, 0, 79, 59]]
    blobs["cls_prob"].data[...] = [[0.1, 0.1, 0.8], [0.8, 0.1, 0.1]]
    moved = np.zeros((2, wide // 4, 4), np.float32)
    moved[0, -1] = 0.5, 0, np.log(2), 0
    blobs["bbox_pred"].data[...] = moved.reshape(2, wide)
    (found,) = detector.detect(np.zeros((120, 160, 3), np.uint8))
    assert (found.label, found.name) == (2, "class 2")
    assert found.score == pytest.approx(0.8)
    # 20 pixels wide: its middle moves by 10, to 30, and it is 40 wide; the picture is twice that.
    np.testing.assert_allclose(found.box, (20, 40, 100, 80), atol=0.01)
    assert blobs["data"].shape[2:] == (60, 80)
    assert blobs["im_info"].data.tolist() == [[60, 80, 0.5]]


def test_a_region_proposal_net_alone_finds_objects() -> None:
    text = """
    input: "data" input_shape { dim: 1 dim: 3 dim: 64 dim: 64 }
    input: "im_info" input_shape { dim: 1 dim: 3 }
    layer { name: "f" type: "Pooling" bottom: "data" top: "f"
            pooling_param { pool: AVE kernel_size: 16 stride: 16 } }
    layer { name: "s" type: "Convolution" bottom: "f" top: "s"
            convolution_param { num_output: 2 kernel_size: 1 } }
    layer { name: "p" type: "Softmax" bottom: "s" top: "p" }
    layer { name: "b" type: "Convolution" bottom: "f" top: "b"
            convolution_param { num_output: 4 kernel_size: 1 } }
    layer { name: "proposal" type: "Proposal" bottom: "p" bottom: "b" bottom: "im_info"
            top: "rois" top: "scores" proposal_param { ratio: 1 scale: 2 } }
    """
    detector = detect.ObjectDetector(text, size=(64, 64), mean=0)
    detector.net.params["s"][0].data[1] = 0.02
    detector.net.params["s"][1].data[:] = 3, 0
    picture = np.zeros((128, 128, 3), np.uint8)
    picture[64:96, 32:64] = 255
    (found,) = detector.detect(picture)
    assert found.name == "object"
    # The anchor of 32 pixels around place (2, 1), in a picture twice as large.
    np.testing.assert_allclose(found.box, (16, 48, 80, 112), atol=2)


def ultraface(decoded: bool) -> str:
    """A net of UltraFace's form: bright squares are faces."""
    text = """layer { name: "input" type: "Input" top: "input"
                      input_param { shape { dim: 1 dim: 3 dim: 48 dim: 64 } } }"""
    for step, count in ((8, 3), (16, 2), (32, 2), (64, 3)):
        text += f"""
        layer {{ name: "mean{step}" type: "Pooling" bottom: "input" top: "mean{step}"
                pooling_param {{ pool: AVE kernel_size: {step} stride: {step} }} }}"""
        for what, each in (("box", 4), ("score", 2)):
            name = f"{what}{step}"
            text += f"""
            layer {{ name: "{name}" type: "Convolution" bottom: "mean{step}" top: "{name}"
                    convolution_param {{ num_output: {count * each} kernel_size: 1 }} }}
            layer {{ name: "{name}p" type: "Permute" bottom: "{name}" top: "{name}p"
                    permute_param {{ order: 0 order: 2 order: 3 order: 1 }} }}
            layer {{ name: "{name}r" type: "Reshape" bottom: "{name}p" top: "{name}r"
                    reshape_param {{ shape {{ dim: 1 dim: -1 dim: {each} }} }} }}"""
    for what, top in (("box", "offsets" if decoded else "boxes"), ("score", "raw")):
        bottoms = " ".join(f'bottom: "{what}{step}r"' for step in (8, 16, 32, 64))
        text += f"""
        layer {{ name: "{top}" type: "Concat" {bottoms} top: "{top}" }}"""
    if decoded:
        text += """
        layer { name: "boxes" type: "Sigmoid" bottom: "offsets" top: "boxes" }"""
    return (
        text
        + """
        layer { name: "scores" type: "Softmax" bottom: "raw" top: "scores"
                softmax_param { axis: 2 } }"""
    )


def test_boxes_of_ultraface_are_offsets_from_its_squares() -> None:
    detector = detect.ObjectDetector(ultraface(decoded=False))
    assert (detector.preparation.order, detector.preparation.mean) == ("rgb", (127,) * 3)
    for step in (8, 16, 32, 64):
        detector.net.params[f"score{step}"][1].data[:] = 0
        detector.net.params[f"score{step}"][1].data[0::2] = 30
    # The second square of a place, 48 pixels wide, is for faces; a bit lower, and twice as high.
    weights, bias = detector.net.params["score16"]
    weights.data[3], bias.data[3] = 15, 0
    detector.net.params["box16"][1].data[4:] = 0, 1, 0, np.log(2) / 0.2
    picture = np.zeros((96, 128, 3), np.uint8)
    picture[32:64, 64:96] = 255
    (found,) = detector.detect(picture)
    assert found.name == "face"
    # In a picture twice as large, around (80, 48 + 0.1 * 96), and cut at its edge.
    np.testing.assert_allclose(found.box, (32, 0, 128, 96), atol=0.1)


def test_boxes_that_are_computed_further_are_corners() -> None:
    detector = detect.ObjectDetector(ultraface(decoded=True))
    assert detector.names is None
    for step in (8, 16, 32, 64):
        detector.net.params[f"score{step}"][1].data[0::2] = 30
        corners = np.array([0.25, 0.5, 0.75, 0.75])
        boxes = detector.net.params[f"box{step}"][1]
        boxes.data[:] = np.resize(np.log(corners / (1 - corners)), boxes.shape)
    detector.net.params["score64"][1].data[1] = 40
    (found,) = detector.detect(np.zeros((96, 128, 3), np.uint8))
    assert found.name == "class 1"
    np.testing.assert_allclose(found.box, (32, 48, 96, 72), atol=0.01)


# How pictures go in.


@pytest.mark.parametrize(
    ("text", "kind", "order", "mean", "scale"),
    [
        (SSD, "rows", "bgr", (104, 117, 123), 1),
        (SSD.replace('"cells"', '"PELEE_VOC"'), "rows", "bgr", (103.94, 116.78, 123.68), 0.017),
        (SSD.replace("dim: 3 dim: 48", "dim: 1 dim: 48"), "rows", "grey", (0,), 1 / 255),
        (
            SSD.replace(
                'top: "mean"', 'top: "mean" transform_param { mean_value: 9 scale: 0.5 }', 1
            ),
            "rows",
            "bgr",
            (9, 9, 9),
            0.5,
        ),
        (SSD, "maps", "rgb", (0, 0, 0), 1 / 255),
        (SSD, "regions", "bgr", (102.9801, 115.9465, 122.7717), 1),
        (SSD, "offsets", "rgb", (127, 127, 127), 1 / 128),
    ],
)
def test_the_preparation_is_guessed_from_the_text(
    text: str, kind: str, order: str, mean: tuple[float, ...], scale: float
) -> None:
    _, param = read_model(text)
    shape = (1, 1 if order == "grey" else 3, 48, 64)
    guess = guess_preparation(param, kind, shape)
    assert isinstance(guess, PictureRecipe)
    assert (guess.order, guess.scale) == (order, pytest.approx(scale))
    np.testing.assert_allclose(guess.mean, mean, rtol=1e-6)
    assert guess.why


def test_depthwise_convolutions_take_values_from_minus_1_to_1() -> None:
    depthwise = """layer { name: "dw" type: "Convolution" bottom: "conf" top: "dw"
        convolution_param { num_output: 32 kernel_size: 3 group: 32 } }"""
    guess = guess_preparation(read_model(SSD + depthwise)[1], "rows", (1, 3, 48, 64))
    assert guess.mean == (127.5,) * 3
    assert guess.scale == 1 / 127.5


def test_each_value_of_the_preparation_has_its_reason(tmp_path: Path) -> None:
    guessed = detect.ObjectDetector(*cells(tmp_path)).preparation
    assert guessed.why == "order, mean and scale: an SSD net; size: the net's input"
    said = detect.ObjectDetector(
        *cells(tmp_path), mean=9, fit="letterbox", reasons={"mean": "a letter"}
    ).preparation
    assert said.why == (
        "order and scale: an SSD net; mean: a letter; size: the net's input; fit: as said"
    )
    text = SSD.replace('top: "mean"', 'top: "mean" transform_param { mean_value: 9 }', 1)
    assert detect.ObjectDetector(text).preparation.why == (
        "order: Caffe's usual; mean and scale: transform_param in the net's text; "
        "size: the net's input"
    )


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


# Errors.


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


def test_a_net_that_does_not_end_in_boxes_is_refused() -> None:
    text = SSD[: SSD.index('layer { name: "cp"')]
    with pytest.raises(NetError, match=r"ends? .*boxes but in conf \(Convolution\), loc"):
        detect.ObjectDetector(text)
    with pytest.raises(NetError, match="no input"):
        detect.ObjectDetector(
            'layer { name: "d" type: "DummyData" top: "d" dummy_data_param { shape { dim: 1 } } }'
        )


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


# Drawing.


def test_boxes_and_texts_are_drawn_within_the_picture() -> None:
    marks = [
        Mark((-20, -20, 60, 50), "at the corner 0.98", 1),
        Mark((150, 90, 400, 300), "past the other corner 0.91", 2),
        Mark((70, 40, 71, 41), "small", 3),
    ]
    black, white = (
        np.asarray(draw_marks(np.full((120, 200, 3), value, np.float32), marks)) for value in (0, 1)
    )
    assert black.shape == (120, 200, 3)
    for group in (1, 2, 3):
        color = np.array(color_of(group))
        for drawn in (black, white):
            rows, columns = np.nonzero((drawn == color).all(2))
            assert len(rows) > 100, "the text's ground is not there"
            assert columns.min() >= 0
            assert rows.max() < 120
    # What is written is the same on both grounds.
    assert (black == white).all(2).mean() > 0.1
    assert np.unique([color_of(i) for i in range(20)], axis=0).shape == (20, 3)


def test_texts_of_boxes_in_one_place_do_not_cover_each_other() -> None:
    box = (40, 60, 160, 140)
    marks = [Mark(box, f"thing {i}", i) for i in range(3)]
    drawn = np.asarray(draw_marks(np.zeros((200, 240, 3)), marks))
    # The first one's colour is on the line around the box too.
    areas = [((drawn == color_of(i)).all(2)).sum() for i in range(3)]
    assert min(areas) > 0.4 * max(areas)


# The command.


invoke = partial(caffe_command, "detect")


def test_the_command_draws_tells_and_writes_json(tmp_path: Path) -> None:
    net, weights = cells(tmp_path)
    picture = tmp_path / "picture.png"
    Image.fromarray(painted()).save(picture)
    labels = tmp_path / "labels.txt"
    labels.write_text("red\nblue\n")
    common = ("--net", net, "--weights", weights, "--labels", labels)
    target = tmp_path / "new" / "boxes.png"
    done = invoke(picture, *common, "-o", target)
    assert done.exit_code == 0, done.output
    assert "(32, 16, 48, 32)" in done.output
    assert "red" in done.output
    with Image.open(target) as drawn:
        assert drawn.size == (128, 96)
        assert (np.asarray(drawn) != painted()).any()
    assert "(order, mean and scale: an SSD net; size: the net's input)" in done.stderr
    done = invoke(picture, *common, "--json", "--mean", "104,117,123", "--threshold", "0.3")
    assert "order and scale: an SSD net; mean: --mean; size: the net's input" in done.stderr
    line = json.loads(done.stdout.splitlines()[-1])
    assert (line["path"], line["width"], line["height"]) == (str(picture), 128, 96)
    assert {d["name"] for d in line["detections"]} == {"red", "blue"}
    assert line["detections"][0]["box"] in ([32.0, 16.0, 48.0, 32.0], [112.0, 64.0, 128.0, 80.0])


def test_the_command_goes_on_after_a_picture_that_is_none(tmp_path: Path) -> None:
    net, weights = cells(tmp_path)
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(painted()).save(folder / "a.png")
    Image.fromarray(painted()).save(folder / "c.jpg")
    (folder / "b.png").write_text("no picture")
    done = invoke(folder, "--net", net, "--weights", weights, "-o", tmp_path / "out")
    assert done.exit_code == 1
    assert "b.png: not a picture" in done.stderr
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.png", "c.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give --net and --weights, or --model"),
        (("--net", "x.prototxt"), "--net goes with --weights"),
        (("--model", "ssd300_voc", "--labels", "voc"), "models of the zoo know"),
        (("--net", "x", "--weights", "y", "--size", "5"), "--size takes 2 numbers"),
    ],
)
def test_the_command_refuses_what_does_not_belong_together(
    arguments: tuple[str, ...], message: str
) -> None:
    done = invoke("picture.png", *arguments)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.replace("│", " ").split())


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
