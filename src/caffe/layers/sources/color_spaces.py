"""Pictures of bytes in other colours than BGR, in OpenCV's numbers and whole-number arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bgr_pictures import BgrPicture, grey_of, to_bytes

BITS = 14
"""How many bits OpenCV's weights have behind the point."""

TO_XYZ = np.array(
    [
        [0.180423, 0.357580, 0.412453],
        [0.072169, 0.715160, 0.212671],
        [0.950227, 0.119193, 0.019334],
    ]
)
"""Weights of linear blue, green and red (sRGB's primaries)."""

WHITE = np.array([0.950456, 1, 1.088754])
"""What white is in XYZ (D65)."""


def _rounded(values: NDArray[np.int32]) -> NDArray[np.int32]:
    shifted: NDArray[np.int32] = (values + (1 << (BITS - 1))) >> BITS
    return shifted


def _bytes(*channels: NDArray[Any]) -> BgrPicture:
    return to_bytes(np.stack(channels))


def _weights(*parts: float) -> NDArray[np.int32]:
    whole: NDArray[np.int32] = np.rint(np.array(parts) * (1 << BITS)).astype(np.int32)
    return whole


def to_ycrcb(picture: BgrPicture) -> BgrPicture:
    """Turn BGR into brightness, red's difference from it, and blue's."""
    blue, _, red = picture.astype(np.int32)
    (grey,) = grey_of(picture).astype(np.int32)
    to_red, to_blue = _weights(0.713, 0.564)
    return _bytes(
        grey, _rounded((red - grey) * to_red) + 128, _rounded((blue - grey) * to_blue) + 128
    )


def from_ycrcb(picture: BgrPicture) -> BgrPicture:
    """Turn what `to_ycrcb` made back into BGR."""
    grey, red, blue = picture.astype(np.int32) - np.array([0, 128, 128])[:, None, None]
    from_red, green_of_red, green_of_blue, from_blue = _weights(1.403, -0.714, -0.344, 1.773)
    return _bytes(
        grey + _rounded(blue * from_blue),
        grey + _rounded(blue * green_of_blue + red * green_of_red),
        grey + _rounded(red * from_red),
    )


def to_hsv(picture: BgrPicture) -> BgrPicture:
    """Turn BGR into hue (in steps of two degrees, below 180), saturation and value."""
    blue, green, red = picture.astype(np.int32)
    value = picture.max(0).astype(np.int32)
    spread = value - picture.min(0)
    # OpenCV divides by tables of 12 bits behind the point.
    steps = np.arange(256) + (np.arange(256) == 0)
    by_value = np.rint((255 << 12) / steps).astype(np.int32)
    by_spread = np.rint((180 << 12) / (6.0 * steps)).astype(np.int32)
    angle = np.where(
        value == red,
        green - blue,
        np.where(value == green, blue - red + 2 * spread, red - green + 4 * spread),
    )
    hue = (angle * by_spread[spread] + 2048) >> 12
    saturation = (spread * by_value[value] + 2048) >> 12
    return _bytes(np.where(hue < 0, hue + 180, hue), saturation, value)


def to_lab(picture: BgrPicture) -> BgrPicture:
    """Turn BGR into CIE L*a*b*: L of 255 for 100, a and b with 128 added (sRGB, D65)."""
    table = np.arange(256) / 255
    linear = np.where(table <= 0.04045, table / 12.92, ((table + 0.055) / 1.055) ** 2.4)
    xyz = np.tensordot(TO_XYZ / WHITE[:, None], linear[picture], 1)
    roots = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = roots
    light = np.where(xyz[1] > 0.008856, 116 * y - 16, 903.3 * xyz[1])
    return _bytes(light * 2.55, 500 * (x - y) + 128, 200 * (y - z) + 128)
