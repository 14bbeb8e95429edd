"""What brings a net's values to other places, by kernels that LLVM compiles."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ...compiled import laying
from ...compiled.copying import copying, rows_copied
from ...compiled.interleaving import interleaved
from ...compiled.llvm import Job
from ...compiled.memory import Memory
from .llvm_nodes import Node
from .llvm_values import Value

if TYPE_CHECKING:
    from torch import Tensor


class ConcatNode(Node):
    """Values' channels behind each other: made there, where that can be, or copied."""

    is_by_picture = True

    def __init__(self, inputs: Sequence[Value], output: Value) -> None:
        super().__init__(inputs, output)
        first = 0
        self._copied: list[tuple[int, int]] = []
        for i, value in enumerate(inputs):
            if value.may_lie_in_another:
                value.lie_in(output, first)
            else:
                self._copied.append((i, first))
            first += value.channels

    def jobs(self, memory: Memory) -> list[Job]:
        y = self.output.rows
        return [
            rows_copied(value.rows, y.behind(first), value.pixels, value.channels)
            for value, first in ((self.inputs[i], first) for i, first in self._copied)
        ]


class LayingNode(Node):
    """Planes, an input's or those of another value, as rows, or pixels as planes: Caffe's order."""

    makes_rows = False

    def jobs(self, memory: Memory) -> list[Job]:
        (x,), y = self.inputs, self.output
        if x.planes is not None or y.is_of_pictures:
            planes = x.rows.address if x.planes is None else x.planes.data_ptr()
            number, channels = y.shape[:2]
            return [laying.to_rows(planes, y.rows, number, math.prod(y.size), channels)]
        return [laying.to_planes(x.rows, y.rows.address, x.shape[0], math.prod(x.size), x.channels)]


Views = Callable[["Tensor", "Tensor"], "tuple[Tensor, Tensor]"]
"""Returns two tensors without numbers, whose strides tell where these lie, in the same shape."""


class CopyNode(Node):
    """Numbers in other places.

    Parameters
    ----------
    inputs : sequence of Value
        What is copied.
    output : Value
        Where to.
    views : sequence of Views, optional
        For each input which of its numbers belong where in the output.
    """

    def __init__(
        self,
        inputs: Sequence[Value],
        output: Value,
        views: Sequence[Views] = (lambda x, y: (x, y),),
    ) -> None:
        super().__init__(inputs, output)
        self._views = views

    def jobs(self, memory: Memory) -> list[Job]:
        jobs, y = [], self.output
        for x, views in zip(self.inputs, self._views, strict=True):
            source, target = views(x.places, y.places)
            assert source.shape == target.shape
            start, belongs = (
                value.rows.behind(int(places.storage_offset())).address
                for value, places in ((x, source), (y, target))
            )
            steps = source.stride(), target.stride()
            jobs.append(copying(start, belongs, source.shape, *steps, self.short))
        return jobs


class InterleavingNode(Node):
    """Rows' channels, of so many groups in turns."""

    is_by_picture = True

    def __init__(self, x: Value, output: Value, groups: int) -> None:
        super().__init__([x], output)
        self._groups = groups

    def jobs(self, memory: Memory) -> list[Job]:
        (x,), y = self.inputs, self.output
        return [interleaved(x.rows, y.rows, x.pixels, x.channels, self._groups)]
