"""ImageData: pictures that a text file lists, with their labels."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence

import numpy as np

from ...errors import CaffeWarning, NetError, ParseError
from ...logs import Line
from ...memory.blob import Blob
from ...proto.caffe_pb2 import ImageDataParameter
from ..layer import register
from .bgr_pictures import BgrPicture, read_picture, resize_picture
from .data_transformer import DataTransformer
from .entries import ListSource, Sample, naming, read_lines
from .prefetching import PrefetchingLayer


class ImageList(ListSource[tuple[str, int]]):
    """The pictures of a list, in batches, again and again.

    Parameters
    ----------
    param : ImageDataParameter
        The layer's.
    transformer : DataTransformer
        What is done to each picture.
    """

    param: ImageDataParameter

    def __init__(self, param: ImageDataParameter, transformer: DataTransformer) -> None:
        super().__init__(param, read_list(param.source))
        self.transformer = transformer
        with naming(self.describe(self.first)):
            self.shape = transformer.shape(self._picture(self.first[0]))

    def read(self, entry: tuple[str, int]) -> Sample:
        return self.transformer(self._picture(entry[0])), np.float32(entry[1])

    def describe(self, entry: tuple[str, int]) -> str:
        return f"{self.param.source}: picture '{entry[0]}'"

    def _picture(self, name: str) -> BgrPicture:
        picture = read_picture(self.param.root_folder + name, self.param.is_color)
        height, width = self.param.new_height, self.param.new_width
        return resize_picture(picture, height, width) if height else picture


def read_list(path: str) -> list[tuple[str, int]]:
    """Read a list of pictures: a path, a space and a label on each line.

    The path may hold spaces. A line without any is a path and a label in one, as in Caffe.

    Raises
    ------
    ParseError
        The file cannot be read or lists nothing.

    Warns
    -----
    CaffeWarning
        A label is no whole number: what it begins with is taken.
    """
    entries = []
    cut = None
    for number, line in enumerate(read_lines(path), 1):
        name, space, label = line.rpartition(" ")
        if not line:
            continue
        if space and cut is None and not re.fullmatch(r"[-+]?\d+", label):
            cut = f"{path}:{number}: the label {label!r}"
        entries.append((name if space else line, whole_number(label)))
    if not entries:
        raise ParseError("the list holds no pictures", path)
    if cut is not None:
        warnings.warn(
            f"{cut} is no whole number; of such labels only the whole number at the front is "
            "taken, 0 where there is none",
            CaffeWarning,
            stacklevel=2,
        )
    return entries


def whole_number(text: str) -> int:
    """Return the whole number that a text begins with; 0 where there is none (C's ``atoi``).

    Examples
    --------
    >>> [whole_number(text) for text in ("7", "-2.9", "1e2", "dog")]
    [7, -2, 1, 0]
    """
    found = re.match(r"\s*([-+]?\d+)", text, re.ASCII)
    return int(found[1]) if found else 0


@register("ImageData")
class ImageData(PrefetchingLayer[ImageDataParameter]):
    """Pictures of the list `source`, BGR, 0 to 255 before `transform_param`, and their labels."""

    message = "image_data_param"
    log_place = "image_data_layer.cpp:83"

    def open_source(self, transformer: DataTransformer) -> ImageList:
        if (self.param.new_height > 0) != (self.param.new_width > 0):
            raise NetError("image_data_param takes new_height and new_width both, or neither")
        return ImageList(self.param, transformer)

    def lines_at_setup(self, tops: Sequence[Blob]) -> Iterable[Line]:
        yield "image_data_layer.cpp:38", f"Opening file {self.param.source}"
        if self.param.shuffle:
            yield "image_data_layer.cpp:52", "Shuffling data"
        if isinstance(self._source, ImageList):
            yield "image_data_layer.cpp:63", f"A total of {self._source.length} images."
        yield from super().lines_at_setup(tops)
