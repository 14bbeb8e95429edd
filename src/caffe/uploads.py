"""Pictures sent to a GPU as the bytes that they are, and made into a net's items there.

That is a quarter of the memory to be sent, and leaves the CPUs to what reads files. What is
computed is, operation by operation, what `io.recipe` and `io.resizing` compute on the CPU.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from . import mode
from .io.recipe import STRETCH, PictureRecipe, fit_mean
from .io.resizing import Samples, samples_between, ten_crops
from .memory.blob import Blob
from .memory.stores import Store
from .preparing import Unmade
from .pytorch import torch

if TYPE_CHECKING:
    from torch import Tensor

Items: TypeAlias = "NDArray[np.float32] | Tensor | Unmade"
"""Crops x the shape of an input's items, on the CPU or a GPU, or still to be made."""

COLOURS = (1, 3)
"""The numbers of channels of pictures that are resized by their pixels' centres."""


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

    def items(self, image: NDArray[np.uint8], oversample: bool, white: float) -> Tensor:
        """Return a picture's items on the GPU, as `PictureRecipe.apply` has them."""
        # What is sent is the thread's own: its memory must not change meanwhile.
        own = torch.empty(image.shape, dtype=torch.uint8)
        own.numpy()[...] = image
        rows, columns = (slice(None), slice(None)) if oversample else self._windows[4]
        sent = self._store.upload(own)
        if image.shape[:2] == self._dims:
            planes = sent[rows, columns].float()
        else:
            planes = self._resized(image, sent, rows, columns)
        planes = planes.permute(2, 0, 1)
        if white != 1:
            planes = planes / white
        items = planes[None]
        if oversample:
            crops = torch.stack([planes[:, rows, columns] for rows, columns in self._windows])
            items = torch.cat([crops, crops.flip(3)])
        if self._swap is not None:
            items = torch.stack([items[:, source] for source in self._swap], 1)
        items = items.clone(memory_format=torch.contiguous_format)
        for step, value in self._steps:
            if value is not None:
                getattr(items, step)(value)
        return items

    def _resized(
        self, image: NDArray[np.uint8], sent: Tensor, rows: slice, columns: slice
    ) -> Tensor:
        """H x W x K bilinearly in the size that the recipe wants, of which a window."""
        high, wide = self._dims
        down = samples_between(image.shape[0], high, True, *rows.indices(high)[:2])
        along = samples_between(image.shape[1], wide, True, *columns.indices(wide)[:2])
        outside = float(image.min()) if down.looks_outside or along.looks_outside else 0.0
        planes = _mixed(sent, 0, down, self._store, outside)
        return _mixed(planes, 1, along, self._store, outside)


def _mixed(values: Tensor, axis: int, samples: Samples, store: Store, outside: float) -> Tensor:
    """Each new pixel between two along an axis: ``first + (second - first) * share``."""
    first_of, second_of, share, no_first, no_second = (_sent(one, store) for one in samples)
    first = values.index_select(axis, first_of).float()
    second = values.index_select(axis, second_of).float()
    for pixels, places in ((first, no_first), (second, no_second)):
        if len(places):
            pixels.index_fill_(axis, places, outside)
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
    items : sequence of array or Tensor
        At most as many as it holds; each of its shape without the first axis.
    """
    store = mode.current_store()
    if store is None or not any(isinstance(item, torch.Tensor) for item in items):
        values = blob.data
        for slot, item in zip(values, items, strict=False):
            if isinstance(item, Unmade):
                item.put(slot)
            else:
                slot[...] = item.cpu() if isinstance(item, torch.Tensor) else item
        values[len(items) :] = 0
        return
    sent = torch.zeros(blob.shape, dtype=torch.float32, device=store.device)
    for place, item in zip(sent, items, strict=False):
        if isinstance(item, Unmade):
            made = np.empty(place.shape, np.float32)
            item.put(made)
            item = made
        place.copy_(item if isinstance(item, torch.Tensor) else torch.from_numpy(item))
    blob.put_data(sent, store)
