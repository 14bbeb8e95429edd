"""PyTorch, loaded when something of it is first used.

Loading it takes longer than all else that most commands do. Layers say a net's shapes without it,
files are read and written without it; so nobody here imports it, but takes it from this module::

    from ..pytorch import F, torch

What is a Tensor only for type checkers is imported for them alone.
"""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

from . import threads

if TYPE_CHECKING:
    import torch as torch
    import torch.distributed as dist
    import torch.nn.functional as F

    __all__ = ["F", "dist", "torch"]
else:

    class _Later(ModuleType):
        """Stands for a module of PyTorch's until something of it is used."""

        def __getattr__(self, name: str) -> Any:
            # What goes through all that a module has, such as doctest, asks for such names.
            if name.startswith("__") and name != "__version__":
                raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
            return getattr(_load(self), name)

    torch = _Later("torch")
    F = _Later("torch.nn.functional")
    dist = _Later("torch.distributed")


class _Settings:
    fitted = False
    stays = False


def stay_for_good(wanted: bool = True) -> None:
    """Have the garbage collector pass over all that is there once PyTorch is loaded.

    PyTorch has some hundred thousand objects. Going through them when Python ends takes as long as
    a quarter of loading them.

    Parameters
    ----------
    wanted : bool
        Whether the program is Recaffe's own. What a person's has made until then is to be collected
        when it is garbage.
    """
    _Settings.stays = wanted


@contextmanager
def _uncollected() -> Iterator[None]:
    """Load what stays loaded, and do not look for garbage in it meanwhile."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _load(later: ModuleType) -> ModuleType:
    """Load a module, and put it wherever something stands for it."""
    with _uncollected():
        module = importlib.import_module(later.__name__)
    if not _Settings.fitted:
        threads.fit(sys.modules["torch"])
        _Settings.fitted = True
        if _Settings.stays:
            gc.freeze()
    for path, user in list(sys.modules.items()):
        if path.partition(".")[0] == __package__:
            # A copy, since another thread may be about to import that module.
            for name, value in vars(user).copy().items():
                if value is later:
                    setattr(user, name, module)
    return module
