"""`convert_annoset`: pictures with boxes that AnnotatedData reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from caffe.layers.sources.bgr_pictures import read_picture, resize_picture
from caffe.layers.sources.databases import open_database
from caffe.proto.caffe_pb2 import AnnotatedDatum, DataParameter
from caffe.tools.convert_annoset import convert_annoset
from tests.helpers.command import tool
from tests.helpers.sources import picture, save_picture, source

BOXES = {"a.png": "1 6 3 12 9\n2 0 0 3 3\n", "sub dir/b.jpg": "2 3 3 9 6\n"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "sub dir").mkdir()
    lines = []
    for number, (name, boxes) in enumerate(BOXES.items()):
        save_picture(tmp_path / name, picture(12, 24))
        (tmp_path / f"{number}.txt").write_text(boxes)
        lines.append(f"{name} {number}.txt\n")
    (tmp_path / "list.txt").write_text("".join(lines))
    (tmp_path / "map.prototxt").write_text('item { name: "cat" label: 4 }')
    return tmp_path


def convert(root: Path, *options: str, expected: int = 0) -> str:
    result = tool(convert_annoset, *options, f"{root}/", root / "list.txt", root / "db")
    assert result.exit_code == expected, result.stderr
    assert (root / "db").exists() == (expected == 0)
    assert not list(root.glob(".recaffe-*")), "nothing half-written stays"
    return result.stderr


def records(root: Path) -> dict[bytes, AnnotatedDatum]:
    entries = open_database(str(root / "db"), DataParameter.LMDB).entries()
    return {key: AnnotatedDatum.FromString(value) for key, value in entries}


DETECTION = ("-anno_type=detection", "-label_type=txt")


def test_keys_and_messages_are_the_original_s(root: Path) -> None:
    convert(root, *DETECTION)
    found = records(root)
    assert list(found) == [b"00000000_a.png", b"00000001_sub dir/b.jpg"]
    first = found[b"00000000_a.png"]
    assert first.type == AnnotatedDatum.BBOX
    assert first.datum.label == -1
    assert first.datum.data == read_picture(root / "a.png").tobytes()
    assert [group.group_label for group in first.annotation_group] == [1, 2]
    box = first.annotation_group[0].annotation[0].bbox
    assert (box.xmin, box.ymin, box.xmax, box.ymax) == (0.25, 0.25, 0.5, 0.75)


@pytest.mark.parametrize("how", [(), ("-encoded",), ("-encode_type=png",)])
def test_an_annotated_data_layer_reads_what_was_written(root: Path, how: tuple[str, ...]) -> None:
    convert(root, *DETECTION, "-resize_height=6", "-resize_width=8", *how)
    net = source(
        f'type: "AnnotatedData" data_param {{ source: "{root}/db" batch_size: 2 backend: LMDB }}'
    )
    out = net.forward()
    # Which picture, label, instance, the box, and whether it is difficult.
    expected = [
        [0, 1, 0, 0.25, 0.25, 0.5, 0.75, 0],
        [0, 2, 0, 0, 0, 0.125, 0.25, 0],
        [1, 2, 0, 0.125, 0.25, 0.375, 0.5, 0],
    ]
    assert np.allclose(out["label"][0, 0], expected)
    assert out["data"].shape == (2, 3, 6, 8)
    if how != ("-encoded",):
        resized = resize_picture(read_picture(root / "a.png"), 6, 8)
        assert np.array_equal(out["data"][0], resized)


def test_without_boxes_there_are_labels(root: Path) -> None:
    (root / "list.txt").write_text("a.png 5\nsub dir/b.jpg 6\n")
    convert(root)
    assert [found.datum.label for found in records(root).values()] == [5, 6]
    assert not any(found.HasField("type") for found in records(root).values())


@pytest.mark.parametrize(
    ("options", "size"),
    [
        (("-min_dim=24",), (24, 48)),
        (("-min_dim=6",), (12, 24)),
        (("-max_dim=16",), (8, 16)),
        (("-min_dim=24", "-max_dim=30"), (15, 30)),
        (("-min_dim=24", "-resize_height=5", "-resize_width=5"), (24, 48)),
    ],
)
def test_sides_are_made_longer_and_shorter(
    root: Path, options: tuple[str, ...], size: tuple[int, int]
) -> None:
    convert(root, *DETECTION, *options)
    for found in records(root).values():
        assert (found.datum.height, found.datum.width) == size
    box = records(root)[b"00000000_a.png"].annotation_group[0].annotation[0].bbox
    assert box.xmin == 0.25


def test_names_are_labels_by_the_label_map(root: Path) -> None:
    box = "<bndbox><xmin>2</xmin><ymin>1</ymin><xmax>4</xmax><ymax>6</ymax></bndbox>"
    for number in range(2):
        (root / f"{number}.txt").write_text(
            f"<annotation><object><name>cat</name>{box}</object></annotation>"
        )
    options = ("-anno_type", "detection", "-check_label")
    assert "say --label-map-file" in convert(root, *options, expected=1)
    convert(root, *options, f"-label_map_file={root}/map.prototxt")
    for found in records(root).values():
        assert [group.group_label for group in found.annotation_group] == [4]


def test_odd_boxes_are_told_and_kept(root: Path) -> None:
    (root / "1.txt").write_text("1 0 0 30 4\n")
    told = convert(root, *DETECTION)
    assert f"{root}/1.txt: the box 0, 0 to 30, 4 reaches out of the picture" in told
    assert len(records(root)) == 2


def test_a_picture_without_a_file_of_boxes_has_none(root: Path) -> None:
    (root / "1.txt").unlink()
    (root / "list.txt").write_text("a.png\t0.txt\nsub dir/b.jpg  1.txt\n")
    assert "a picture without boxes" in convert(root, *DETECTION, "-encoded")
    first, second = records(root).values()
    assert (len(first.annotation_group), len(second.annotation_group)) == (2, 0)
    assert (second.datum.channels, second.datum.height, second.datum.width) == (3, 12, 24)
    assert second.datum.data == (root / "sub dir/b.jpg").read_bytes()


def test_pictures_that_cannot_be_read_are_left_out(root: Path) -> None:
    (root / "a.png").write_bytes(b"no picture")
    assert "a.png" in convert(root, *DETECTION)
    assert list(records(root)) == [b"00000001_sub dir/b.jpg"]


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (("-anno_type=boxes",), "--anno-type is one of classification, detection"),
        (("-label_type=yaml",), "--label-type is one of xml, json, txt"),
        ((*DETECTION[:1], "-label_type=json"), "--label-map-file"),
        (("-anno_type=detection", "-label_type=xml", "-label_map_file=none"), "none"),
    ],
)
def test_wrong_options_write_nothing(root: Path, options: tuple[str, ...], what: str) -> None:
    assert what in convert(root, *options, expected=1)


def test_boxes_that_cannot_be_read_end_it(root: Path) -> None:
    (root / "1.txt").write_text("cat 1 2 3 4\n")
    assert "1.txt" in convert(root, *DETECTION, expected=1)
    (root / "list.txt").write_text("a.png\n")
    assert "list.txt:1" in convert(root, *DETECTION, expected=1)
    (root / "list.txt").write_text("\n")
    assert "holds no pictures" in convert(root, *DETECTION, expected=1)
