"""Reading batches ahead in a thread, for the layers that read pictures."""

from __future__ import annotations

import atexit
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from queue import Empty, Queue
from typing import Any, ClassVar

import numpy as np

from ... import parallel
from ...errors import NetError
from ...logs import Line, say
from ...memory.blob import Blob, Shape
from ...phases import TRAIN
from ...processes import Birthplace, in_forked_child
from ...proto.caffe_pb2 import ResizeParameter
from ...pytorch import torch
from ..description import Count
from ..layer import Layer, P
from .data_transformer import DataTransformer, noting_random_sources, put_random_states
from .entries import Batch, Source
from .transform_fields import MOVING, OF_BOXES, asked, warn_of_idle

State = dict[str, Any]
"""Where a source stands: which entry is next, and its random numbers."""

Ready = tuple[Batch, State]
"""A batch, and where its source stands behind it."""


class Prefetcher:
    """A thread that keeps the next few batches ready.

    Parameters
    ----------
    batches : iterator
        Run in the thread only.
    depth : int
        How many batches to keep ready; at least 1.
    """

    def __init__(self, batches: Iterator[Ready], depth: int) -> None:
        self._results: Queue[Ready | BaseException] = Queue(depth)
        self._stopped = threading.Event()
        self._birthplace = Birthplace()
        self._error: BaseException | None = None
        # A daemon, so that an interpreter that is about to end does not wait for it before
        # `_stop_all` has told it to.
        self._thread = threading.Thread(
            target=_fill,
            args=(batches, self._results, self._stopped),
            name="caffe-prefetch",
            daemon=True,
        )
        self._thread.start()
        _running.add(self)

    @property
    def is_here(self) -> bool:
        """Whether its thread runs in this process, which may have been forked since."""
        return self._birthplace.is_here

    def next(self) -> Ready:
        """Return the next batch; raises what went wrong in the thread."""
        result = self._error or self._results.get()
        if isinstance(result, BaseException):
            self._error = result
            # Whoever it passes adds where it was: each time to an error of its own.
            raise copy(result).with_traceback(result.__traceback__)
        return result

    def stop(self) -> None:
        """Tell the thread to end; it does once the batch in hand is read."""
        if not self.is_here:
            # The thread that may have held the locks is no more.
            return
        self._stopped.set()
        try:
            # Makes room, in case the thread waits for it.
            while True:
                self._results.get_nowait()
        except Empty:
            pass

    def join(self, timeout: float) -> None:
        """Wait for the thread's end."""
        self._thread.join(timeout)


def _fill(
    batches: Iterator[Ready], results: Queue[Ready | BaseException], stopped: threading.Event
) -> None:
    try:
        for batch in batches:
            if stopped.is_set():
                break
            results.put(batch)
            if stopped.is_set():
                break
    except BaseException as error:
        results.put(error)
    finally:
        close = getattr(batches, "close", None)
        if close is not None:
            close()


_running: weakref.WeakSet[Prefetcher] = weakref.WeakSet()
in_forked_child(_running.clear)


@atexit.register
def _stop_all() -> None:
    prefetchers = list(_running)
    for prefetcher in prefetchers:
        prefetcher.stop()
    for prefetcher in prefetchers:
        prefetcher.join(timeout=5)


class Restarts:
    """Tells when a source begins anew, at the forward at which the original reads the batch for it.

    That is the one which makes room for the batch among the `depth` that wait. The thread is
    further by then, or not yet so far: where lines stand must not hang on that.

    Parameters
    ----------
    source : Source
        Which is about to be read.
    depth : int
        How many batches the original keeps ready.
    """

    def __init__(self, source: Source[Any], depth: int) -> None:
        self._source = source
        self._offset = source.offset
        self._batches = depth
        self._told = 0

    def tell(self) -> None:
        """Tell of those that are due at this forward."""
        # Those that train together have one voice.
        count = self._source.restarts(self._offset, self._batches) if not self._source.rank else 0
        for _ in range(self._told, count):
            say("data_layer.cpp:73", "Restarting data prefetching from start.")
        self._told = max(count, self._told)
        self._batches += 1


_OWN = ("_prefetcher", "_randoms", "_restarts", "_source")


class PrefetchingLayer(Layer[P]):
    """A layer whose tops are batches that a thread reads ahead: pictures and labels."""

    family = "source"
    assumes_shapes = True
    bottoms = 0
    tops: ClassVar[Count] = 2
    on_blobs = True

    log_place: ClassVar[str] = "data_layer.cpp:45"
    """Where the original tells its size."""

    passed_over: ClassVar[Mapping[str, str]] = OF_BOXES
    """What of transform_param does nothing here, as in the original, and why."""

    _source: Source[Any]
    _prefetcher: Prefetcher | None = None
    _state: State

    def open_source(self, transformer: DataTransformer) -> Source[Any]:
        """Check the parameter message and open what it names."""
        raise NotImplementedError

    def opened(self) -> Source[Any]:
        """Open what the layer reads, at its front."""
        self.warn_of_idle_fields()
        transformer = DataTransformer(self.layer_param.transform_param, self.phase)
        return self.open_source(transformer)

    def warn_of_idle_fields(self) -> None:
        """Tell of the fields of transform_param that do nothing here."""
        passed_over = dict(self.passed_over)
        is_color = getattr(self.param, "is_color", None)
        if is_color is not None:
            passed_over["force_gray" if is_color else "force_color"] = (
                f"as in Caffe: say is_color in {self.message}"
            )
        layer = f"'{self.name}' ({self.layer_param.type})"
        warn_of_idle(self.layer_param.transform_param, layer, passed_over)

    def __getstate__(self) -> dict[str, Any]:
        """What a copy has: all but the thread and what it reads, which it opens itself."""
        return {k: v for k, v in vars(self).items() if k not in _OWN}

    @property
    def batch_size(self) -> int:
        """How many pictures a batch has, as the layer's own message says."""
        size: int = getattr(self.param, "batch_size", 0)
        return size

    def declared_size(self) -> tuple[int, int, int] | None:
        """Channels, height and width of the pictures, as far as the text gives them."""
        transform = self.layer_param.transform_param
        height = transform.crop_size or transform.crop_h
        width = transform.crop_size or transform.crop_w
        moving = set(asked(transform)) & set(MOVING)
        if not height and moving:
            resize = transform.resize_param
            if moving != {"resize_param"} or resize.resize_mode == ResizeParameter.FIT_SMALL_SIZE:
                return None
            height, width = resize.height, resize.width
        if not height:
            height, width = (
                getattr(self.param, f"crop_{side}", 0) or getattr(self.param, f"new_{side}", 0)
                for side in ("height", "width")
            )
        is_color = getattr(self.param, "is_color", None)
        grey = transform.force_gray if is_color is None else not is_color
        return (1 if grey else 3, height, width) if height and width else None

    def declared_shapes(self) -> Sequence[Shape] | None:
        size, batch = self.declared_size(), self.batch_size
        if size is None or not batch:
            return None
        return [(batch, *size), *[(batch,)] * (len(self.layer_param.top) - 1)]

    def begin(self) -> None:
        """Open what the layer reads, and note its random numbers, for `state`."""
        with noting_random_sources() as self._randoms:
            self._source = self.opened()
        if self.phase == TRAIN and self._source.interleaves:
            self._source.count = parallel.solver_count()
            self._source.rank = parallel.solver_rank()
        self._state = _state_of(self._source, self._randoms)

    def setup_blobs(self, bottoms: list[Blob], tops: list[Blob]) -> None:
        if not self.batch_size:
            raise NetError(f"{self.message}.batch_size must be above 0")
        self.begin()
        tops[0].reshape(self._source.batch_size, *self._source.shape)
        for top in tops[1:]:
            top.reshape(self._source.batch_size)

    def lines_at_setup(self, tops: Sequence[Blob]) -> Iterable[Line]:
        yield self.log_place, f"output data size: {','.join(map(str, tops[0].shape))}"

    def forward_blobs(self, bottoms: list[Blob], tops: list[Blob]) -> None:
        if self._prefetcher is None or not self._prefetcher.is_here:
            # How far all of these layers read ahead stands in data_param, as in Caffe.
            depth = max(1, self.layer_param.data_param.prefetch)
            if "_source" not in vars(self):
                self.begin()
            self._restarts = Restarts(self._source, depth)
            self._prefetcher = Prefetcher(_with_states(self._source, self._randoms), depth)
            weakref.finalize(self, self._prefetcher.stop).atexit = False
        self._restarts.tell()
        batch, self._state = self._prefetcher.next()
        for top, array in zip(tops, batch, strict=False):
            top.put_data(torch.from_numpy(array))

    def state(self) -> State:
        return self._state

    def restore(self, state: State) -> None:
        if self._prefetcher is not None:
            self._prefetcher.stop()
            self._prefetcher.join(timeout=60)
            self._prefetcher = None
        if "_source" not in vars(self):
            self.begin()
        put_random_states(self._randoms, state["random"])
        self._source.go_to(state["place"])
        self._source.offset = int(state["offset"])
        self._state = state


def _with_states(source: Source[Any], randoms: Sequence[np.random.Generator]) -> Iterator[Ready]:
    # It must not know the layer: the thread keeps it alive.
    for batch in source.batches():
        yield batch, _state_of(source, randoms)


def _state_of(source: Source[Any], randoms: Sequence[np.random.Generator]) -> State:
    return {
        "place": source.place(),
        "offset": source.offset,
        "random": [random.bit_generator.state for random in randoms],
    }
