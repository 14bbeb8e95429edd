"""Items of nets' inputs made of pictures' bytes by a kernel, where many are to be made.

What it computes is, to the last bit, what `io.recipe` and `io.resizing` compute.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .compiled import llvm
from .compiled.sampling import CHANNELS, Places, Sampling
from .io.recipe import STRETCH, PictureRecipe
from .io.resizing import samples_between, ten_crops

PATIENCE = 32
"""After how many pictures the kernel is worth it: some 30 ms to compile it, and once only."""


@dataclass(frozen=True, eq=False)
class Unmade:
    """The pixels of a picture whose one crop is made where the net wants it, and not before.

    That spares a copy, and memory, which is fresh for each.
    """

    image: NDArray[np.uint8]
    places: Places
    sampling: Sampling

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Unmade]:
        return iter((self,))

    def kept(self) -> Unmade | NDArray[np.float32]:
        """Return what takes the least memory until it is wanted: this, or the item, a batch of one.

        Photographs may be fifty times as large as what is made of them.
        """
        shape = (1, CHANNELS, len(self.places.lines), len(self.places.share))
        if self.image.nbytes <= math.prod(shape) * np.dtype(np.float32).itemsize:
            return self
        made = np.empty(shape, np.float32)
        self.put(made[0])
        return made

    def put(self, item: NDArray[np.float32]) -> None:
        """Write the crop, channels x height x width, to contiguous memory."""
        self.sampling.put(self.image, self.places, item)


class Preparer:
    """Takes pictures whose middle a kernel makes an input's item; threads may do so at once.

    Parameters
    ----------
    recipe : PictureRecipe
        How pictures go in; one for an input of a fixed size.
    patience : int
        How many pictures it leaves to others before it takes any.
    """

    def __init__(self, recipe: PictureRecipe, patience: int = PATIENCE) -> None:
        self._recipe = recipe
        self._left = patience
        self._is_known = _is_known(recipe)
        self._places = functools.lru_cache(maxsize=256)(self._places_in)
        self._sampling = functools.lru_cache(maxsize=8)(self._sampling_from)

    def take(self, image: NDArray[Any], white: float) -> Unmade | None:
        """Return a picture that is to be made an item; None where others have to make it."""
        if not self._is_known or image.dtype != np.uint8 or image.shape[2:] != (CHANNELS,):
            return None
        if self._left > 0:
            # Threads that do this at once may count a picture less.
            self._left -= 1
            return None
        if not image.flags.c_contiguous or image.size == 0 or not llvm.width():
            return None
        places = self._places(*image.shape[:2])
        return None if places is None else Unmade(image, places, self._sampling(white))

    def _sampling_from(self, white: float) -> Sampling:
        recipe = self._recipe
        factors = (1.0 if x is None else x for x in (recipe.raw_scale, recipe.input_scale))
        mean = (0.0,) * CHANNELS if recipe.mean is None else recipe.mean
        order = range(CHANNELS) if recipe.channel_swap is None else recipe.channel_swap
        return Sampling((white, *factors), tuple(mean), tuple(order))

    def _places_in(self, height: int, width: int) -> Places | None:
        """Where a crop lies in pictures of a size; None where it is not between their pixels."""
        recipe = self._recipe
        assert recipe.image_dims is not None
        assert recipe.crop is not None
        if (height, width) == recipe.image_dims:
            return None
        rows, columns = ten_crops(recipe.image_dims, recipe.crop)[4]
        down, along = (
            samples_between(old, new, True, window.start, window.stop)
            for old, new, window in zip(
                (height, width), recipe.image_dims, (rows, columns), strict=True
            )
        )
        if down.looks_outside or along.looks_outside:
            return None
        places = Places.between(down[:3], along[:3], width * CHANNELS)
        return places if places.fits else None


def _is_known(recipe: PictureRecipe) -> bool:
    """Whether all that is done to numbers is done by one number for each channel."""
    return (
        recipe.fit == STRETCH
        and recipe.channels == CHANNELS
        and recipe.image_dims is not None
        and recipe.crop is not None
        and all(type(x) in (int, float, type(None)) for x in (recipe.raw_scale, recipe.input_scale))
        and (recipe.mean is None or (isinstance(recipe.mean, tuple) and len(recipe.mean) == 3))
    )
