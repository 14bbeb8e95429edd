"""Whether NVIDIA GPUs round the factors of products to 10 bits (TF32): PyTorch's one setting.

By itself PyTorch lets convolutions round, which is not Caffe's arithmetic.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .processes import in_forked_child
from .pytorch import torch


class Rounding:
    """What threads that compute at the moment want; the program's own setting holds beside that.

    Where they want different things nothing is rounded: no result is less exact than was asked for.
    """

    def __init__(self) -> None:
        # What each thread wants for what it is computing.
        self._wishes: dict[int, bool] = {}
        self._program: list[tuple[Any, str, Any]] = []
        self._lock = threading.Lock()
        in_forked_child(self._begin_anew)

    @contextmanager
    def allowed(self, wish: bool) -> Iterator[None]:
        """Let what this thread computes inside be rounded, or not."""
        me = threading.get_ident()
        before = self._wishes.get(me)
        if before is wish:
            yield
            return
        self._want(me, wish)
        try:
            yield
        finally:
            self._want(me, before)

    def _want(self, thread: int, wish: bool | None) -> None:
        with self._lock:
            if wish is None:
                del self._wishes[thread]
            else:
                self._wishes[thread] = wish
            self._set()

    def _set(self) -> None:
        """Let PyTorch's settings be what the threads want, or else the program's again."""
        if not self._wishes:
            for library, name, value in self._program:
                setattr(library, name, value)
            self._program = []
            return
        if not self._program:
            self._program = [(*place, getattr(*place)) for place in _places()]
        may_round = all(self._wishes.values())
        for library, name, _ in self._program:
            is_new = name == "fp32_precision"
            setattr(library, name, ("tf32" if may_round else "ieee") if is_new else may_round)

    def _begin_anew(self) -> None:
        """In a forked process the other threads are no more."""
        self._lock = threading.Lock()
        self._wishes.clear()
        self._set()


def _places() -> list[tuple[Any, str]]:
    """Where PyTorch keeps it.

    Its older names set less than they say where a program has used the newer ones, and cannot be
    read where cuDNN's two differ.
    """
    library = torch.backends.cudnn
    newer = [getattr(library, name) for name in ("conv", "rnn") if hasattr(library, name)]
    return [
        (one, "fp32_precision" if hasattr(one, "fp32_precision") else "allow_tf32")
        for one in (torch.backends.cuda.matmul, *(newer or [library]))
    ]


rounding = Rounding()
