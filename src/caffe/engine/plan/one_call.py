"""A convolution on a GPU with its bias and what follows it as one call of cuDNN: tried once.

cuDNN knows a ReLU behind a convolution, and a sum between them. Which kernels it has for that, and
whether they are quicker than one after the other, depends on the card and on its version; so both
ways are timed in the first run. What gives other values, or makes numbers of NaN, is not used.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ...memory.stores import Store, tried_kernels
from ...pytorch import torch
from .settings import Settings

if TYPE_CHECKING:
    from torch import Tensor

TRIES = 5
"""How often both ways are timed; the least counts."""

WORTH = 0.97
"""What share of the time apart it may take at most."""

TOLERANCE = {"torch.float32": 1e-3, "torch.float16": 1e-2, "torch.bfloat16": 5e-2}
"""By how much of the largest value results may differ: kernels add up in other orders."""

Way = Callable[["Tensor"], "Tensor"]
"""From the convolution's bottom to the result."""


class OneCall:
    """Whether one call is quicker than several, found out in the first run.

    Parameters
    ----------
    store : Store
        Where it is computed.

    Attributes
    ----------
    said : str
        What came out, for people.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._is_chosen: bool | None = None
        self.said = ""

    def run(self, x: Tensor, apart: Way, at_once: Way) -> Tensor:
        """Compute by what is quicker; neither way may change what it is given."""
        if self._is_chosen is None:
            self._is_chosen = self._is_quicker(x, apart, at_once)
        return at_once(x) if self._is_chosen else apart(x)

    def _is_quicker(self, x: Tensor, apart: Way, at_once: Way) -> bool:
        try:
            with tried_kernels():
                if not _are_alike(apart(x), at_once(x)):
                    self.said = "cuDNN's one call gives other values"
                    return False
                odd = x.clone()
                odd[0].fill_(torch.nan)
                if not torch.equal(apart(odd).isnan(), at_once(odd).isnan()):
                    self.said = "cuDNN's one call makes numbers of NaN"
                    return False
                turns = [(self._seconds(apart, x), self._seconds(at_once, x)) for _ in range(TRIES)]
        except RuntimeError as error:
            self.said = f"not as one call: {' '.join(str(error).split())[:80]}"
            return False
        several, one = map(min, zip(*turns, strict=True))
        is_quicker = bool(one <= WORTH * several)
        times = f"{1000 * one:.3g} ms instead of {1000 * several:.3g}"
        self.said = f"{'' if is_quicker else 'not '}as one call of cuDNN: {times}"
        return is_quicker

    def _seconds(self, way: Way, x: Tensor) -> float:
        self._store.wait()
        began = time.perf_counter()
        way(x)
        self._store.wait()
        return time.perf_counter() - began


def _are_alike(expected: Tensor, found: Tensor) -> bool:
    most, difference = expected.abs().amax(), (found - expected).abs().amax()
    return bool(difference <= TOLERANCE[str(expected.dtype)] * most)


def one_call(settings: Settings) -> OneCall | None:
    """Return what tries it, where there is cuDNN and a choice is allowed; None elsewhere."""
    store = settings.store
    if store is None or not (settings.tries and knows_one_call(store)):
        return None
    return OneCall(store)


def knows_one_call(store: Store) -> bool:
    """Tell whether a store computes by cuDNN, which the program lets choose its kernels."""
    return (
        store.device.type == "cuda"
        and torch.backends.cudnn.is_available()
        and not torch.backends.cudnn.deterministic
        and not torch.are_deterministic_algorithms_enabled()
    )
