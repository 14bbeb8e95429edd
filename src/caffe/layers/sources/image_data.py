"""ImageData: pictures that a text file lists, with their labels."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ...errors import NetError, ParseError
from ...proto.caffe_pb2 import ImageDataParameter
from ..layer import register
from .bgr_pictures import Picture, read_picture, resize_picture
from .data_transformer import DataTransformer, random_source
from .prefetching import Batch, EntryCycle, PrefetchingLayer, as_batch, check_shape, naming


class ImageList(EntryCycle[tuple[str, int]]):
    """The pictures of a list, in batches, again and again.

    Parameters
    ----------
    param : ImageDataParameter
        The layer's.
    transformer : DataTransformer
        What is done to each picture.
    """

    def __init__(self, param: ImageDataParameter, transformer: DataTransformer) -> None:
        self.param = param
        self.transformer = transformer
        self.batch_size = param.batch_size
        self._random = random_source()
        self._entries = read_list(param.source)
        self._next = 0
        if param.shuffle:
            self._shuffle()
        if param.rand_skip:
            self._next = int(self._random.integers(param.rand_skip))
            if self._next >= len(self._entries):
                raise NetError(
                    f"rand_skip: {param.rand_skip} would skip {self._next} pictures, but "
                    f"{param.source} lists {len(self._entries)}"
                )
        name = self._entries[self._next][0]
        with naming(self._place(name)):
            self.shape = transformer.shape(self._read(name))

    def batches(self) -> Iterator[Batch]:
        """Yield batches without end; each has the size of its first picture."""
        while True:
            pictures, labels = [], []
            for _ in range(self.batch_size):
                name, label = self._entries[self._next]
                with naming(self._place(name)):
                    pictures.append(self.transformer(self._read(name)))
                    check_shape(pictures[-1], pictures[0])
                labels.append(label)
                self._advance()
            yield as_batch(pictures, labels)

    def _read(self, name: str) -> Picture:
        picture = read_picture(self.param.root_folder + name, self.param.is_color)
        height, width = self.param.new_height, self.param.new_width
        return resize_picture(picture, height, width) if height else picture

    def _place(self, name: str) -> str:
        return f"{self.param.source}: picture '{name}'"


def read_list(path: str) -> list[tuple[str, int]]:
    """Read a list of pictures: a path, a space and a label on each line.

    The path may hold spaces. A line without any has the label 0, as in Caffe.

    Raises
    ------
    ParseError
        The file cannot be read, lists nothing, or a label is no whole number.
    """
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            lines = [line.rstrip() for line in file]
    except OSError as error:
        raise ParseError(f"the list of pictures cannot be read: {error.strerror}", path) from error
    entries = []
    for number, line in enumerate(lines, 1):
        name, space, label = line.rpartition(" ")
        if space and not re.fullmatch(r"[-+]?\d+", label):
            raise ParseError(
                "a picture's path, a space and a whole number as its label are expected",
                path,
                number,
                text=line,
            )
        if line:
            entries.append((name, int(label)) if space else (line, 0))
    if not entries:
        raise ParseError("the list holds no pictures", path)
    return entries


@register("ImageData")
class ImageData(PrefetchingLayer[ImageDataParameter]):
    """Pictures of the list `source`, BGR, 0 to 255 before `transform_param`, and their labels."""

    message = "image_data_param"

    def open_source(self, transformer: DataTransformer) -> ImageList:
        if (self.param.new_height > 0) != (self.param.new_width > 0):
            raise NetError("image_data_param takes new_height and new_width both, or neither")
        return ImageList(self.param, transformer)
