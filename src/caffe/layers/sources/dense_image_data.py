"""Forks' sources of pictures whose labels are pictures: DenseImageData and ImageLabelmapData."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...errors import NetError, ParseError, ShapeError
from ...memory.blob import Blob, Shape
from ...proto.caffe_pb2 import DenseImageDataParameter, ImageDataParameter, TransformationParameter
from ..layer import register
from .bgr_pictures import BgrPicture, read_picture, resize_picture, to_bytes
from .data_transformer import DataTransformer, random_source
from .entries import ListSource, Sample, check_shape, naming, read_lines
from .prefetching import PrefetchingLayer
from .transform_fields import MOVING, refuse

Entry = tuple[str, str]
"""The paths of a picture and of its labels."""

Labelled = DenseImageDataParameter | ImageDataParameter
"""The messages of sources whose labels are pictures."""

Read = Callable[[Entry], tuple[BgrPicture, BgrPicture]]


class LabelledPictures(ListSource[Entry]):
    """Pictures and pictures of their labels, in batches, again and again.

    Parameters
    ----------
    param : DenseImageDataParameter or ImageDataParameter
        The layer's.
    transformer : DataTransformer
        What is done to each picture; the labels are cropped and mirrored with it.
    read : callable
        Gives an entry's picture and its labels (one channel).
    """

    def __init__(self, param: Labelled, transformer: DataTransformer, read: Read) -> None:
        self._read = read
        self._transform = transformer
        settings = transformer.param
        cuts = TransformationParameter(
            crop_size=settings.crop_size,
            crop_h=settings.crop_h,
            crop_w=settings.crop_w,
            mirror=settings.mirror,
        )
        if transformer.moves:
            refuse(settings, MOVING, "pictures are not turned or resized together with labels")
        self._cut = DataTransformer(cuts, transformer.phase)
        super().__init__(param, read_pairs(param.source))
        with naming(self.describe(self.first)):
            picture, labels = self._pair(self.first)
        channels, height, width = picture.shape
        self.shape = (channels, height, width)
        self.label_shape = labels.shape

    def read(self, entry: Entry) -> Sample:
        return self._pair(entry)

    def check(self, sample: Sample, first: Sample) -> None:
        check_shape(sample[0], first[0])
        check_shape(sample[1], first[1])

    def describe(self, entry: Entry) -> str:
        return f"{self.param.source}: picture '{entry[0]}'"

    def _pair(self, entry: Entry) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        picture, labels = self._read(entry)
        if self._transform.crops and picture.shape[1:] != labels.shape[1:]:
            raise ShapeError(
                f"a crop needs labels of the picture's size: they are {labels.shape[1:]} "
                f"and {picture.shape[1:]}"
            )
        # Both draw the same numbers: the labels are cut where the picture is.
        self._cut.follow(self._transform)
        return self._transform(picture), self._cut(labels)


def read_pairs(path: str) -> list[Entry]:
    """Read a list of pictures and their labels: two paths on each line, a space between.

    Raises
    ------
    ParseError
        The file cannot be read, lists nothing, or a line has not two paths.
    """
    entries = []
    for number, line in enumerate(read_lines(path), 1):
        words = line.split()
        if len(words) not in (0, 2):
            what = "the paths of a picture and of its labels are expected, a space between"
            raise ParseError(what, path, number, text=line)
        if words:
            entries.append((words[0], words[1]))
    if not entries:
        raise ParseError("the list holds no pictures", path)
    return entries


def resize_labels(labels: BgrPicture, height: int, width: int) -> BgrPicture:
    """Resize as OpenCV's nearest `resize` does: no value that was not there before."""
    rows = np.arange(height) * labels.shape[1] // height
    columns = np.arange(width) * labels.shape[2] // width
    return labels[:, rows[:, np.newaxis], columns]


L = TypeVar("L", bound=Labelled)


class LabelledSource(PrefetchingLayer[L]):
    """A source whose second top are the labels of each pixel, (N, 1, height, width)."""

    differences: ClassVar[str] = "of the forks"

    def open_source(self, transformer: DataTransformer) -> LabelledPictures:
        if (self.param.new_height > 0) != (self.param.new_width > 0):
            raise NetError(f"{self.message} takes new_height and new_width both, or neither")
        return self.kind()(self.param, transformer, self.reader())

    def kind(self) -> type[LabelledPictures]:
        """Return the class of what is read."""
        return LabelledPictures

    def reader(self) -> Read:
        """Return what reads an entry; it must not know the layer (see `Source`)."""
        raise NotImplementedError

    def declared_shapes(self) -> Sequence[Shape] | None:
        shapes = super().declared_shapes()
        if shapes is None:
            return None
        batch, _, height, width = shapes[0]
        factor = getattr(self.param, "label_divide_factor", 0) or 1
        return [shapes[0], (batch, 1, height // factor, width // factor)]

    def setup_blobs(self, bottoms: list[Blob], tops: list[Blob]) -> None:
        super().setup_blobs(bottoms, tops)
        source = self._source
        assert isinstance(source, LabelledPictures)
        tops[1].reshape(source.batch_size, *source.label_shape)


@register("DenseImageData")
class DenseImageData(LabelledSource[DenseImageDataParameter]):
    """Pictures of the list `source`, BGR, 0 to 255 before `transform_param`, and label pictures.

    Labels are the grey values of the second picture on each line (SegNet, ENet).
    """

    message = "dense_image_data_param"

    def reader(self) -> Read:
        param = self.param
        if (param.crop_height > 0) != (param.crop_width > 0):
            raise NetError("dense_image_data_param takes crop_height and crop_width both")
        if param.label_divide_factor < 1:
            raise NetError("label_divide_factor must be at least 1")
        random = random_source()

        def read(entry: Entry) -> tuple[BgrPicture, BgrPicture]:
            folders = (param.root_folder_image, param.root_folder_label)
            names = [f or param.root_folder for f in folders]
            picture = read_picture(names[0] + entry[0], param.is_color)
            labels = read_picture(names[1] + entry[1], color=False)
            factor = param.label_divide_factor
            if param.new_height:
                size = (param.new_height, param.new_width)
                picture = resize_picture(picture, *size)
                labels = resize_labels(labels, size[0] // factor, size[1] // factor)
            wanted = tuple(n // factor for n in picture.shape[1:])
            if labels.shape[1:] != wanted:
                raise ShapeError(
                    f"'{entry[1]}' is {labels.shape[1:]} (height, width), but labels of "
                    f"{wanted} are needed"
                )
            if param.mirror and random.integers(2):
                picture, labels = picture[:, :, ::-1], labels[:, :, ::-1]
            if param.crop_height:
                picture, labels = cut_both(
                    picture, labels, param.crop_height, param.crop_width, random
                )
            return picture, labels

        return read


def cut_both(
    picture: BgrPicture, labels: BgrPicture, height: int, width: int, random: np.random.Generator
) -> tuple[BgrPicture, BgrPicture]:
    """Cut the same window out of both: at the lower edge, at any column.

    Raises
    ------
    ShapeError
        The window is larger than the picture, or the labels have another size.
    """
    room = picture.shape[2] - width
    if picture.shape[1] < height or room < 0 or labels.shape[1:] != picture.shape[1:]:
        raise ShapeError(
            f"a window of {height} x {width} cannot be cut out of a picture of "
            f"{picture.shape[1:]} and labels of {labels.shape[1:]} (height, width)"
        )
    top, left = picture.shape[1] - height, int(random.integers(room + 1))
    window = (slice(None), slice(top, top + height), slice(left, left + width))
    return picture[window], labels[window]


class MeasuredPictures(LabelledPictures):
    """Pictures with their labels and, third, the height and width that each had."""

    def read(self, entry: Entry) -> Sample:
        size = read_picture(self.param.root_folder + entry[0]).shape[1:]
        return *super().read(entry), np.array(size, np.float32).reshape(1, 1, 2)


def _read_equal(param: ImageDataParameter, entry: Entry) -> tuple[BgrPicture, BgrPicture]:
    """Read a picture and its labels, which must be as large."""
    picture = read_picture(param.root_folder + entry[0], param.is_color)
    labels = read_picture(param.root_folder + entry[1], color=False)
    if labels.shape[1:] != picture.shape[1:]:
        raise ShapeError(
            f"'{entry[1]}' is {labels.shape[1:]} (height, width), but the picture is "
            f"{picture.shape[1:]}"
        )
    return picture, labels


@register("ImageSegData")
class ImageSegData(LabelledSource[ImageDataParameter]):
    """Pictures of the list `source`, BGR, 0 to 255 before `transform_param`, and label pictures.

    What is smaller than the crop is filled up at the right and below, pictures by mean_value and
    labels by ignore_label. A third top tells the height and width that each picture had (DeepLab).
    """

    message = "image_data_param"
    tops = (2, 3)
    differences = "of the forks; label_type PIXEL only"

    def open_source(self, transformer: DataTransformer) -> LabelledPictures:
        if self.param.label_type != ImageDataParameter.PIXEL:
            raise NetError("only label_type PIXEL is there: labels that are pictures")
        return super().open_source(transformer)

    def kind(self) -> type[LabelledPictures]:
        return MeasuredPictures if len(self.layer_param.top) > 2 else LabelledPictures

    def setup_blobs(self, bottoms: list[Blob], tops: list[Blob]) -> None:
        super().setup_blobs(bottoms, tops)
        if len(tops) > 2:
            tops[2].reshape(self._source.batch_size, 1, 1, 2)

    def reader(self) -> Read:
        param, transform = self.param, self.layer_param.transform_param
        crop = (transform.crop_size or transform.crop_h, transform.crop_size or transform.crop_w)
        means = to_bytes(np.reshape(transform.mean_value or [0], (-1, 1, 1)))

        def read(entry: Entry) -> tuple[BgrPicture, BgrPicture]:
            picture, labels = _read_equal(param, entry)
            if param.new_height:
                picture = resize_picture(picture, param.new_height, param.new_width)
                labels = resize_labels(labels, param.new_height, param.new_width)
            lack = [max(0, most - n) for most, n in zip(crop, picture.shape[1:], strict=True)]
            if any(lack):
                sides = ((0, 0), (0, lack[0]), (0, lack[1]))
                inside = np.pad(np.ones((1, *picture.shape[1:]), bool), sides)
                picture = np.where(inside, np.pad(picture, sides), means)
                labels = np.pad(labels, sides, constant_values=param.ignore_label)
            return picture, labels

        return read


@register("ImageLabelmapData")
class ImageLabelmapData(LabelledSource[ImageDataParameter]):
    """Pictures of the list `source`, BGR, 0 to 255 before `transform_param`, and edge maps.

    A label is 1 where the grey value of the second picture on the line is above 127, else 0
    (Holistically-Nested Edge Detection).
    """

    message = "image_data_param"

    def reader(self) -> Read:
        param = self.param

        def read(entry: Entry) -> tuple[BgrPicture, BgrPicture]:
            picture, edges = _read_equal(param, entry)
            if param.new_height:
                picture, edges = (
                    resize_picture(p, param.new_height, param.new_width) for p in (picture, edges)
                )
            return picture, (edges > 127).astype(np.uint8)

        return read
