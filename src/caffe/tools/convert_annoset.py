"""`convert_annoset`: an LMDB or LevelDB of pictures with their boxes, for SSD's AnnotatedData."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..cli.terminal import complain
from ..errors import ArgumentError, MissingFileError, ParseError
from .command import run_tool
from .convert_imageset import (
    Backend,
    CheckSize,
    Encoded,
    EncodeType,
    Gray,
    NewDatabase,
    Shuffled,
    Side,
    Taken,
    Taker,
    write_taken,
)

if TYPE_CHECKING:
    from ..layers.sources.bgr_pictures import BgrPicture
    from ..proto.caffe_pb2 import AnnotatedDatum

TYPES = ("classification", "detection")


def convert_annoset(
    root: Annotated[
        str, typer.Argument(metavar="ROOTFOLDER/", help="What stands before each path.")
    ],
    listfile: Annotated[
        Path,
        typer.Argument(
            metavar="LISTFILE", help="On each line a picture's path, and its boxes' or its label."
        ),
    ],
    database: NewDatabase,
    anno_type: Annotated[
        str, typer.Option(metavar="|".join(TYPES), help="Whether there are boxes, or labels alone.")
    ] = "classification",
    label_type: Annotated[
        str, typer.Option(metavar="xml|json|txt", help="What form files of boxes have.")
    ] = "xml",
    label_map_file: Annotated[
        Path | None, typer.Option(help="Which label each name has; for xml and json.")
    ] = None,
    check_label: Annotated[
        bool, typer.Option("--check-label", help="Refuse a label map in which a name comes twice.")
    ] = False,
    min_dim: Annotated[int, typer.Option(min=0, help="Enlarge to this shorter side.")] = 0,
    max_dim: Annotated[int, typer.Option(min=0, help="Make smaller to this longer side.")] = 0,
    gray: Gray = False,
    shuffle: Shuffled = False,
    backend: Backend = "lmdb",
    resize_width: Side = 0,
    resize_height: Side = 0,
    check_size: CheckSize = False,
    encoded: Encoded = False,
    encode_type: EncodeType = "",
) -> None:
    """Write the pictures of a list, with their boxes or labels, into a database for AnnotatedData.

    Pictures that cannot be read are told and left out. Where a file of boxes is not there, that is
    told and the picture has none; one that cannot be read ends it. The database is there when all
    is in it.
    """
    from ..io.annotations import FORMS, HAVE_NAMES, read_label_map
    from ..layers.sources.image_data import read_list

    has_boxes = _chosen("--anno-type", anno_type, TYPES) == "detection"
    _chosen("--label-type", label_type, FORMS)
    labels: Mapping[str, int] = {}
    if has_boxes and label_type in HAVE_NAMES:
        if label_map_file is None:
            raise ArgumentError(f"{label_type} files have names: say --label-map-file for labels")
        labels = read_label_map(label_map_file, check_label)
    path = os.fspath(listfile)
    entries = read_pairs(path) if has_boxes else read_list(path)
    sizes = resize_height, resize_width, encoded, encode_type, min_dim, max_dim
    taker = BoxTaker(root, not gray, *sizes, label_type, labels)
    write_taken(taker, entries, shuffle, database, backend, check_size)


def read_pairs(path: str) -> list[tuple[str, str]]:
    """Read a list of pictures and of the files of their boxes, with a space between them."""
    from ..layers.sources.entries import read_lines

    pairs = []
    for number, line in enumerate(read_lines(path), 1):
        words = line.rsplit(None, 1)
        if len(words) == 1:
            raise ParseError("a picture and the file of its boxes are needed", path, number)
        if words:
            pairs.append((words[0], words[1]))
    if not pairs:
        raise ParseError("the list holds no pictures", path)
    return pairs


@dataclass(frozen=True)
class BoxTaker(Taker):
    """What becomes of a list's entry: a picture with a label, or with a file of boxes.

    Attributes
    ----------
    form : str
        The files'.
    labels : mapping of str to int
        What names stand for.
    """

    form: str = ""
    labels: Mapping[str, int] = field(default_factory=dict)

    def message(self, name: str, picture: BgrPicture, said: int | str) -> Taken:
        """An AnnotatedDatum of a picture and its label, or the path of its boxes; its shape."""
        from ..proto.caffe_pb2 import AnnotatedDatum

        label = -1 if isinstance(said, str) else said
        datum, shape = self.datum(name, picture, label)
        # As SSD's tools have it, also where the picture is encoded.
        datum.channels, datum.height, datum.width = shape
        found = AnnotatedDatum(datum=datum)
        if isinstance(said, str):
            self._annotate(found, self.root + said, picture.shape[1:])
        return found, shape

    def _annotate(self, datum: AnnotatedDatum, path: str, size: tuple[int, int]) -> None:
        from ..io.annotations import read_annotation
        from ..proto.caffe_pb2 import AnnotatedDatum

        datum.type = AnnotatedDatum.BBOX
        try:
            annotation = read_annotation(path, self.form, size, self.labels)
        except MissingFileError as error:
            complain(f"a picture without boxes: {error}")
            return
        for oddity in annotation.oddities(size):
            complain(f"{path}: {oddity}")
        datum.annotation_group.extend(annotation.groups())


def _chosen(option: str, value: str, choices: Collection[str]) -> str:
    if value not in choices:
        raise ArgumentError(f"{option} is one of {', '.join(choices)}, not '{value}'")
    return value


def run() -> None:
    """Run the tool."""
    run_tool(convert_annoset)


if __name__ == "__main__":
    run()
