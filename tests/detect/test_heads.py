"""How boxes are read from the ends of nets: YOLO, R-CNN, proposals, offsets and corners."""

from __future__ import annotations

import numpy as np
import pytest

from caffe import detect
from caffe.errors import NetError
from tests.helpers.detectors import SSD

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


def test_a_net_that_does_not_end_in_boxes_is_refused() -> None:
    text = SSD[: SSD.index('layer { name: "cp"')]
    with pytest.raises(NetError, match=r"ends? .*boxes but in conf \(Convolution\), loc"):
        detect.ObjectDetector(text)
    with pytest.raises(NetError, match="no input"):
        detect.ObjectDetector(
            'layer { name: "d" type: "DummyData" top: "d" dummy_data_param { shape { dim: 1 } } }'
        )
