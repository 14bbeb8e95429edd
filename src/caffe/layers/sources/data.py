"""Data: pictures and labels out of an LMDB or a LevelDB of Datum messages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from ...errors import ParseError
from ...logs import Line
from ...proto.caffe_pb2 import DataParameter, Datum
from ..layer import register
from .data_transformer import DataTransformer
from .databases import Entry
from .entries import Sample, StoreSource, naming
from .prefetching import PrefetchingLayer


class DatumStore(StoreSource):
    """The Datums of a store in the order of their keys, in batches, again and again.

    Parameters
    ----------
    param : DataParameter
        The layer's.
    transformer : DataTransformer
        What is done to each picture.
    """

    def __init__(self, param: DataParameter, transformer: DataTransformer) -> None:
        super().__init__(param)
        self.transformer = transformer
        with naming(self.describe(self.first)):
            self.shape = transformer.shape(self._parse(self.first[1])[0])

    def read(self, entry: Entry) -> Sample:
        picture, label = self._parse(entry[1])
        return self.transformer(picture), np.float32(label)

    def _parse(self, value: bytes) -> tuple[NDArray[Any], int]:
        try:
            datum = Datum.FromString(value)
        except DecodeError as error:
            raise ParseError(f"the value of {len(value)} bytes is no Datum (cut off?)") from error
        return self.transformer.read_datum(datum, self.param.force_encoded_color), datum.label


@register("Data")
class Data(PrefetchingLayer[DataParameter]):
    """Pictures of the store `source`, as its Datums hold them (BGR), and their labels.

    `rand_skip` does nothing, as in Caffe.
    """

    message = "data_param"
    tops = (1, 2)

    def lines_when_made(self) -> Iterable[Line]:
        kind = "lmdb" if self.param.backend == DataParameter.LMDB else "leveldb"
        yield f"db_{kind}.cpp:{35 if kind == 'lmdb' else 18}", f"Opened {kind} {self.param.source}"

    def open_source(self, transformer: DataTransformer) -> DatumStore:
        return DatumStore(self.param, transformer)
