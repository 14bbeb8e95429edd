"""Few rows times weights that are read once, as they lie."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from .blocks import Finish
from .code import Code, Number
from .llvm import Job, Kernel, width_for
from .rows import Rows

if TYPE_CHECKING:
    from torch import Tensor

FIELDS = ("rows", "step", "weights", "biases", "found", "found_step", "count", "inputs", "groups")
"""What the kernel is given: rows, weights, biases and results, how many bytes are from one to the
next; how many rows there are, how many bytes a row of weights has, and how many times `AT_ONCE`
outputs there are."""

AT_ONCE = 4
"""How many outputs are summed up together."""


class Dots:
    """Rows times weights plus biases, finished, without a copy of the weights.

    Parameters
    ----------
    weights : Tensor
        (output, input), float32; `width_for` knows the inputs, and four divides the outputs.
    bias : Tensor
        (output,).
    finish : Finish
        What becomes of the sums; nothing is added.
    """

    def __init__(self, weights: Tensor, bias: Tensor, finish: Finish) -> None:
        self._weights, self._bias = weights.contiguous(), bias.contiguous()
        self._kernel = Kernel(_text(width_for(weights.shape[1]), finish))

    def job(self, rows: Rows, found: Rows, count: int) -> Job:
        """Return what multiplies so many rows."""
        outputs, inputs = self._weights.shape
        return self._kernel.job(
            rows.address, 4 * rows.step, self._weights.data_ptr(), self._bias.data_ptr(),
            found.address, 4 * found.step, count, 4 * inputs, outputs // AT_ONCE,
        )  # fmt: skip


@functools.cache
def _text(width: int, finish: Finish) -> str:
    code = Code(FIELDS, width)
    given = code.given
    with code.shared(given["groups"]) as i:
        first = code.multiply(i, AT_ONCE)
        weights = [
            code.add(given["weights"], code.multiply(code.add(first, k), given["inputs"]))
            for k in range(AT_ONCE)
        ]
        with code.loop(0, given["count"]) as n:
            row = code.add(given["rows"], code.multiply(n, given["step"]))
            steps = code.divide(given["inputs"], 4 * width)[0]
            with code.adding_up(steps, [code.constant(0.0)] * AT_ONCE) as sums:
                offset = code.multiply(sums.index, 4 * width)
                x = code.load(code.add(row, offset))
                sums.values = [
                    code.plus_product(total, x, code.load(code.add(place, offset)))
                    for total, place in zip(sums.values, weights, strict=True)
                ]
            found = code.add(given["found"], code.multiply(n, given["found_step"]))
            for k, total in enumerate(sums.values):
                place = code.multiply(code.add(first, k), 4)
                bias = code.spread(code.add(given["biases"], place))
                value = code.plus(code.all_together(total), bias)
                code.store(finish.write(code, value, None), code.add(found, place), Number("1"))
    return code.text
