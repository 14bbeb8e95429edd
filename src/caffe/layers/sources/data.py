"""Data: pictures and labels out of an LMDB or a LevelDB of Datum messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from ...errors import ParseError
from ...proto.caffe_pb2 import DataParameter, Datum
from ..layer import register
from .data_transformer import DataTransformer
from .databases import open_database
from .prefetching import Batch, PrefetchingLayer, as_batch, check_shape, naming


class DatumStore:
    """The Datums of a store in the order of their keys, in batches, again and again.

    Parameters
    ----------
    param : DataParameter
        The layer's.
    transformer : DataTransformer
        What is done to each picture.
    """

    def __init__(self, param: DataParameter, transformer: DataTransformer) -> None:
        self.param = param
        self.transformer = transformer
        self.batch_size = param.batch_size
        self._database = open_database(param.source, param.backend)
        entries = self._database.entries()
        key, value = next(entries, (b"", None))
        if value is None:
            raise ParseError(
                f"{self._database.kind} with pictures was expected, but it is empty", param.source
            )
        with naming(self._place(key)):
            self.shape = transformer.shape(self._parse(value)[0])

    def batches(self) -> Iterator[Batch]:
        """Yield batches without end; each has the size of its first picture."""
        entries = self._endless()
        while True:
            pictures, labels = [], []
            for _ in range(self.batch_size):
                key, value = next(entries)
                with naming(self._place(key)):
                    picture, label = self._parse(value)
                    pictures.append(self.transformer(picture))
                    check_shape(pictures[-1], pictures[0])
                labels.append(label)
            yield as_batch(pictures, labels)

    def _endless(self) -> Iterator[tuple[bytes, bytes]]:
        while True:
            yield from self._database.entries()

    def _parse(self, value: bytes) -> tuple[NDArray[Any], int]:
        try:
            datum = Datum.FromString(value)
        except DecodeError as error:
            raise ParseError(f"the value of {len(value)} bytes is no Datum (cut off?)") from error
        return self.transformer.read_datum(datum, self.param.force_encoded_color), datum.label

    def _place(self, key: bytes) -> str:
        return f"{self.param.source}: entry '{key.decode('utf-8', 'backslashreplace')}'"


@register("Data")
class Data(PrefetchingLayer[DataParameter]):
    """Pictures of the store `source`, as its Datums hold them (BGR), and their labels.

    `rand_skip` does nothing, as in Caffe.
    """

    message = "data_param"
    tops = (1, 2)

    def open_source(self, transformer: DataTransformer) -> DatumStore:
        return DatumStore(self.param, transformer)
