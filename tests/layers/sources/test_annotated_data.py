"""AnnotatedData: pictures and their boxes out of an LMDB, disturbed together."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import caffe
from caffe.errors import CaffeError
from caffe.proto.caffe_pb2 import AnnotatedDatum

SIZE = (40, 60)
"""Height and width of the pictures."""

Box = tuple[float, float, float, float]


def picture(box: Box) -> np.ndarray:
    """Black, the box being white, so that its place can be seen again."""
    pixels = np.zeros((*SIZE, 3), np.uint8)
    x1, y1, x2, y2 = (round(c * n) for c, n in zip(box, (SIZE[1], SIZE[0]) * 2, strict=True))
    pixels[y1:y2, x1:x2] = 255
    return pixels


def annotated(*boxes: tuple[int, Box]) -> bytes:
    datum = AnnotatedDatum(type=AnnotatedDatum.BBOX)
    datum.datum.encoded = True
    png = io.BytesIO()
    shown = boxes[0][1] if boxes else (0, 0, 0, 0)
    Image.fromarray(picture(shown)).save(png, "png")
    datum.datum.data = png.getvalue()
    for label, (x1, y1, x2, y2) in boxes:
        group = datum.annotation_group.add(group_label=label)
        one = group.annotation.add(instance_id=3)
        one.bbox.xmin, one.bbox.ymin, one.bbox.xmax, one.bbox.ymax = x1, y1, x2, y2
        one.bbox.difficult = label == 2
    return datum.SerializeToString()


def store(path: Path, *values: bytes) -> Path:
    lmdb = pytest.importorskip("lmdb")
    with lmdb.open(str(path), map_size=2**22) as environment, environment.begin(write=True) as txn:
        for i, value in enumerate(values):
            txn.put(f"{i:08d}".encode(), value)
    return path


def net(path: Path, batch: int = 1, text: str = "", phase: int = caffe.TEST) -> caffe.Net:
    caffe.set_random_seed(1)
    return caffe.Net(
        f'layer {{ name: "in" type: "AnnotatedData" top: "data" top: "label" '
        f'data_param {{ source: "{path}" batch_size: {batch} backend: LMDB }} {text} }}',
        phase,
    )


BOX = (0.2, 0.25, 0.5, 0.75)


def test_boxes_are_rows_with_their_pictures_number(tmp_path: Path) -> None:
    path = store(
        tmp_path / "db", annotated((1, BOX), (2, (0, 0, 1, 1))), annotated(), annotated((4, BOX))
    )
    source = net(path, 3)
    source.forward()
    np.testing.assert_allclose(
        source.blobs["label"].data,
        [[[
            [0, 1, 3, 0.2, 0.25, 0.5, 0.75, 0],
            [0, 2, 3, 0, 0, 1, 1, 1],
            [2, 4, 3, 0.2, 0.25, 0.5, 0.75, 0],
        ]]],
    )  # fmt: skip
    expected = picture(BOX).transpose(2, 0, 1)
    np.testing.assert_array_equal(source.blobs["data"].data[0], expected)


def test_a_batch_without_boxes_has_a_row_of_minus_one(tmp_path: Path) -> None:
    source = net(store(tmp_path / "db", annotated(), annotated((1, BOX))))
    assert source.blobs["label"].shape == (1, 1, 1, 8)
    source.forward()
    assert source.blobs["label"].data.tolist() == [[[[-1] * 8]]]
    source.forward()
    assert source.blobs["label"].shape == (1, 1, 1, 8)
    assert source.blobs["label"].data[0, 0, 0, 1] == 1


def found_box(data: np.ndarray) -> np.ndarray:
    """Where the white box lies in a picture, in parts of it."""
    bright = data[0].mean(0) > 127
    rows, columns = np.flatnonzero(bright.any(1)), np.flatnonzero(bright.any(0))
    height, width = bright.shape
    return np.array(
        [columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height]
    )


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("resize_param { height: 30 width: 30 }", (30, 30)),
        ("resize_param { height: 30 width: 30 interp_mode: AREA }", (30, 30)),
        ("resize_param { resize_mode: FIT_SMALL_SIZE height: 80 width: 80 }", (80, 120)),
        (
            "resize_param { resize_mode: FIT_LARGE_SIZE_AND_PAD height: 90 width: 60 "
            "pad_value: 100 }",
            (90, 60),
        ),
        ("mirror: true", SIZE),
        ("expand_param { max_expand_ratio: 3 } resize_param { height: 90 width: 90 }", (90, 90)),
    ],
)
def test_boxes_follow_their_picture(tmp_path: Path, text: str, shape: tuple[int, int]) -> None:
    source = net(
        store(tmp_path / "db", annotated((1, BOX))), 1, f"transform_param {{ {text} }}", caffe.TRAIN
    )
    places = set()
    for _ in range(6):
        source.forward()
        assert source.blobs["data"].shape == (1, 3, *shape)
        box = source.blobs["label"].data[0, 0, 0, 3:7]
        np.testing.assert_allclose(found_box(source.blobs["data"].data), box, atol=2.5 / min(shape))
        places.add(tuple(box.tolist()))
    assert (len(places) > 1) == ("mirror" in text or "expand" in text)


def test_parts_cut_out_keep_the_boxes_whose_middle_they_hold(tmp_path: Path) -> None:
    text = """
        transform_param { emit_constraint { emit_type: CENTER }
                          resize_param { height: 100 width: 100 } }
        annotated_data_param { batch_sampler {
            sampler { min_scale: 0.5 max_scale: 0.8 min_aspect_ratio: 0.5 max_aspect_ratio: 2 }
            sample_constraint { min_jaccard_overlap: 0.1 } max_sample: 1 max_trials: 50 } }"""
    source = net(store(tmp_path / "db", annotated((1, BOX))), 1, text, caffe.TRAIN)
    places = set()
    for _ in range(20):
        source.forward()
        row = source.blobs["label"].data[0, 0, 0]
        if row[0] == 0:
            assert 0 <= row[3] < row[5] <= 1
            np.testing.assert_allclose(found_box(source.blobs["data"].data), row[3:7], atol=0.08)
            places.add(tuple(row[3:7].tolist()))
    assert len(places) > 5


def test_mean_and_scale_come_last(tmp_path: Path) -> None:
    text = "transform_param { mean_value: 10 mean_value: 20 mean_value: 30 scale: 0.5 }"
    source = net(store(tmp_path / "db", annotated((1, BOX))), 1, text)
    source.forward()
    assert source.blobs["data"].data[0, :, 0, 0].tolist() == [-5, -10, -15]


def test_colours_are_disturbed_within_bounds(tmp_path: Path) -> None:
    text = """transform_param { distort_param {
        brightness_prob: 1 brightness_delta: 32 contrast_prob: 1 contrast_lower: 0.5
        contrast_upper: 1.5 hue_prob: 1 hue_delta: 18 saturation_prob: 1 saturation_lower: 0.5
        saturation_upper: 1.5 random_order_prob: 0.5 } }"""
    source = net(store(tmp_path / "db", annotated((1, BOX))), 1, text, caffe.TRAIN)
    seen = set()
    for _ in range(8):
        source.forward()
        data = source.blobs["data"].data
        assert data.min() >= 0
        assert data.max() <= 255
        seen.add(float(data.mean()))
    assert len(seen) > 4


@pytest.mark.parametrize(
    ("value", "text", "message"),
    [
        (b"\xff\xff", "", r"entry '00000000': the value of 2 bytes is no AnnotatedDatum"),
        (b"", "", "holds no Datum"),
        (annotated((1, BOX)), "transform_param { crop_size: 10 }", "crop_size: no crop goes with"),
        (annotated((1, BOX)), "transform_param { resize_param { height: 9 } }", "height and width"),
    ],
)
def test_what_cannot_be_read_is_named(
    tmp_path: Path, value: bytes, text: str, message: str
) -> None:
    path = store(tmp_path / "db", value)
    with pytest.raises(CaffeError, match=f"layer 'in' \\(AnnotatedData\\).*{message}"):
        net(path, 1, text)


def test_noise_stands_behind_resizing_and_leaves_boxes(tmp_path: Path) -> None:
    path = store(tmp_path / "db", annotated((1, BOX)))
    text = """transform_param { resize_param { height: 20 width: 30 interp_mode: NEAREST }
        noise_param { inverse: true erode: true } }"""
    source = net(path, 1, text)
    source.forward()
    small = picture(BOX)[::2, ::2].transpose(2, 0, 1)
    # The dark grows by a pixel before it becomes the bright.
    box = small[0] > 0
    inner = (
        box & np.roll(box, 1, 0) & np.roll(box, -1, 0) & np.roll(box, 1, 1) & np.roll(box, -1, 1)
    )
    np.testing.assert_array_equal(source.blobs["data"].data[0, 0], np.where(inner, 0, 255))
    np.testing.assert_allclose(source.blobs["label"].data[0, 0, 0, 3:7], BOX)
