"""AnnotatedData: pictures with boxes out of a database, as SSD's tools store them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from ...errors import CaffeError, NetError, ParseError
from ...memory.blob import Blob, Shape
from ...proto.caffe_pb2 import (
    AnnotatedDataParameter,
    AnnotatedDatum,
    LayerParameter,
    TransformationParameter,
)
from ..layer import register
from . import boxed_pictures as boxed
from .boxed_pictures import BoxedPicture
from .data_transformer import DataTransformer, random_source
from .databases import Entry
from .entries import Batch, Sample, StoreSource, naming
from .noise import Noise
from .prefetching import PrefetchingLayer
from .transform_fields import MOVING, check_samplers, check_values, refuse


class AnnotatedStore(StoreSource):
    """The AnnotatedDatums of a store in the order of their keys, in batches, again and again.

    Parameters
    ----------
    layer_param : LayerParameter
        The layer's, with data_param, annotated_data_param and transform_param.
    phase : int
        caffe.TRAIN or caffe.TEST.
    """

    def __init__(self, layer_param: LayerParameter, phase: int) -> None:
        self._samplers = list(layer_param.annotated_data_param.batch_sampler)
        self._settings = layer_param.transform_param
        refuse(
            self._settings,
            ("crop_size", "crop_h", "crop_w"),
            "no crop goes with boxes: say resize_param, or parts to cut out with batch_sampler",
        )
        check_samplers(self._samplers)
        super().__init__(layer_param.data_param)
        # Mirroring is done here, together with the boxes.
        check_values(self._settings)
        plain = TransformationParameter()
        plain.CopyFrom(self._settings)
        plain.mirror = False
        for name in ("distort_param", "resize_param", "noise_param"):
            plain.ClearField(name)
        self._transformer = DataTransformer(plain, phase)
        if self._transformer.moves:
            refuse(plain, MOVING, "pictures are not turned or resized so together with their boxes")
        self._noise = Noise(self._settings.noise_param)
        self._random = random_source(self._settings.random_seed)
        with naming(self.describe(self.first)):
            first = self._parse(self.first[1])
            resized = boxed.resize(first, self._settings, self._random)
            self.shape = self._transformer.shape(resized.pixels)
        self.label_shape = boxed.label_rows([first]).shape

    def read(self, entry: Entry) -> Sample:
        picture = self._disturbed(self._parse(entry[1]))
        return self._transformer(picture.pixels), picture

    def joined(self, samples: Sequence[Sample]) -> Batch:
        pictures, annotations = zip(*samples, strict=True)
        return np.stack(pictures), boxed.label_rows(annotations)

    def _disturbed(self, picture: BoxedPicture) -> BoxedPicture:
        settings, random = self._settings, self._random
        if settings.HasField("distort_param"):
            picture = boxed.distort(picture, settings.distort_param, random)
        if settings.HasField("expand_param"):
            picture = boxed.expand(picture, settings, random)
        part = boxed.sample_part(picture, self._samplers, random)
        if part is not None:
            picture = boxed.cut(picture, part, settings)
        picture = boxed.resize(picture, settings, random)
        picture = replace(picture, pixels=self._noise(picture.pixels, random))
        if settings.mirror and random.integers(2):
            picture = boxed.mirror(picture)
        return picture

    def _parse(self, value: bytes) -> BoxedPicture:
        try:
            annotated = AnnotatedDatum.FromString(value)
        except DecodeError as error:
            raise ParseError(
                f"the value of {len(value)} bytes is no AnnotatedDatum (cut off?)"
            ) from error
        if not annotated.HasField("datum"):
            raise CaffeError("the AnnotatedDatum holds no Datum: was it a Data layer's database?")
        pixels = self._transformer.read_datum(annotated.datum, self.param.force_encoded_color)
        return BoxedPicture(pixels, _boxes(annotated))


def _boxes(annotated: AnnotatedDatum) -> NDArray[np.float32]:
    rows: list[list[float]] = []
    for group in annotated.annotation_group:
        for one in group.annotation:
            box = one.bbox
            corners = (box.xmin, box.ymin, box.xmax, box.ymax)
            rows.append([group.group_label, one.instance_id, *corners, box.difficult])
    return np.array(rows, np.float32).reshape(-1, 7)


@register("AnnotatedData")
class AnnotatedData(PrefetchingLayer[AnnotatedDataParameter]):
    """Pictures (BGR) of the store `data_param.source`, and their boxes (SSD).

    The second top, (1, 1, boxes, 8), has a row (picture, label, instance, x1, y1, x2, y2,
    difficult) for each box, coordinates being parts of the picture; a single row of -1 where there
    is none. Pictures are disturbed, expanded, cut (batch_sampler), resized, made noisy and
    mirrored, with their boxes, as transform_param says.
    """

    message = "annotated_data_param"
    tops = (1, 2)
    differences = "crop_size is refused"

    passed_over: ClassVar[Mapping[str, str]] = {}

    _source: AnnotatedStore

    def declared_shapes(self) -> Sequence[Shape] | None:
        resize = self.layer_param.transform_param.resize_param
        batch = self.layer_param.data_param.batch_size
        if not (batch and resize.height and resize.width):
            return None
        # How many boxes there are differs from batch to batch.
        labels = [(1, 1, 1, 8)] * (len(self.layer_param.top) - 1)
        return [(batch, 3, resize.height, resize.width), *labels]

    def opened(self) -> AnnotatedStore:
        self.warn_of_idle_fields()
        return AnnotatedStore(self.layer_param, self.phase)

    def setup_blobs(self, bottoms: list[Blob], tops: list[Blob]) -> None:
        if not self.layer_param.data_param.batch_size:
            raise NetError("data_param.batch_size must be above 0")
        self.begin()
        tops[0].reshape(self._source.batch_size, *self._source.shape)
        for top in tops[1:]:
            top.reshape(*self._source.label_shape)
