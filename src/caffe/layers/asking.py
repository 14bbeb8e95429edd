"""What layers ask of values, which a GPU only knows once it has come that far.

On the CPU they ask at once. While a net trains on a GPU, the GPU is to have more work ahead of it
than it has done: what would be refused is noted, and asked when the step's loss is.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from ..memory.stores import Store
from ..pytorch import torch

if TYPE_CHECKING:
    from torch import Tensor

Blame = Callable[[], AbstractContextManager[None]]
"""Lets errors inside name a layer."""


class Questions:
    """What was put off in one forward.

    Parameters
    ----------
    store : Store
        Whose values are asked for.

    Attributes
    ----------
    blame : callable
        Lets errors name the layer that is asking.
    """

    def __init__(self, store: Store) -> None:
        self.blame: Blame = nullcontext
        self._store = store
        self._asked: list[tuple[Tensor, Callable[[], Exception], Blame]] = []

    def put(self, flag: Tensor, error: Callable[[], Exception]) -> None:
        """Note what is to be raised where `flag` turns out to be true."""
        self._asked.append((flag, error, self.blame))

    def take(self, others: Questions) -> None:
        """Note what others have noted, too."""
        self._asked += others._asked

    def ask(self, loss: float | Tensor) -> Callable[[], float]:
        """Ask for a loss, and whether anything is refused, and do not wait for the answer.

        Returns
        -------
        callable
            Waits for it: returns the loss, or raises what a layer has to say.
        """
        asked, self._asked = self._asked, []
        device = self._store.device
        first = loss if isinstance(loss, torch.Tensor) else torch.full((), loss, device=device)
        answer = self._store.fetch(torch.stack([first.double(), *(flag for flag, *_ in asked)]))

        def wait() -> float:
            value, *flags = answer().tolist()
            for flag, (_, error, blame) in zip(flags, asked, strict=True):
                if flag:
                    with blame():
                        raise error()
            return float(value)

        return wait


class _Thread(threading.local):
    """The questions of the calling thread's step of training."""

    questions: Questions | None = None


_thread = _Thread()


@contextmanager
def later(store: Store | None) -> Iterator[Questions | None]:
    """Put off, inside, what is asked of a store's values; on the CPU (None) nothing is."""
    before = _thread.questions
    _thread.questions = None if store is None else Questions(store)
    try:
        yield _thread.questions
    finally:
        _thread.questions = before


def put_off() -> Questions | None:
    """Return where to put questions; None where they are to be asked at once."""
    return _thread.questions


def is_any(mask: Tensor) -> bool:
    """Tell whether any of these is true, for a forward that decides by values.

    Whoever records a forward (torch.export, torch.compile) shows it no values: then none is.
    """
    return not torch.compiler.is_compiling() and bool(mask.any())


def are_finite(values: Tensor) -> bool:
    """Tell whether values are numbers whose squares can be summed up, by reading them once.

    So what is computed of them is most likely finite, too.
    """
    return math.isfinite(torch.linalg.vector_norm(values).item())


def refuse_any(mask: Tensor, error: Callable[[], Exception]) -> None:
    """Raise an error if any of these is true: at once, or when the step's loss is known.

    What is computed from such values meanwhile must be harmless, if wrong.
    """
    if _thread.questions is not None:
        _thread.questions.put(mask.any(), error)
    elif is_any(mask):
        raise error()
