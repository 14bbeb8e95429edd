"""The boxes of a picture's objects, from the files that programs for drawing them write.

What SSD's ``convert_annoset`` reads: an XML file of Pascal VOC's form, a JSON file of one picture
in COCO's, or lines of ``label xmin ymin xmax ymax``.
"""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ParseError, unreadable
from ..paths import PathLike, path_text
from ..proto.caffe_pb2 import AnnotationGroup, LabelMap
from ..proto.text import read_text

Size = tuple[int, int]
"""Height and width."""

SIDES = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class Box:
    """An object's box, in pixels from the left upper corner, and its label."""

    label: int
    xmin: float
    ymin: float
    xmax: float
    ymax: float
    difficult: bool = False


@dataclass(frozen=True)
class Annotation:
    """The boxes in a picture of some size."""

    size: Size
    boxes: Sequence[Box]

    def groups(self) -> list[AnnotationGroup]:
        """The boxes as parts of the picture, by labels in the order in which these come."""
        height, width = self.size
        found: dict[int, AnnotationGroup] = {}
        for box in self.boxes:
            group = found.setdefault(box.label, AnnotationGroup(group_label=box.label))
            added = group.annotation.add(instance_id=len(group.annotation))
            added.bbox.xmin, added.bbox.xmax = box.xmin / width, box.xmax / width
            added.bbox.ymin, added.bbox.ymax = box.ymin / height, box.ymax / height
            added.bbox.difficult = box.difficult
        return list(found.values())

    def oddities(self, picture: Size) -> list[str]:
        """What is odd about the boxes of a picture of this size, if anything."""
        height, width = self.size
        found = []
        if picture != self.size:
            found.append(
                f"it is for a picture of {width} x {height}, but that has "
                f"{picture[1]} x {picture[0]}"
            )
        for box in self.boxes:
            corners = f"{box.xmin:g}, {box.ymin:g} to {box.xmax:g}, {box.ymax:g}"
            if min(box.xmin, box.ymin) < 0 or box.xmax > width or box.ymax > height:
                found.append(f"the box {corners} reaches out of the picture")
            if box.xmin > box.xmax or box.ymin > box.ymax:
                found.append(f"the box {corners} ends before it begins")
        return found


def read_label_map(path: PathLike, one_item_each: bool = False) -> dict[str, int]:
    """Return the label of each name in SSD's label map.

    Parameters
    ----------
    path : path
        A prototxt of items, each with a name and a label.
    one_item_each : bool
        Refuse a name that comes again, with the same label, too.

    Raises
    ------
    ParseError
        The file is no label map, or a name has two labels.
    """
    source = path_text(path)
    labels: dict[str, int] = {}
    for item in read_text(source, LabelMap()).item:
        if one_item_each and item.name in labels:
            raise ParseError(f"'{item.name}' comes twice", source)
        before = labels.setdefault(item.name, item.label)
        if before != item.label:
            raise ParseError(f"'{item.name}' has the labels {before} and {item.label}", source)
    if not labels:
        raise ParseError("the label map holds no items", source)
    return labels


def read_annotation(
    path: PathLike, form: str, picture: Size, labels: Mapping[str, int]
) -> Annotation:
    """Return the boxes in a file.

    Parameters
    ----------
    path : path
        The file.
    form : str
        One of `FORMS`.
    picture : tuple of int
        The picture's height and width, for files that say nothing of them.
    labels : mapping of str to int
        What names stand for. Lines of text have labels themselves.

    Raises
    ------
    ParseError
        The file cannot be read, is not of that form, or has a name that stands for no label.
    """
    source = path_text(path)
    try:
        with open(source, "rb") as stream:
            content = stream.read()
    except OSError as error:
        raise unreadable(f"the boxes cannot be read: {error.strerror}", source, error) from error
    try:
        return FORMS[form](content, picture, labels)
    except _Unknown as error:
        raise ParseError(
            f"'{error}' is no name of the label map, which has {', '.join(list(labels)[:20])}",
            source,
        ) from error
    except _WRONG as error:
        raise ParseError(f"this is no annotation of the form {form}: {error}", source) from error


_WRONG = (
    *(ElementTree.ParseError, ArithmeticError, AttributeError, LookupError),
    *(RecursionError, TypeError, ValueError),
)
"""What the readers of other forms raise."""


class _Unknown(Exception):
    """A name that the label map has not."""


def _label(name: str, labels: Mapping[str, int]) -> int:
    if name not in labels:
        raise _Unknown(name)
    return labels[name]


class _Plain(ElementTree.TreeBuilder):
    def doctype(self, *_: object) -> None:
        # Entities may stand for more than memory holds, or for other files.
        raise ValueError("it has a document type of its own")


def _of_xml(content: bytes, picture: Size, labels: Mapping[str, int]) -> Annotation:
    root = ElementTree.fromstring(content, ElementTree.XMLParser(target=_Plain()))
    sides = root.findtext("size/height", "").strip(), root.findtext("size/width", "").strip()
    size = (int(sides[0]), int(sides[1])) if all(map(str.isdecimal, sides)) else picture
    boxes = []
    for found in root.findall("object"):
        label = _label(_text(found, "name"), labels)
        box = [_text(found, f"bndbox/{side}") for side in SIDES]
        boxes.append(_box(label, box, found.findtext("difficult", "0").strip() == "1"))
    return _checked(size, boxes)


def _text(element: ElementTree.Element, path: str) -> str:
    text = element.findtext(path)
    if text is None:
        raise ValueError(f"there is no {path} in <{element.tag}>")
    return text.strip()


def _of_json(content: bytes, picture: Size, labels: Mapping[str, int]) -> Annotation:
    root = json.loads(content)
    if not isinstance(root, dict) or not isinstance(root.get("annotation"), list):
        raise ValueError('it needs {"image": {...}, "annotation": [...]}')
    boxes = []
    for number, found in enumerate(root["annotation"]):
        if not isinstance(found, dict) or not {"bbox", "category_id"} <= found.keys():
            raise ValueError(f"annotation {number} needs bbox and category_id")
        if not isinstance(found["bbox"], list) or len(found["bbox"]) != 4:
            raise ValueError(f"the bbox of annotation {number} is not [x, y, width, height]")
        x, y, width, height = map(float, found["bbox"])
        label = _label(str(found["category_id"]), labels)
        boxes.append(Box(label, x, y, x + width, y + height, bool(found.get("iscrowd", 0))))
    image: Any = root.get("image") or {}
    return _checked(
        (int(image.get("height", picture[0])), int(image.get("width", picture[1]))), boxes
    )


def _of_text(content: bytes, picture: Size, labels: Mapping[str, int]) -> Annotation:
    boxes = []
    for number, line in enumerate(content.decode("utf-8-sig").splitlines(), 1):
        words = line.split()
        if words and len(words) != 1 + len(SIDES):
            raise ValueError(f"line {number} is not: label {' '.join(SIDES)}")
        if words:
            boxes.append(_box(int(words[0]), words[1:]))
    return _checked(picture, boxes)


def _box(label: int, sides: Iterable[str], difficult: bool = False) -> Box:
    xmin, ymin, xmax, ymax = map(float, sides)
    return Box(label, xmin, ymin, xmax, ymax, difficult)


def _checked(size: Size, boxes: Sequence[Box]) -> Annotation:
    if min(size) < 1:
        raise ValueError(f"it is for a picture of {size[1]} x {size[0]}")
    for box in boxes:
        if not all(map(math.isfinite, (box.xmin, box.ymin, box.xmax, box.ymax))):
            raise ValueError("a box has a side that is no finite number")
        if not -(2**31) <= box.label < 2**31:
            raise ValueError(f"the label {box.label} is too large")
    return Annotation(size, boxes)


FORMS: dict[str, Callable[[bytes, Size, Mapping[str, int]], Annotation]] = {
    "xml": _of_xml,
    "json": _of_json,
    "txt": _of_text,
}
"""How each form is read."""

HAVE_NAMES = ("xml", "json")
"""The forms whose labels are names."""
