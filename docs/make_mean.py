"""Write the mean of ImageNet that lies beside the package, from its published channel means."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FILE = Path(__file__).resolve().parent.parent / "src/caffe/imagenet/ilsvrc_2012_mean.npy"
MEANS = (104.00698793, 116.66876762, 122.67891434)
"""Blue, green and red from 0 to 255, as BVLC's first notebook prints them."""

SIZE = 256
COARSE, FINE = 2.0**-38, 2.0**-46
"""Sums of 256 multiples of the coarse step are exact; such means are multiples of the fine one."""


def mean_picture() -> NDArray[np.float64]:
    """The picture: each channel's mean everywhere, 3 x 256 x 256.

    So that no rounding shows, and ``.mean(1).mean(1)`` gives the very numbers, what the coarse
    step cannot say of a mean is said by a few pixels of the diagonal, one part in 10**9 brighter.
    """
    picture = np.empty((len(MEANS), SIZE, SIZE))
    for channel, mean in zip(picture, MEANS, strict=True):
        coarse = np.floor(mean / COARSE) * COARSE
        channel[...] = coarse
        brighter = range(round((mean - coarse) / FINE))
        channel[brighter, brighter] += SIZE * COARSE
    return picture


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(0 if np.array_equal(np.load(FILE), mean_picture()) else f"{FILE} is not current")
    FILE.parent.mkdir(exist_ok=True)
    np.save(FILE, mean_picture())
