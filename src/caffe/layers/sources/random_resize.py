"""Resizing by chance as NVIDIA's fork has it: img_rand_resize, ratios of sides and stretches."""

from __future__ import annotations

import math

import numpy as np

from ...errors import NetError
from ...proto.caffe_pb2 import ResizeParameter, TransformationParameter
from .bgr_pictures import BgrPicture
from .boxed_pictures import resized

MODES = {
    TransformationParameter.INTER_NEAREST: ResizeParameter.NEAREST,
    TransformationParameter.INTER_LINEAR: ResizeParameter.LINEAR,
    TransformationParameter.INTER_CUBIC: ResizeParameter.CUBIC,
    TransformationParameter.INTER_AREA: ResizeParameter.AREA,
}

FACTORS = ("rand_resize_ratio", "vertical_stretch", "horizontal_stretch")
"""Their limits are in fields that end in _lower and _upper."""


class RandomResize:
    """Resizes pictures by chance, at TEST, too.

    The shorter side becomes a whole number from img_rand_resize_lower to img_rand_resize_upper,
    the other keeps the picture's proportions, or, where rand_resize_ratio_lower is at least 1 and
    rand_resize_ratio_upper above it, becomes as many times the shorter one (either side of a
    square). Height and width are multiplied by a vertical and a horizontal stretch. Then no side
    is below crop_size, nor, unless allow_upscale, above what it was.

    Parameters
    ----------
    param : TransformationParameter
        What the text says.
    random : Generator
        Where the chance comes from.

    Raises
    ------
    NetError
        Limits are in no order.
    """

    def __init__(self, param: TransformationParameter, random: np.random.Generator) -> None:
        self._param = param
        self._random = random
        self._sides = (param.img_rand_resize_lower, param.img_rand_resize_upper)
        self._factors = {name: self._limits(name) for name in FACTORS}
        if any(self._sides) and not 0 < self._sides[0] <= self._sides[1]:
            raise NetError(
                f"the shorter side cannot be from {self._sides[0]} to {self._sides[1]}",
                word="img_rand_resize_upper",
            )

    def _limits(self, name: str) -> tuple[float, float]:
        """The limits of a factor, which does nothing from 1 to 1."""
        names = f"{name}_lower", f"{name}_upper"
        least, most = (getattr(self._param, limit) for limit in names)
        if any(self._param.HasField(limit) for limit in names) and not 0 < least <= most:
            raise NetError(f"{names[0]} must be above 0 and not above {names[1]}", word=names[0])
        return least, most

    @property
    def is_on(self) -> bool:
        """Whether it does anything."""
        return any(self._sides) or any(
            self._param.HasField(f"{name}_{limit}")
            for name in FACTORS
            for limit in ("lower", "upper")
        )

    @property
    def varies(self) -> bool:
        """Whether one picture comes out in several sizes."""
        limits = [self._sides, *self._factors.values()]
        return self.is_on and any(least != most for least, most in limits)

    def least_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the least height and width that a picture comes out with."""
        if not self.is_on or not height or not width:
            return height, width
        factors = {name: least for name, (least, _) in self._factors.items()}
        sizes = [
            self._size(height, width, self._sides[0], factors, is_wide) for is_wide in (True, False)
        ]
        return min(size[0] for size in sizes), min(size[1] for size in sizes)

    def __call__(self, picture: BgrPicture) -> BgrPicture:
        """Resize a picture."""
        if not self.is_on:
            return picture
        random = self._random
        side = int(random.integers(self._sides[0], self._sides[1] + 1))
        factors = {
            name: float(random.uniform(*limits)) if limits[0] != limits[1] else limits[0]
            for name, limits in self._factors.items()
        }
        is_wide = bool(random.integers(2))
        old = picture.shape[1], picture.shape[2]
        new = self._size(*old, side, factors, is_wide)
        if new == old:
            return picture
        is_less = new[0] <= old[0] and new[1] <= old[1]
        param = self._param
        algorithm = param.interpolation_algo_down if is_less else param.interpolation_algo_up
        return resized(picture, *new, MODES[algorithm])

    def _size(
        self, height: int, width: int, side: int, factors: dict[str, float], is_wide: bool
    ) -> tuple[int, int]:
        """A picture's new size; a square whose sides' ratio changes becomes wide or tall."""
        least = min(height, width)
        scale = (side or least) / least
        tall, wide = scale * height, scale * width
        limits = self._factors["rand_resize_ratio"]
        if limits[0] >= 1 and limits[1] > 1:
            ratio = factors["rand_resize_ratio"]
            if wide > tall or (wide == tall and is_wide):
                wide = tall * ratio
            else:
                tall = wide * ratio
        tall *= factors["vertical_stretch"]
        wide *= factors["horizontal_stretch"]
        # Halves are rounded up.
        new = [max(self._param.crop_size, math.floor(new + 0.5), 1) for new in (tall, wide)]
        if not self._param.allow_upscale:
            new = [min(pair) for pair in zip(new, (height, width), strict=True)]
        return new[0], new[1]
