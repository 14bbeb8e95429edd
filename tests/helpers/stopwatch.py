"""How running time grows with the input."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import TypeVar

Input = TypeVar("Input")

MOST = 2.5
"""How many times as long twice the input may take."""


def growth(
    work: Callable[[Input], object], make: Callable[[int], Input], size: int, runs: int = 5
) -> float:
    """Return how many times as long `work` takes for twice the input.

    The processor's time counts, not the clock's, and of several runs the least, so that what else
    the machine does changes little; who is above `MOST` is measured once more, at more length.

    Parameters
    ----------
    work : callable
        Is given an input; may raise nothing.
    make : callable
        Makes an input of a size.
    size : int
        The smaller size; it should take some hundredths of a second.
    """
    inputs = make(size), make(2 * size)
    work(inputs[0])
    found = _ratio(work, inputs, runs)
    return found if found <= MOST else min(found, _ratio(work, inputs, 3 * runs))


def _ratio(work: Callable[[Input], object], inputs: tuple[Input, Input], runs: int) -> float:
    least = [float("inf"), float("inf")]
    gc.collect()
    gc.disable()
    try:
        for _ in range(runs):
            for k, given in enumerate(inputs):
                began = time.process_time()
                work(given)
                least[k] = min(least[k], time.process_time() - began)
    finally:
        gc.enable()
    return least[1] / max(least[0], 1e-6)
