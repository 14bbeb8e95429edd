"""Blob: a named place's values and their gradient, as numpy arrays and tensors in step."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import notebook
from ..errors import ShapeError, ShapeTypeError
from ..pytorch import torch
from .stores import Store
from .synced import SyncedMemory

if TYPE_CHECKING:
    from torch import Tensor

Shape = tuple[int, ...]

MAX_AXES = 32
MAX_COUNT = 2**31 - 1


class Layout:
    """Whether any of some blobs has changed its shape or its memory.

    Who depends on many blobs' shapes need not look at each before every forward.

    Parameters
    ----------
    blobs : iterable of Blob
        Which.

    Attributes
    ----------
    has_changed : bool
        Set by the blobs; who has taken note of it sets it back.
    """

    def __init__(self, blobs: Iterable[Blob]) -> None:
        self.has_changed = False
        for blob in blobs:
            blob.tell(self)


def checked_shape(dims: Sequence[int]) -> Shape:
    """Return `dims` as a shape.

    Raises
    ------
    ShapeError
        A dimension is negative or no integer, there are more than 32, or the count passes
        2**31 - 1, the most that Caffe's blobs hold.
    """
    try:
        shape = tuple(int(dim) for dim in dims)
    except (TypeError, ValueError) as error:
        raise ShapeTypeError(f"a blob's dimensions must be integers, not {dims!r}") from error
    if any(dim < 0 for dim in shape):
        raise ShapeError(f"a blob cannot have the shape {shape}: a dimension is negative")
    if len(shape) > MAX_AXES:
        raise ShapeError(f"a blob has at most {MAX_AXES} axes, not {len(shape)}")
    if math.prod(shape) > MAX_COUNT:
        raise ShapeError(f"a blob of shape {shape} would hold more than 2**31 - 1 numbers")
    return shape


class Blob:
    """An N-dimensional float32 array (`data`) and its gradient (`diff`).

    Parameters
    ----------
    shape : sequence of int
        For pictures (number, channels, height, width); any number of axes will do.
    fill : callable, optional
        Writes the first values of `data` into the flat tensor it is given, when they are
        first asked for. Zeros otherwise.

    Examples
    --------
    >>> blob = Blob((1, 3, 2, 2))
    >>> blob.data[...] = 1
    >>> blob.channels, blob.count, float(blob.data.sum())
    (3, 12, 12.0)
    """

    def __init__(self, shape: Sequence[int] = (), fill: Callable[[Tensor], None] | None = None):
        self._shape = checked_shape(shape)
        self._count = math.prod(self._shape)
        self._data = SyncedMemory(self._count, fill)
        self._diff = SyncedMemory(self._count)
        self._layouts: weakref.WeakSet[Layout] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """What a copy has: the values, and nobody who wants to know of changes."""
        return {**vars(self), "_layouts": None}

    # What a person sees: numpy.

    @property
    def data(self) -> np.ndarray:
        """The values: a writable float32 array that shares the blob's memory."""
        return self._lend(self._data)

    @property
    def diff(self) -> np.ndarray:
        """The gradient of the loss by the values: a writable float32 array, likewise."""
        return self._lend(self._diff)

    @property
    def shape(self) -> Shape:
        """The dimensions."""
        return self._shape

    @property
    def count(self) -> int:
        """How many numbers `data` holds."""
        return self._count

    @property
    def num(self) -> int:
        """The first of at most four axes; 1 where there is none."""
        return self._legacy_axis(0)

    @property
    def channels(self) -> int:
        """The second of at most four axes; 1 where there is none."""
        return self._legacy_axis(1)

    @property
    def height(self) -> int:
        """The third of at most four axes; 1 where there is none."""
        return self._legacy_axis(2)

    @property
    def width(self) -> int:
        """The fourth of at most four axes; 1 where there is none."""
        return self._legacy_axis(3)

    def reshape(self, *dims: int) -> None:
        """Give the blob another shape.

        As in Caffe the memory is kept while it is large enough, old values in it; otherwise
        the blob starts anew with zeros. Layers that read this blob follow at the next forward
        or at `Net.reshape`.

        Raises
        ------
        ShapeError
            The dimensions do not make a shape.
        """
        if len(dims) == 1 and isinstance(dims[0], Sequence):
            dims = tuple(dims[0])
        shape = checked_shape(dims)
        if shape == self._shape and self._count <= min(self._data.count, self._diff.count):
            return
        self._shape = shape
        self._count = math.prod(self._shape)
        if self._count > self._data.count:
            self._data = SyncedMemory(self._count)
        if self._count > self._diff.count:
            self._diff = SyncedMemory(self._count)
        self._note_change()

    def __repr__(self) -> str:
        return f"<caffe.Blob {self._shape_text()}>"

    def _shape_text(self) -> str:
        return " x ".join(map(str, self._shape)) or "scalar"

    def _repr_html_(self) -> str:
        rows = [_summary("data", self.data_tensor())]
        # Most blobs have no gradient; only to say so, none is to be made.
        if not self._diff.is_clear:
            rows.append(_summary("diff", self.diff_tensor()))
        title = f"Blob {self._shape_text()}: {self._count:,} numbers, {_size(4 * self._count)}"
        header = ("", "smallest", "mean", "largest", "zeros", "from smallest to largest")
        return notebook.table(title, rows, header)

    # What layers and engines see: memory, and tensors on the CPU or in a store.

    @property
    def memory(self) -> SyncedMemory:
        """Where `data` is kept; blobs that share their data have the same."""
        return self._data

    @property
    def diff_memory(self) -> SyncedMemory:
        """Where `diff` is kept, likewise."""
        return self._diff

    def let_go(self, kept: Collection[int]) -> None:
        """Be zeros where nobody holds what layers have computed, but for some memories."""
        for memory in (self._data, self._diff):
            if memory.is_as_computed and id(memory) not in kept:
                memory.clear()

    def data_tensor(self, store: Store | None = None) -> Tensor:
        """Return the newest values as a tensor of the blob's shape, to be read."""
        return self._shaped(self._data.read(store))

    def diff_tensor(self, store: Store | None = None) -> Tensor:
        """Return the newest gradient as a tensor of the blob's shape, to be read."""
        return self._shaped(self._diff.read(store))

    def mutable_data(self, store: Store | None = None) -> Tensor:
        """Return the newest values as a tensor of the blob's shape, to be written."""
        return self._shaped(self._data.mutable(store))

    def mutable_diff(self, store: Store | None = None) -> Tensor:
        """Return the newest gradient as a tensor of the blob's shape, to be written."""
        formed = self._diff.formed
        flat = self._diff.mutable(store)
        is_formed = formed is not None and formed.lies_in(flat)
        if formed is not None and is_formed and formed.values.shape == self._shape:
            return formed.values
        return self._shaped(flat)

    def formed_data(self, store: Store | None = None) -> Tensor:
        """Return the newest values as they were computed, in any order in memory and any type."""
        return self._as_formed(self._data, store)

    def formed_diff(self, store: Store | None = None) -> Tensor:
        """Return the newest gradient as it was computed, likewise."""
        return self._as_formed(self._diff, store)

    def _as_formed(self, memory: SyncedMemory, store: Store | None) -> Tensor:
        formed = memory.formed
        if formed is not None and formed.store == store and formed.values.shape == self._shape:
            return formed.values
        return self._shaped(memory.read(store))

    def _shaped(self, flat: Tensor) -> Tensor:
        """Return memory, which may be larger, as a tensor of the blob's shape."""
        own = flat if flat.numel() == self._count else flat[: self._count]
        return own.view(self._shape)

    def put_data(self, values: Tensor, store: Store | None = None) -> None:
        """Take `values` as data; a tensor of another shape gives the blob that shape."""
        if values.shape != self._shape:
            self.reshape(*values.shape)
        self._data.put_formed(values, store)

    def put_diff(self, values: Tensor, store: Store | None = None) -> None:
        """Take `values`, of the blob's shape, as diff."""
        self._diff.put_formed(values, store)

    def clear_diff(self) -> None:
        """Set the gradient to zero."""
        self._diff.clear()

    @property
    def has_no_diff(self) -> bool:
        """Whether the gradient is zero because nobody has put or looked at one."""
        return self._diff.is_clear

    def add_diff(self, gradient: Tensor, store: Store | None = None) -> None:
        """Add to the gradient; `gradient` becomes the blob's own where it is the first."""
        if not self._diff.is_clear:
            gradient = self.diff_tensor(store) + gradient
        self.put_diff(gradient, store)

    def defer_diff(self, compute: Callable[[], Tensor]) -> None:
        """Take as diff, once somebody asks for it, what `compute` will return, of any shape."""
        if self._diff.is_lent:
            self.put_diff(compute().view(self._shape).cpu())
        else:
            self._diff.defer(self._count, lambda: compute().cpu().contiguous().view(-1))

    def share_data(self, other: Blob) -> None:
        """Let `data` be the other blob's from now on (the counts must agree)."""
        self._check_count(other)
        if self._data is not other._data:
            self._data.about_to_change()
            self._data = other._data
            self._note_change()

    def part_from(self, other: Blob) -> None:
        """Have memory of its own where it is the other blob's; the values are zeros then."""
        if self._data is other._data:
            self._data = SyncedMemory(self._count)
            self._note_change()
        if self._diff is other._diff:
            self._diff = SyncedMemory(self._count)

    def tell(self, layout: Layout) -> None:
        """Let `layout` know of changes of the shape or of the memory of `data`."""
        if self._layouts is None:
            self._layouts = weakref.WeakSet()
        self._layouts.add(layout)

    def _note_change(self) -> None:
        for layout in self._layouts or ():
            layout.has_changed = True

    def share_diff(self, other: Blob) -> None:
        """Let `diff` be the other blob's from now on (the counts must agree)."""
        self._check_count(other)
        self._diff = other._diff

    def _check_count(self, other: Blob) -> None:
        if other._count != self._count:
            raise ShapeError(
                f"cannot share: the counts of shapes {other._shape} and {self._shape} differ"
            )

    def _lend(self, memory: SyncedMemory) -> np.ndarray:
        return memory.lend()[: self._count].reshape(self._shape)

    def _legacy_axis(self, axis: int) -> int:
        if len(self._shape) > 4:
            raise ShapeError(
                f"num, channels, height and width need at most 4 axes; this blob is {self._shape}: "
                "use blob.shape"
            )
        return self._shape[axis] if axis < len(self._shape) else 1


def _summary(name: str, values: Tensor) -> tuple[str, ...]:
    """A line of the table that a notebook shows of a blob."""
    finite = values[values.isfinite()]
    odd = values.numel() - finite.numel()
    if not finite.numel():
        return (name, "-", "-", "-", "-", f"{odd:,} NaN or infinite" if odd else "empty")
    low, high = float(finite.min()), float(finite.max())
    counts = torch.histc(finite, 32, low, high).tolist() if low < high else [1.0]
    spread = notebook.bars(counts) + (f"{odd:,} NaN or infinite" if odd else "")
    zeros = float((finite == 0).sum()) / finite.numel()
    mean = float(finite.mean(dtype=torch.float64))
    return (name, f"{low:.4g}", f"{mean:.4g}", f"{high:.4g}", f"{zeros:.0%}", spread)


def _size(count: int) -> str:
    size: float = count
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"
