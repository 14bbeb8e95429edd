"""Convolutions' gradients of each channel by itself, channels last: they enlarge pictures."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from ..pytorch import F, torch
from .code import Code
from .convolving import Windows
from .llvm import Job, Kernel, vectors_for
from .rows import Rows

if TYPE_CHECKING:
    from torch import Tensor

FIELDS = (
    *("pixels", "height", "width", "step", "channels", "top", "left", "down", "across"),
    *("found", "found_step", "rows", "columns", "count", "weights", "biases", "zeros"),
)
"""What the kernel is given.

The pixels, how many are below and beside each other, how many bytes are from one to the next, and
of how many channels; how many results are left out before the first one, and how many lie from one
pixel to the next; the results, how many bytes are from one to the next, how many are below and
beside each other, and how many rows of them all pictures have; weights, biases, and zeros for what
is outside.
"""

MOST_PIXELS = 25
"""From how many pixels a result may be made: all of them are in the text."""


def parted(weights: Tensor, stride: tuple[int, int]) -> Tensor:
    """Return kernels, (..., height, width), by the results that they are for.

    Of `stride` results beside each other the first has the first weight, the one that lies a stride
    behind it, and so on, each with one pixel more.

    Returns
    -------
    Tensor
        (..., pixel, result, pixel, result): down, and then across. The first pixel is the last one
        that the result is made of. Where there is no weight for a pixel it is 0.
    """
    height, width = weights.shape[-2:]
    down, across = stride
    whole: Tensor = F.pad(weights, (0, -width % across, 0, -height % down))
    pixels = whole.shape[-2] // down, whole.shape[-1] // across
    return whole.reshape(*weights.shape[:-2], pixels[0], down, pixels[1], across)


class DepthwiseDeconvolution:
    """A Deconvolution whose every channel has a kernel of its own.

    Parameters
    ----------
    weights : Tensor
        (channel, 1, height, width), float32; of the channels see `vectors_for`.
    bias : Tensor
        (channel,).
    windows : Windows
        Which: what would be a convolution's from the results to the pixels. There is no dilation.
    short : bool
        Whether pictures and results are short numbers.
    """

    def __init__(
        self, weights: Tensor, bias: Tensor, windows: Windows, short: bool = False
    ) -> None:
        self._channels, self._windows = len(weights), windows
        vectors, is_whole = vectors_for(self._channels)
        # By result, then by pixel.
        by_result = parted(weights[:, 0], windows.stride).permute(2, 4, 1, 3, 0).contiguous()
        self._kernel = Kernel(_text(*by_result.shape[2:4], vectors, is_whole, short))
        behind = 0, -self._channels % vectors
        self._weights, self._bias = F.pad(by_result.flatten(), behind), F.pad(bias, behind)
        self._zeros = torch.zeros(self._channels + behind[1], dtype=torch.float32)

    def job(self, x: Rows, size: tuple[int, int], number: int, found: Rows) -> Job:
        """Return what enlarges so many pictures of a height and width."""
        windows = self._windows
        return self._kernel.job(
            x.address, *size, x.step_bytes, self._channels, *windows.pad, *windows.stride,
            found.address, found.step_bytes, *windows.results, number * windows.results[0],
            self._weights.data_ptr(), self._bias.data_ptr(), self._zeros.data_ptr(),
        )  # fmt: skip


@functools.cache
def _text(pixels_down: int, pixels_across: int, width: int, is_whole: bool, short: bool) -> str:
    code = Code(FIELDS, width, short)
    given = code.given
    weights_bytes = code.multiply(given["channels"], 4)
    result_bytes = code.multiply(weights_bytes, pixels_down * pixels_across)
    line_bytes = code.multiply(given["width"], given["step"])
    with code.shared(given["count"]) as i:
        picture, row = code.divide(i, given["rows"])
        y, part_down = code.divide(code.add(row, given["top"]), given["down"])
        first = code.multiply(code.multiply(picture, given["height"]), line_bytes)
        lines = [
            (
                code.add(given["pixels"], code.add(first, code.multiply(line_bytes, line))),
                code.is_within(line, given["height"]),
            )
            for line in (code.subtract(y, k) for k in range(pixels_down))
        ]
        found = code.add(
            given["found"], code.multiply(code.multiply(i, given["columns"]), given["found_step"])
        )
        with code.loop(0, given["columns"]) as column:
            x, part = code.divide(code.add(column, given["left"]), given["across"])
            places = [code.subtract(x, k) for k in range(pixels_across)]
            pixels = [
                code.where(
                    [is_line, code.is_within(place, given["width"])],
                    code.add(line, code.multiply(place, given["step"])),
                    given["zeros"],
                )
                for line, is_line in lines
                for place in places
            ]
            result = code.add(code.multiply(part_down, given["across"]), part)
            weights = code.add(given["weights"], code.multiply(result, result_bytes))
            target = code.add(found, code.multiply(column, given["found_step"]))
            with code.loop(0, given["channels"], width) as channel:
                channels, parameter = (code.multiply(channel, size) for size in (code.bytes, 4))
                total = code.load(code.add(given["biases"], parameter))
                weight = code.add(weights, parameter)
                for pixel in pixels:
                    value = code.value(code.add(pixel, channels))
                    total = code.plus_product(total, value, code.load(weight))
                    weight = code.add(weight, weights_bytes)
                left = None if is_whole else code.subtract(given["channels"], channel)
                code.put(total, code.add(target, channels), left)
    return code.text
