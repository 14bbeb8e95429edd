"""Files of boxes: three forms, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from caffe.errors import MissingFileError, ParseError
from caffe.io.annotations import FORMS, Box, read_annotation, read_label_map

LABELS = {"cat": 3, "dog": 7, "18": 2}
XML = """<annotation><size><width>200</width><height>100</height><depth>3</depth></size>
<object><name>dog</name><difficult>1</difficult>
<bndbox><xmin>20</xmin><ymin>10</ymin><xmax>100</xmax><ymax>50</ymax></bndbox>
<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part></object>
<object><name>cat</name>
<bndbox><xmin>0.5</xmin><ymin>0</ymin><xmax>200</xmax><ymax>100</ymax></bndbox></object>
<object><name>dog</name>
<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax></bndbox></object></annotation>"""
JSON = """{"image": {"width": 200, "height": 100}, "annotation": [
{"category_id": 18, "bbox": [20, 10, 80, 40], "iscrowd": 1}]}"""


def read(tmp_path: Path, form: str, content: str | bytes) -> object:
    path = tmp_path / "boxes"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_annotation(path, form, (50, 60), LABELS)


def test_vocs_form(tmp_path: Path) -> None:
    found = read(tmp_path, "xml", XML)
    assert found.size == (100, 200)
    assert found.boxes == [
        Box(7, 20, 10, 100, 50, difficult=True),
        Box(3, 0.5, 0, 200, 100),
        Box(7, 1, 2, 3, 4),
    ]


@pytest.mark.parametrize("width", ["", "200.5", "wide"])
def test_a_size_that_is_none_is_the_pictures(tmp_path: Path, width: str) -> None:
    found = read(tmp_path, "xml", XML.replace("<width>200", f"<width>{width}"))
    assert found.size == (50, 60)


def test_boxes_are_parts_of_the_picture_by_label(tmp_path: Path) -> None:
    dogs, cats = read(tmp_path, "xml", XML).groups()
    assert (dogs.group_label, cats.group_label) == (7, 3)
    assert [a.instance_id for a in dogs.annotation] == [0, 1]
    box = dogs.annotation[0].bbox
    sides = box.xmin, box.ymin, box.xmax, box.ymax
    assert sides == pytest.approx((0.1, 0.1, 0.5, 0.5))
    assert [a.bbox.difficult for a in dogs.annotation] == [True, False]


def test_cocos_form_of_one_picture(tmp_path: Path) -> None:
    found = read(tmp_path, "json", JSON)
    assert (found.size, found.boxes) == ((100, 200), [Box(2, 20, 10, 100, 50, difficult=True)])


def test_lines_of_text_are_for_the_picture_as_it_is(tmp_path: Path) -> None:
    found = read(tmp_path, "txt", "\ufeff4 1 2 3 4\n\n0 5 6 7.5 8\n")
    assert (found.size, found.boxes) == ((50, 60), [Box(4, 1, 2, 3, 4), Box(0, 5, 6, 7.5, 8)])


@pytest.mark.parametrize(
    ("form", "content", "what"),
    [
        ("xml", XML.replace("cat", "cow"), "'cow' is no name of the label map, which has cat, dog"),
        ("xml", XML.replace("<xmax>200</xmax>", ""), "there is no bndbox/xmax in <object>"),
        ("xml", XML.replace("0.5", "half"), "half"),
        ("xml", XML.replace("0.5", "nan"), "no finite number"),
        ("xml", XML.replace("<width>200", "<width>0"), "picture of 0 x 100"),
        ("xml", XML[:-20], "form xml"),
        ("xml", f'<!DOCTYPE a [<!ENTITY b "c">]>{XML}', "document type"),
        ("xml", f'<!DOCTYPE a [<!ENTITY b "c">]>{XML}'.encode("utf-16"), "document type"),
        ("json", JSON.replace("18", "19"), "'19' is no name"),
        ("json", JSON.replace("40", '"many"'), "form json"),
        ("json", JSON.replace(", 40", ""), "not .x, y, width, height"),
        ("json", JSON.replace("bbox", "box"), "annotation 0 needs bbox and category_id"),
        ("json", "[1, 2]", "it needs .*annotation"),
        ("json", "{}", "it needs .*annotation"),
        ("json", "[" * 100_000, "form json"),
        ("json", b"\xff\x00", "form json"),
        ("txt", "4 1 2 3\n", "form txt"),
        ("txt", "4 1 2 3 4 5\n", "form txt"),
        ("txt", "dog 1 2 3 4\n", "form txt"),
        ("txt", "99999999999 1 2 3 4\n", "too large"),
    ],
)
def test_what_is_wrong_is_told_with_the_file(
    tmp_path: Path, form: str, content: str | bytes, what: str
) -> None:
    with pytest.raises(ParseError, match=f"boxes.*{what}"):
        read(tmp_path, form, content)


@pytest.mark.parametrize("form", FORMS)
def test_a_file_that_is_not_there(tmp_path: Path, form: str) -> None:
    with pytest.raises(MissingFileError, match="nowhere"):
        read_annotation(tmp_path / "nowhere", form, (1, 1), LABELS)


def test_odd_boxes_are_told(tmp_path: Path) -> None:
    odd = read(tmp_path, "txt", "1 -1 2 3 4\n1 5 6 7 51\n1 9 2 3 4\n1 0 0 60 50\n").oddities
    assert odd((50, 60)) == [
        "the box -1, 2 to 3, 4 reaches out of the picture",
        "the box 5, 6 to 7, 51 reaches out of the picture",
        "the box 9, 2 to 3, 4 ends before it begins",
    ]
    assert odd((50, 61))[0] == "it is for a picture of 60 x 50, but that has 61 x 50"


def write_map(tmp_path: Path, *items: tuple[str, int]) -> Path:
    path = tmp_path / "map.prototxt"
    path.write_text("".join(f'item {{ name: "{n}" label: {v} }}\n' for n, v in items))
    return path


def test_a_label_map(tmp_path: Path) -> None:
    path = write_map(tmp_path, ("none", 0), ("cat", 5), ("kitten", 5), ("cat", 5))
    assert read_label_map(path) == {"none": 0, "cat": 5, "kitten": 5}
    with pytest.raises(ParseError, match="'cat' comes twice"):
        read_label_map(path, one_item_each=True)
    path = write_map(tmp_path, ("none", 0), ("cat", 5), ("kitten", 5))
    assert len(read_label_map(path, one_item_each=True)) == 3


@pytest.mark.parametrize("items", [(), (("cat", 1), ("cat", 2))])
def test_label_maps_that_are_refused(tmp_path: Path, items: tuple[tuple[str, int], ...]) -> None:
    with pytest.raises(ParseError, match=r"map\.prototxt"):
        read_label_map(write_map(tmp_path, *items))
