"""Pictures sent to a GPU as the bytes that they are, and made into a net's items there.

That is a quarter of the memory to be sent, and leaves the CPUs to what reads files. Pictures of one
size are made together: a GPU is started as often for a batch as for one. What is computed is,
operation by operation, what `io.recipe` and `io.resizing` compute on the CPU.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from . import mode
from .guarded import memory_told
from .io.recipe import STRETCH, PictureRecipe, fit_mean
from .io.resizing import Samples, samples_between, ten_crops
from .memory.blob import Blob
from .memory.stores import Store
from .preparing import Unmade
from .pytorch import torch

if TYPE_CHECKING:
    from torch import Tensor

Items: TypeAlias = "NDArray[np.float32] | Tensor | Sent | Unmade"
"""Crops x the shape of an input's items, on the CPU or a GPU, or still to be made."""

COLOURS = (1, 3)
"""The numbers of channels of pictures that are resized by their pixels' centres."""

MOST_AT_ONCE = 2**28
"""How many bytes pictures that are made together may take on the way, or a single one more."""


@dataclass(frozen=True, eq=False)
class Sent:
    """A picture's bytes on a GPU, whose middle is made an item together with others'.

    Attributes
    ----------
    outside : float
        What stands for pixels beyond its edges.
    """

    sender: Sender
    pixels: Tensor
    white: float
    outside: float

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Sent]:
        return iter((self,))

    @property
    def kind(self) -> tuple[Sender, torch.Size, float]:
        """What those have in common that can be made together."""
        return self.sender, self.pixels.shape, self.white


class Sender:
    """Makes items of pictures' bytes on a GPU; threads may do so at once.

    Parameters
    ----------
    recipe : PictureRecipe
        How pictures go in; one that stretches them, for an input of a fixed size.
    store : Store
        The GPU's memory.
    """

    def __init__(self, recipe: PictureRecipe, store: Store) -> None:
        assert recipe.fit == STRETCH
        assert recipe.image_dims is not None
        assert recipe.crop is not None
        self._store = store
        self._dims, self._crop = recipe.image_dims, recipe.crop
        self._windows = ten_crops(self._dims, self._crop)
        self._swap = recipe.channel_swap
        self._channels = recipe.channels
        mean = recipe.mean
        if mean is not None:
            mean = fit_mean(mean, (recipe.channels, *recipe.crop), "pictures")
        self._steps = [
            ("mul_", self._sent(recipe.raw_scale)),
            ("sub_", self._sent(mean)),
            ("mul_", self._sent(recipe.input_scale)),
        ]

    def _sent(self, value: Any) -> Any:
        if value is None or np.ndim(value) == 0:
            return value
        return self._store.upload(torch.from_numpy(np.array(value, np.float32)))

    def takes(self, image: NDArray[Any]) -> bool:
        """Tell whether it knows such pictures: bytes, with the input's channels."""
        return (
            image.dtype == np.uint8
            and image.ndim == 3
            and image.size > 0
            and image.shape[2] == self._channels
            and self._channels in COLOURS
        )

    def items(self, image: NDArray[np.uint8], oversample: bool, white: float) -> Tensor | Sent:
        """Return a picture's items on the GPU, as `PictureRecipe.apply` has them.

        One of which there is one, and that takes no more memory as bytes, is still to be made.
        """
        with memory_told():
            sent = self.send(image, white)
            if not oversample:
                is_small = image.nbytes <= 4 * self._channels * math.prod(self._crop)
                return sent if is_small else self.made([sent])
            (planes,) = self._planes([sent], slice(None), slice(None))
            crops = torch.stack([planes[:, rows, columns] for rows, columns in self._windows])
            return self._finished(torch.cat([crops, crops.flip(3)]))

    def send(self, image: NDArray[np.uint8], white: float) -> Sent:
        """Send a picture's bytes, which may change afterwards."""
        outside = 0.0
        if image.shape[:2] != self._dims:
            both = self._samples(image.shape, slice(None), slice(None))
            if any(samples.looks_outside for samples in both):
                outside = float(image.min())
        return Sent(self, self._store.send(image), white, outside)

    def made(self, pictures: Sequence[Sent]) -> Tensor:
        """Return the items, one after the other, of pictures of one kind."""
        height, width = pictures[0].pixels.shape[:2]
        # Of wide pictures of a few rows many would take too much memory on the way.
        row = 2 * 4 * self._channels * max(width, self._crop[1])
        together = max(1, MOST_AT_ONCE // (row * max(height, self._crop[0])))
        with memory_told():
            found = [
                self._finished(self._planes(pictures[i : i + together], *self._windows[4]))
                for i in range(0, len(pictures), together)
            ]
            return found[0] if len(found) == 1 else torch.cat(found)

    def _finished(self, items: Tensor) -> Tensor:
        """Do with pixels of the crops' size what the recipe says."""
        if self._swap is not None:
            items = torch.stack([items[:, source] for source in self._swap], 1)
        items = items.clone(memory_format=torch.contiguous_format)
        for step, value in self._steps:
            if value is not None:
                getattr(items, step)(value)
        return items

    def _planes(self, pictures: Sequence[Sent], rows: slice, columns: slice) -> Tensor:
        """Return a window of pictures in the size that the recipe wants: N x K x rows x columns."""
        pixels = torch.stack([picture.pixels for picture in pictures])
        if pixels.shape[1:3] == self._dims:
            planes = pixels[:, rows, columns].float()
        else:
            down, along = self._samples(pixels.shape[1:3], rows, columns)
            outside = None
            if down.looks_outside or along.looks_outside:
                values = torch.tensor([picture.outside for picture in pictures])
                outside = self._store.upload(values).view(-1, 1, 1)
            planes = _mixed(pixels, 1, down, self._store, outside)
            planes = _mixed(planes, 2, along, self._store, outside)
        planes = planes.permute(0, 3, 1, 2)
        white = pictures[0].white
        return planes if white == 1 else planes / white

    def _samples(self, size: Sequence[int], rows: slice, columns: slice) -> tuple[Samples, Samples]:
        """The samples of a window's rows and columns, of pictures of a size."""
        high, wide = self._dims
        down = samples_between(size[0], high, True, *rows.indices(high)[:2])
        along = samples_between(size[1], wide, True, *columns.indices(wide)[:2])
        return down, along


def _mixed(
    values: Tensor, axis: int, samples: Samples, store: Store, outside: Tensor | None
) -> Tensor:
    """Each new pixel between two along an axis: ``first + (second - first) * share``."""
    first_of, second_of, share, no_first, no_second = (_sent(one, store) for one in samples)
    first = values.index_select(axis, first_of).float()
    second = values.index_select(axis, second_of).float()
    for pixels, places in ((first, no_first), (second, no_second)):
        if len(places):
            assert outside is not None
            pixels.movedim(axis, 0)[places] = outside
    shape = [-1 if i == axis else 1 for i in range(values.dim())]
    return second.sub_(first).mul_(share.view(shape)).add_(first)


def _sent(values: NDArray[Any], store: Any) -> Tensor:
    """Samples on a GPU; pictures often share their sizes."""
    return _places(store, values.dtype.str, values.tobytes())


@functools.lru_cache(maxsize=1024)
def _places(store: Any, kind: str, content: bytes) -> Tensor:
    sent: Tensor = store.upload(torch.from_numpy(np.frombuffer(content, kind).copy()))
    return sent


def put_items(blob: Blob, items: Sequence[Items]) -> None:
    """Put items into a net's input, one after the other from its first on, and zeros behind them.

    Parameters
    ----------
    blob : Blob
        The input.
    items : sequence of array, Tensor, Sent or Unmade
        At most as many as it holds; each of its shape without the first axis.
    """
    store = mode.current_store()
    if store is None or not any(isinstance(item, (torch.Tensor, Sent)) for item in items):
        values = blob.data
        for slot, item in zip(values, items, strict=False):
            if isinstance(item, Unmade):
                item.put(slot)
            else:
                slot[...] = _on_cpu(item)
        values[len(items) :] = 0
        return
    sent = torch.zeros(blob.shape, dtype=torch.float32, device=store.device)
    together: dict[Any, list[int]] = {}
    for number, item in enumerate(items):
        if isinstance(item, Sent):
            together.setdefault(item.kind, []).append(number)
            continue
        if isinstance(item, Unmade):
            made = np.empty(blob.shape[1:], np.float32)
            item.put(made)
            item = made
        sent[number].copy_(item if isinstance(item, torch.Tensor) else torch.from_numpy(item))
    for (sender, *_), numbers in together.items():
        found = sender.made([items[number] for number in numbers])
        sent.index_copy_(0, _sent(np.array(numbers), store), found)
    blob.put_data(sent, store)


def _on_cpu(item: NDArray[np.float32] | Tensor | Sent) -> NDArray[np.float32] | Tensor:
    if isinstance(item, Sent):
        return item.sender.made([item])[0].cpu()
    return item.cpu() if isinstance(item, torch.Tensor) else item
