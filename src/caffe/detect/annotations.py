"""Boxes in the forms in which data sets are labelled: COCO, PASCAL VOC, YOLO; and as tables."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from xml.etree import ElementTree

from ..atomic import atomic_write
from ..errors import CaffeError
from ..io import tables
from .object_detector import Detection

COCO, VOC, YOLO = SETS = ("coco", "voc", "yolo")
FORMS = (*SETS, *tables.FORMS)
CLASSES = "classes.txt"
"""The file of YOLO's classes, one a line."""
COLUMNS: dict[str, type] = {
    "path": str,
    "frame": int,
    "width": int,
    "height": int,
    "label": int,
    "name": str,
    "score": float,
    "xmin": float,
    "ymin": float,
    "xmax": float,
    "ymax": float,
    "time": float,
}
"""Of a table: a row for each object."""


@dataclass(frozen=True)
class Searched:
    """What was found in a picture.

    Attributes
    ----------
    path : str
        The picture's, or the video's.
    width, height : int
        Its size.
    found : sequence of Detection
        The best first.
    seconds : float
        How long it took.
    frame : int or None
        Of a video, the frame's number from 0.
    """

    path: str
    width: int
    height: int
    found: Sequence[Detection]
    seconds: float
    frame: int | None = None

    def pixels(self, thing: Detection) -> tuple[int, int, int, int]:
        """Return the whole pixels of an object's box: from left and top up to right and bottom."""
        left = min(round(thing.box[0]), self.width - 1)
        top = min(round(thing.box[1]), self.height - 1)
        return left, top, max(left + 1, round(thing.box[2])), max(top + 1, round(thing.box[3]))

    def to_dict(self) -> dict[str, Any]:
        """Return path, width, height, detections and time; of a video the frame, too."""
        facts = {} if self.frame is None else {"frame": self.frame}
        rows = [
            {
                "label": d.label,
                "name": d.name,
                "score": round(d.score, 6),
                "box": [round(c, 2) for c in d.box],
            }
            for d in self.found
        ]
        size = {"width": self.width, "height": self.height}
        return {
            "path": self.path,
            **facts,
            **size,
            "detections": rows,
            "time": round(self.seconds, 6),
        }

    def to_rows(self) -> list[dict[str, Any]]:
        """Return a dict for each object, with what `COLUMNS` names."""
        whole = self.to_dict()
        shared = {name: whole[name] for name in whole if name != "detections"}
        return [
            {
                **shared,
                **{name: entry[name] for name in ("label", "name", "score")},
                **dict(zip(("xmin", "ymin", "xmax", "ymax"), entry["box"], strict=True)),
            }
            for entry in whole["detections"]
        ]


Put = Callable[[Searched, str], None]
"""Takes what was found, and the name that the picture's own file has, without an ending."""


@contextmanager
def write_annotations(form: str, place: str | None, classes: Mapping[int, str]) -> Iterator[Put]:
    """Write what is found in pictures, one after the other.

    Parameters
    ----------
    form : {"coco", "voc", "yolo", "csv", "json", "jsonl", "parquet"}
        COCO is one JSON file of images, annotations and categories (by the net's numbers, with
        scores); VOC an XML file for each picture, pixels counted from 1; YOLO a text file for each
        picture, with lines of class (from 0, as classes.txt names them), middle, width and height
        as parts of the picture's, and score. The others are tables and lists, see
        `caffe.io.tables`.
    place : str, optional
        A file; of VOC and YOLO a folder. Standard output if nothing is said.
    classes : mapping of int to str
        The net's classes, by their numbers; those that are found are added.

    Raises
    ------
    CaffeError
        There is no such form, or it needs a place.
    """
    if form not in FORMS:
        raise CaffeError(f"boxes are written as {', '.join(FORMS)}, not as {form!r}")
    if form in (VOC, YOLO):
        if place is None:
            raise CaffeError(f"{form} has a file for each picture: say in which folder")
        os.makedirs(place, exist_ok=True)
        with (_voc if form == VOC else _yolo)(Path(place), dict(classes)) as put:
            yield put
    elif form == COCO:
        with _coco(place, dict(classes)) as put:
            yield put
    else:
        with tables.write_form(form, place, COLUMNS) as put_rows:
            yield lambda searched, name: put_rows(searched.to_dict(), searched.to_rows())


@contextmanager
def _coco(place: str | None, classes: dict[int, str]) -> Iterator[Put]:
    images: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []

    def put(searched: Searched, name: str) -> None:
        file = searched.path if searched.frame is None else f"{searched.path}#{searched.frame}"
        number = len(images) + 1
        images.append(
            {
                "id": number,
                "file_name": file,
                "width": searched.width,
                "height": searched.height,
            }
        )
        for d in searched.found:
            classes.setdefault(d.label, d.name)
            objects.append(coco_object(len(objects) + 1, number, d.label, d.score, d.box))

    yield put
    kinds = [{"id": label, "name": name} for label, name in sorted(classes.items())]
    whole = {"images": images, "annotations": objects, "categories": kinds}
    if place is None:
        print(json.dumps(whole), flush=True)
        return
    with atomic_write(place, "w") as stream:
        json.dump(whole, stream)


def coco_object(
    number: int, image: int, label: int, score: float, box: Sequence[float]
) -> dict[str, Any]:
    """Return an object as COCO's annotations have it.

    Parameters
    ----------
    number, image, label : int
        Its own number, its image's, and its class's.
    score : float
        From 0 to 1.
    box : sequence of float
        xmin, ymin, xmax, ymax in pixels.
    """
    x1, y1, x2, y2 = (round(c, 2) for c in box)
    wide, high = round(x2 - x1, 2), round(y2 - y1, 2)
    return {
        "id": number,
        "image_id": image,
        "category_id": label,
        "bbox": [x1, y1, wide, high],
        "area": round(wide * high, 2),
        "iscrowd": 0,
        "score": round(score, 6),
    }


@contextmanager
def _voc(folder: Path, classes: dict[int, str]) -> Iterator[Put]:
    def put(searched: Searched, name: str) -> None:
        root = ElementTree.Element("annotation")
        _told(root, filename=os.path.basename(searched.path), path=searched.path)
        size = ElementTree.SubElement(root, "size")
        _told(size, width=searched.width, height=searched.height, depth=3)
        for d in searched.found:
            thing = ElementTree.SubElement(root, "object")
            _told(thing, name=d.name, score=round(d.score, 6))
            left, top, right, bottom = searched.pixels(d)
            box = ElementTree.SubElement(thing, "bndbox")
            _told(box, xmin=left + 1, ymin=top + 1, xmax=right, ymax=bottom)
        ElementTree.indent(root)
        with atomic_write(folder / f"{name}.xml") as stream:
            ElementTree.ElementTree(root).write(stream, encoding="utf-8")

    yield put


def _told(parent: ElementTree.Element, **values: object) -> None:
    for name, value in values.items():
        ElementTree.SubElement(parent, name).text = _printable(value)


def _printable(value: object) -> str:
    """A value as XML can hold it, without the control characters that a label may have."""
    text = str(value).encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else " " for c in text)


@contextmanager
def _yolo(folder: Path, classes: dict[int, str]) -> Iterator[Put]:
    first = min(classes, default=0)
    numbers = {label: number for number, label in enumerate(sorted(classes))}

    def put(searched: Searched, name: str) -> None:
        with atomic_write(folder / f"{name}.txt", "w") as stream:
            for d in searched.found:
                if d.label not in numbers:
                    classes[d.label] = d.name
                    numbers[d.label] = d.label - first
                _line(stream, numbers[d.label], d, searched)

    yield put
    names = [classes.get(label, "") for label in _by_number(numbers)]
    with atomic_write(folder / CLASSES, "w") as stream:
        stream.writelines(f"{_printable(name)}\n" for name in names)


def _by_number(numbers: Mapping[int, int]) -> list[int]:
    """Labels by their numbers from 0; -1 where a number has none."""
    labels = {number: label for label, number in numbers.items()}
    return [labels.get(number, -1) for number in range(max(labels, default=-1) + 1)]


def _line(stream: IO[str], number: int, d: Detection, searched: Searched) -> None:
    x1, y1, x2, y2 = d.box
    parts = (
        (x1 + x2) / 2 / searched.width,
        (y1 + y2) / 2 / searched.height,
        (x2 - x1) / searched.width,
        (y2 - y1) / searched.height,
        d.score,
    )
    stream.write(f"{number} {' '.join(f'{part:.6f}' for part in parts)}\n")
