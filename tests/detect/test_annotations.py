"""Boxes as COCO, VOC and YOLO have them, and as tables."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from caffe.detect import Detection
from caffe.detect.annotations import Searched, write_annotations
from caffe.errors import CaffeError

CLASSES = {1: "red", 2: "blue & green"}
FIRST = Searched(
    "in/a.png",
    100,
    50,
    [
        Detection(2, "blue & green", 0.9, (10.0, 5.0, 30.5, 25.0)),
        Detection(1, "red", 0.5, (0.0, 0.0, 100.0, 50.0)),
    ],
    0.25,
)
NOTHING = Searched("in/b.png", 8, 9, [], 0.5)


def write(form: str, place: Path) -> None:
    with write_annotations(form, str(place), CLASSES) as put:
        put(FIRST, "a")
        put(NOTHING, "b")


def test_coco_is_one_file_whose_parts_refer_to_each_other(tmp_path: Path) -> None:
    write("coco", tmp_path / "a.json")
    whole = json.loads((tmp_path / "a.json").read_text())
    assert [(i["id"], i["file_name"], i["width"]) for i in whole["images"]] == [
        (1, "in/a.png", 100),
        (2, "in/b.png", 8),
    ]
    assert whole["categories"] == [{"id": 1, "name": "red"}, {"id": 2, "name": "blue & green"}]
    first, second = whole["annotations"]
    assert first["bbox"] == [10.0, 5.0, 20.5, 20.0]
    assert first["area"] == 410.0
    assert (first["image_id"], first["category_id"], first["score"]) == (1, 2, 0.9)
    assert second["id"] == 2


def test_voc_has_a_file_for_each_picture_and_counts_from_one(tmp_path: Path) -> None:
    write("voc", tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.xml", "b.xml"]
    root = ElementTree.parse(tmp_path / "out" / "a.xml").getroot()
    assert root.findtext("filename") == "a.png"
    assert root.findtext("size/width") == "100"
    things = root.findall("object")
    assert [thing.findtext("name") for thing in things] == ["blue & green", "red"]
    corners = [[int(c.text or "") for c in thing.findall("bndbox/*")] for thing in things]
    assert corners == [[11, 6, 30, 25], [1, 1, 100, 50]]


def test_yolo_has_parts_of_the_picture_and_the_classes_names(tmp_path: Path) -> None:
    write("yolo", tmp_path)
    lines = (tmp_path / "a.txt").read_text().splitlines()
    assert lines == [
        "1 0.202500 0.300000 0.205000 0.400000 0.900000",
        "0 0.500000 0.500000 1.000000 1.000000 0.500000",
    ]
    assert (tmp_path / "b.txt").read_text() == ""
    assert (tmp_path / "classes.txt").read_text() == "red\nblue & green\n"


def test_yolos_classes_are_those_that_are_found_where_none_are_known(tmp_path: Path) -> None:
    with write_annotations("yolo", str(tmp_path), {}) as put:
        put(FIRST, "a")
    assert [line[0] for line in (tmp_path / "a.txt").read_text().splitlines()] == ["2", "1"]
    assert (tmp_path / "classes.txt").read_text() == "\nred\nblue & green\n"


def test_tables_have_a_row_for_each_object(tmp_path: Path) -> None:
    write("csv", tmp_path / "a.csv")
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert [row["name"] for row in rows] == ["blue & green", "red"]
    assert (rows[0]["xmin"], rows[0]["ymax"], rows[0]["frame"]) == ("10.0", "25.0", "")
    write("jsonl", tmp_path / "a.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [len(line["detections"]) for line in lines] == [2, 0]


def test_what_breaks_off_leaves_no_list(tmp_path: Path) -> None:
    def interrupted(form: str) -> None:
        with write_annotations(form, str(tmp_path / "a.json"), CLASSES) as put:
            put(FIRST, "a")
            raise KeyboardInterrupt

    for form in ("coco", "json"):
        with pytest.raises(KeyboardInterrupt):
            interrupted(form)
    assert list(tmp_path.iterdir()) == []


def test_a_form_that_is_none_is_refused() -> None:
    with pytest.raises(CaffeError, match="coco, voc, yolo"), write_annotations("kitti", None, {}):
        pass
    with pytest.raises(CaffeError, match="in which folder"), write_annotations("voc", None, {}):
        pass
