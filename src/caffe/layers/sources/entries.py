"""What the sources of pictures share: entries, read one after the other and put into batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...errors import CaffeError, NetError, ParseError, ShapeError, unreadable
from ...proto.caffe_pb2 import DataParameter, DenseImageDataParameter, ImageDataParameter
from ...proto.contents import open_lines
from .data_transformer import Shape3, common_random_source
from .databases import Entry as Record
from .databases import open_database

Batch = tuple[NDArray[np.float32], ...]
"""Pictures (N, channels, height, width) and labels (N,)."""

Sample = tuple[Any, ...]
"""A picture (channels, height, width) as the net takes it, and what goes with it."""

Entry = TypeVar("Entry")


@contextmanager
def naming(entry: str) -> Iterator[None]:
    """Put what is being read before whatever error is raised inside."""
    try:
        yield
    except CaffeError as error:
        error.args = (f"{entry}: {error}", *error.args[1:])
        raise


def check_shape(picture: NDArray[np.float32], first: NDArray[np.float32]) -> None:
    """Check that a picture is as large as the first one of its batch.

    Raises
    ------
    ShapeError
        It is not.
    """
    if picture.shape != first.shape:
        raise ShapeError(
            f"the picture has the shape {picture.shape} (channels, height, width), the first of "
            f"its batch {first.shape}; resize or crop them to one size, or take batches of 1"
        )


class Source(Generic[Entry]):
    """Where batches come from. It must not know the layer: the thread keeps it alive.

    Attributes
    ----------
    batch_size : int
        How many pictures a batch has.
    shape : (int, int, int)
        Channels, height and width of the first one.
    """

    batch_size: int
    shape: Shape3

    interleaves: ClassVar[bool] = True
    """Whether solvers that train together each read every so-manieth entry."""

    count: int = 1
    rank: int = 0
    offset: int = 0
    """How many entries have been read, or left to other solvers."""

    def own_entries(self) -> Iterator[Entry]:
        """Yield those of the entries that are this solver's."""
        for entry in self.entries():
            number = self.offset
            self.offset += 1
            if number % self.count == self.rank:
                yield entry

    def entries(self) -> Iterator[Entry]:
        """Yield what there is to read, without end."""
        raise NotImplementedError

    def describe(self, entry: Entry) -> str:
        """Return how errors name an entry."""
        raise NotImplementedError

    def read(self, entry: Entry) -> Sample:
        """Return an entry's picture and what goes with it."""
        raise NotImplementedError

    def check(self, sample: Sample, first: Sample) -> None:
        """Check that a sample goes into one batch with the batch's first."""
        check_shape(sample[0], first[0])

    def place(self) -> dict[str, Any]:
        """Return which entry is read next, in JSON's types; the random numbers are apart."""
        return {}

    def go_to(self, place: dict[str, Any]) -> None:
        """Let `entries` begin there; before it has begun."""

    def restarts(self, offset: int, batches: int) -> int:
        """Return how often the end is told to have been reached, once batches more are read.

        Parameters
        ----------
        offset : int
            How many entries were read, or left to other solvers, before the first of them.
        batches : int
            How many.
        """
        return 0

    def joined(self, samples: Sequence[Sample]) -> Batch:
        """Return samples as a batch."""
        return tuple(np.stack(parts) for parts in zip(*samples, strict=True))

    def batches(self) -> Iterator[Batch]:
        """Yield batches without end; each has the size of its first picture."""
        entries = self.own_entries()
        while True:
            samples: list[Sample] = []
            for entry in islice(entries, self.batch_size):
                with naming(self.describe(entry)):
                    samples.append(self.read(entry))
                    self.check(samples[-1], samples[0])
            yield self.joined(samples)


class ListSource(Source[Entry]):
    """A list's entries from the front, again and again, each time in another order if asked.

    Parameters
    ----------
    param : ImageDataParameter or DenseImageDataParameter
        The layer's.
    entries : list
        What `param.source` lists.
    """

    param: ImageDataParameter | DenseImageDataParameter

    def __init__(
        self, param: ImageDataParameter | DenseImageDataParameter, entries: list[Entry]
    ) -> None:
        self.param = param
        self.batch_size = param.batch_size
        # Solvers that train together shuffle alike, so that each reads other entries.
        self._random = common_random_source()
        self._entries = entries
        self._order = list(range(len(entries)))
        self._next = 0
        if param.shuffle:
            self._shuffle()
        if param.rand_skip:
            self._next = int(self._random.integers(param.rand_skip))
            if self._next >= len(entries):
                raise NetError(
                    f"rand_skip: {param.rand_skip} would skip {self._next} pictures, but "
                    f"{param.source} lists {len(entries)}"
                )

    @property
    def length(self) -> int:
        """How many there are."""
        return len(self._entries)

    @property
    def first(self) -> Entry:
        """The entry that is read next."""
        return self._entries[self._order[self._next]]

    def entries(self) -> Iterator[Entry]:
        while True:
            entry = self.first
            self._next += 1
            if self._next == len(self._entries):
                self._next = 0
                if self.param.shuffle:
                    self._shuffle()
            yield entry

    def place(self) -> dict[str, Any]:
        # Each order is a list of its own, so that it need not be copied.
        return {"next": self._next, "order": self._order if self.param.shuffle else None}

    def go_to(self, place: dict[str, Any]) -> None:
        order = place["order"]
        if order is not None:
            if sorted(order) != list(range(len(self._entries))):
                raise CaffeError(f"{self.param.source}: the list is not as long as it was")
            self._order = order
        self._next = int(place["next"]) % len(self._entries)

    def _shuffle(self) -> None:
        order = self._random.permutation(len(self._entries))
        self._order = [self._order[i] for i in order]


def read_lines(path: str) -> list[str]:
    """Return the lines of a list of pictures, whose paths may be of any encoding.

    Raises
    ------
    ParseError
        The list cannot be read.
    """
    try:
        with open_lines(path, errors="surrogateescape") as file:
            return [line.rstrip() for line in file]
    except OSError as error:
        what = f"the list of pictures cannot be read: {error.strerror}"
        raise unreadable(what, path, error) from error


class StoreSource(Source[Record]):
    """The records of a key-value store in the order of their keys, again and again.

    Parameters
    ----------
    param : DataParameter
        The layer's.

    Raises
    ------
    ParseError
        There is no such store, or it is empty.
    """

    def __init__(self, param: DataParameter) -> None:
        self.param = param
        self.batch_size = param.batch_size
        self._database = open_database(param.source, param.backend)
        first = next(self._database.entries(), None)
        if first is None:
            raise ParseError(
                f"{self._database.kind} with pictures was expected, but it is empty", param.source
            )
        self.first = first
        self._length = self._database.count
        self._read = 0

    def entries(self) -> Iterator[Record]:
        begin = self._read
        while True:
            for number, record in enumerate(islice(self._database.entries(), begin, None), begin):
                self._read = number + 1
                yield record
            # Of some stores it is known only now.
            self._length = self._read
            begin = 0

    def restarts(self, offset: int, batches: int) -> int:
        if not self._length:
            return 0
        before = (self.rank - offset) % self.count
        end = offset + before + (batches * self.batch_size - 1) * self.count + 1
        return end // self._length - offset // self._length

    def place(self) -> dict[str, Any]:
        return {"read": self._read}

    def go_to(self, place: dict[str, Any]) -> None:
        self._read = int(place["read"])

    def describe(self, entry: Record) -> str:
        return f"{self.param.source}: entry '{entry[0].decode('utf-8', 'backslashreplace')}'"
