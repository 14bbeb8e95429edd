"""Entries read again and again, and put into batches."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
import pytest

import caffe
from caffe.errors import CaffeError, NetError, ShapeError
from caffe.layers.sources.entries import ListSource, Sample, Source
from caffe.proto.caffe_pb2 import ImageDataParameter


class Squares(Source[int]):
    """Pictures of one grey value each, as large as `sides` says in turn."""

    batch_size = 2
    shape = (1, 1, 1)

    def __init__(self, *sides: int) -> None:
        self.sides = sides

    def entries(self) -> Iterator[int]:
        while True:
            yield from range(len(self.sides))

    def describe(self, entry: int) -> str:
        return f"square {entry}"

    def read(self, entry: int) -> Sample:
        if not self.sides[entry]:
            raise CaffeError("it is empty")
        shape = (1, self.sides[entry], self.sides[entry])
        return np.full(shape, entry, np.float32), np.float32(entry)


def test_batches_go_on_over_the_end_of_the_entries() -> None:
    pictures, labels = zip(*islice(Squares(4, 4, 4).batches(), 3), strict=True)
    assert [batch.tolist() for batch in labels] == [[0, 1], [2, 0], [1, 2]]
    assert pictures[1].shape == (2, 1, 4, 4)
    assert pictures[1][:, 0, 0, 0].tolist() == [2, 0]


def test_a_batch_takes_the_size_of_its_first_picture() -> None:
    batches = Squares(4, 4, 5, 5).batches()
    assert [pictures.shape[2] for pictures, _ in islice(batches, 2)] == [4, 5]
    with pytest.raises(ShapeError, match=r"square 1: the picture has the shape \(1, 5, 5\)"):
        next(Squares(4, 5).batches())


def test_what_cannot_be_read_is_named() -> None:
    with pytest.raises(CaffeError, match="square 1: it is empty"):
        next(Squares(4, 0).batches())


def test_a_list_is_gone_through_again_each_time_in_another_order() -> None:
    caffe.set_random_seed(1)
    source = ListSource(ImageDataParameter(batch_size=1, shuffle=True), list(range(20)))
    entries = source.entries()
    rounds = [list(islice(entries, 20)) for _ in range(3)]
    assert all(sorted(one) == list(range(20)) for one in rounds)
    assert len({tuple(one) for one in rounds}) == 3


def test_skipping_more_than_there_is_is_refused() -> None:
    with pytest.raises(NetError, match="rand_skip: 1000000 would skip"):
        ListSource(ImageDataParameter(batch_size=1, rand_skip=1_000_000), [1, 2])
