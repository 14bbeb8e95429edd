"""`convert_imageset`: an LMDB or LevelDB of the pictures that a list names."""

from __future__ import annotations

import io
import os
import random
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..cli.terminal import complain, progress
from ..errors import CaffeError, ImageError
from .command import run_tool

if TYPE_CHECKING:
    from ..layers.sources.bgr_pictures import BgrPicture
    from ..proto.caffe_pb2 import AnnotatedDatum, Datum

Shape = tuple[int, ...]
Taken = tuple["Datum | AnnotatedDatum", Shape]
"""What an entry becomes, and its picture's shape."""
AHEAD = 32
TOLD_EVERY = 1000
JPEG_QUALITY = 95
"""OpenCV's."""


Gray = Annotated[bool, typer.Option("--gray", help="Read the pictures in grey.")]
Shuffled = Annotated[bool, typer.Option("--shuffle", help="Shuffle the list.")]
Backend = Annotated[str, typer.Option(metavar="lmdb|leveldb", help="The kind.")]
Side = Annotated[int, typer.Option(min=0, help="Resize to this; 0: do not.")]
CheckSize = Annotated[
    bool, typer.Option("--check-size", help="Refuse pictures of another size than the first.")
]
Encoded = Annotated[
    bool, typer.Option("--encoded", help="Keep the pictures encoded, as their files are.")
]
EncodeType = Annotated[
    str, typer.Option(metavar="png|jpg|...", help="Encode them so; means --encoded.")
]
NewDatabase = Annotated[
    Path, typer.Argument(metavar="DB_NAME", help="The database; must not be there yet.")
]


def convert_imageset(
    root: Annotated[
        str, typer.Argument(metavar="ROOTFOLDER/", help="What stands before each picture's path.")
    ],
    listfile: Annotated[
        Path, typer.Argument(metavar="LISTFILE", help="On each line a path, a space and a label.")
    ],
    database: NewDatabase,
    gray: Gray = False,
    shuffle: Shuffled = False,
    backend: Backend = "lmdb",
    resize_width: Side = 0,
    resize_height: Side = 0,
    check_size: CheckSize = False,
    encoded: Encoded = False,
    encode_type: EncodeType = "",
) -> None:
    """Write the pictures of a list, with their labels, into a database for Data layers.

    Pictures that cannot be read are told and left out. The database is there when all is in it.
    """
    from ..layers.sources.image_data import read_list

    entries = read_list(os.fspath(listfile))
    taker = Taker(root, not gray, resize_height, resize_width, encoded, encode_type)
    write_taken(taker, entries, shuffle, database, backend, check_size)


def write_taken(
    taker: Taker,
    entries: list[Any],
    shuffle: bool,
    database: Path,
    backend: str,
    check_size: bool,
) -> None:
    """Write what becomes of a list's entries into a database, and tell how far it is."""
    from ..io.database_writer import write_database
    from ..io.read_ahead import read_ahead
    from ..logs import init_log, log

    init_log()
    if shuffle:
        log("Shuffling data")
        random.shuffle(entries)
    log(f"A total of {len(entries)} images.")
    first: Shape | None = None
    written = 0
    with (
        write_database(database, backend) as store,
        progress("Converting", len(entries), "pictures") as (_, advance),
        closing(read_ahead(taker, enumerate(entries), AHEAD)) as taken,
    ):
        for key, found in taken:
            advance()
            if isinstance(found, ImageError):
                complain(f"left out: {found}")
                continue
            message, shape = found
            first = first or shape
            if check_size and shape != first:
                path = f"{taker.root}{key[9:]}"
                raise CaffeError(f"{path} has the shape {shape}, the first has {first}")
            store.put(os.fsencode(key), message.SerializeToString())
            written += 1
            if written % TOLD_EVERY == 0:
                log(f"Processed {written} files.")
    if written % TOLD_EVERY:
        log(f"Processed {written} files.")


@dataclass(frozen=True)
class Taker:
    """What becomes of a list's entry.

    Attributes
    ----------
    height, width : int
        What pictures are resized to, where both are given.
    encoded : bool
        Whether they are kept encoded, in what their names say.
    kind : str
        What they are kept encoded in, if it is not empty.
    least, most : int
        What a smaller shorter side, and then a larger longer one, become instead; 0: as they are.
    """

    root: str
    color: bool
    height: int
    width: int
    encoded: bool
    kind: str
    least: int = 0
    most: int = 0

    def __call__(self, numbered: tuple[int, tuple[str, Any]]) -> tuple[str, Taken | ImageError]:
        """Return the entry's key, and its message and shape, or why there is none."""
        from ..layers.sources.bgr_pictures import read_picture

        number, (name, said) = numbered
        key = f"{number:08d}_{name}"
        try:
            picture = read_picture(self.root + name, self.color)
        except ImageError as error:
            return key, error
        return key, self.message(name, picture, said)

    def message(self, name: str, picture: BgrPicture, said: Any) -> Taken:
        """What becomes of a picture and what its line says behind its name: its label."""
        return self.datum(name, picture, said)

    def datum(self, name: str, picture: BgrPicture, label: int) -> tuple[Datum, Shape]:
        """A picture's Datum, and its shape there."""
        from ..io.arrays import array_to_datum
        from ..layers.sources.bgr_pictures import resize_picture
        from ..proto.caffe_pb2 import Datum

        picture = resize_picture(picture, *self._size(*picture.shape[1:]))
        wanted = self.kind.lower().lstrip(".")
        if not self.encoded and not wanted:
            datum = array_to_datum(picture, label)
            datum.encoded = False
            return datum, picture.shape
        path = self.root + name
        own = os.path.splitext(path)[1].lower().lstrip(".")
        kind = wanted or own
        if not self._resizes and _alike(own) == _alike(kind):
            content = Path(path).read_bytes()
        else:
            content = encode(picture, kind)
        return Datum(data=content, label=label, encoded=True), picture.shape

    @property
    def _resizes(self) -> bool:
        return bool(self.least or self.most) or (self.height > 0 and self.width > 0)

    def _size(self, height: int, width: int) -> tuple[int, int]:
        """What size becomes of one."""
        if self.least or self.most:
            factor = max(1.0, self.least / min(height, width))
            if self.most and int(factor * max(height, width)) > self.most:
                factor = self.most / max(height, width)
            return max(1, round(height * factor)), max(1, round(width * factor))
        return (self.height, self.width) if self._resizes else (height, width)


def encode(picture: object, kind: str) -> bytes:
    """Encode a picture, channels x height x width in BGR order, in a format by its ending."""
    import numpy as np
    from PIL import Image

    pixels = np.asarray(picture).transpose(1, 2, 0)[:, :, ::-1].squeeze()
    form = Image.registered_extensions().get(f".{kind}")
    if form is None:
        raise CaffeError(f"there is no format of pictures '{kind}' to encode in; try png or jpg")
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, form, quality=JPEG_QUALITY)
    return stream.getvalue()


def _alike(kind: str) -> str:
    return "jpg" if kind == "jpeg" else kind


def run() -> None:
    """Run the tool."""
    run_tool(convert_imageset)


if __name__ == "__main__":
    run()
