"""Few rows times weights that are read once, as they lie."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from .blocks import Finish, paired
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
    """Rows times weights plus biases, finished, without a copy of weights that are float32.

    Parameters
    ----------
    weights : Tensor
        (output, input), float32; `width_for` knows the steps of an input, or of two short ones, and
        four divides the outputs.
    bias : Tensor
        (output,).
    finish : Finish
        What becomes of the sums; nothing is added.
    short : bool
        Whether rows and results are short numbers.
    """

    def __init__(
        self, weights: Tensor, bias: Tensor, finish: Finish, short: bool = False
    ) -> None:  # fmt: skip
        self._weights = paired(weights) if short else weights.contiguous()
        self._bias = bias.contiguous()
        self._kernel = Kernel(_text(width_for(self._weights.shape[1]), finish, short))

    def job(self, rows: Rows, found: Rows, count: int) -> Job:
        """Return what multiplies so many rows."""
        outputs, steps = self._weights.shape
        return self._kernel.job(
            rows.address, rows.step_bytes, self._weights.data_ptr(), self._bias.data_ptr(),
            found.address, found.step_bytes, count, 4 * steps, outputs // AT_ONCE,
        )  # fmt: skip


@functools.cache
def _text(width: int, finish: Finish, short: bool) -> str:
    code = Code(FIELDS, width, short)
    multiplied = code.plus_pairs if short else code.plus_product
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
                    multiplied(total, x, code.load(code.add(place, offset)))
                    for total, place in zip(sums.values, weights, strict=True)
                ]
            found = code.add(given["found"], code.multiply(n, given["found_step"]))
            for k, total in enumerate(sums.values):
                number = code.add(first, k)
                bias = code.spread(code.add(given["biases"], code.multiply(number, 4)))
                value = code.plus(code.all_together(total), bias)
                place = code.add(found, code.multiply(number, code.bytes))
                code.put(finish.write(code, value, None), place, Number("1"))
    return code.text
