"""ImageData: pictures that a text file lists, with their labels."""

from __future__ import annotations

import re

import numpy as np

from ...errors import NetError, ParseError
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

    The path may hold spaces. A line without any has the label 0, as in Caffe.

    Raises
    ------
    ParseError
        The file cannot be read, lists nothing, or a label is no whole number.
    """
    entries = []
    for number, line in enumerate(read_lines(path), 1):
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
