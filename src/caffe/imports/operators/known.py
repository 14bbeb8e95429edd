"""Known numbers as a blob, for layers that take blobs alone."""

from __future__ import annotations

import math

import numpy as np

from ...errors import NetError
from ..caffe_graph import Array, CaffeGraph, Value
from .convolution import deconvolved


def as_blob(graph: CaffeGraph, numbers: Array, like: Value) -> Value:
    """Return numbers as a blob, in layers that every reader has.

    What is in another blob is brought to one place, multiplied by 0, and 1 is added; of this 1 a
    Deconvolution makes all numbers. A source of data would do it, too, but only some readers
    have one for that.

    Parameters
    ----------
    graph : CaffeGraph
        What is written into.
    numbers : ndarray
        Its first axis is 1, or as long as the blob's.
    like : Value
        The blob.
    """
    items = like.blob.shape[0]
    if not numbers.ndim or numbers.shape[0] not in (1, items) or (items > 1 and _differ(numbers)):
        raise NetError(
            f"numbers of shape {numbers.shape} stand beside a blob of {items} items; a blob of "
            "known numbers is the same for each item"
        )
    shape = [*like.blob.shape, 1, 1, 1][1:]
    channels, rows = shape[0], shape[1]
    x = graph.reshaped(Value(like.blob), [items, channels, rows, math.prod(shape[2:])])
    if x.shape[2:] != (1, 1):
        x = graph.layer("Pooling", x, pooling_param={"pool": 1, "global_pooling": True})
    settings = {"num_output": 1, "kernel_size": 1}
    arrays = [np.zeros((1, channels, 1, 1)), np.ones(1)]
    one = graph.layer("Convolution", x, arrays=arrays, convolution_param=settings)
    whole = numbers[:1]
    rest = [*whole.shape[1:], 1, 1]
    kernel = whole.reshape(1, rest[0], rest[1], -1)
    made = deconvolved(graph, one, kernel)
    return graph.reshaped(made, [items, *whole.shape[1:]])


def _differ(numbers: Array) -> bool:
    return len(numbers) > 1 and bool((numbers != numbers[:1]).any())
