"""What a forked process must do anew: it has its parent's memory, but of its threads only one.

Flask's and gunicorn's workers and ``multiprocessing`` on Linux start that way. A lock that another
thread held is held for ever in the child, and who waits for a thread's work waits in vain.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[[], Any])


def in_forked_child(function: Function) -> Function:
    """Let `function` be called in each process that is forked from this one; a decorator, too."""
    # Windows knows no fork.
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=function)
    return function


class Birthplace:
    """Remembers which process something was made in.

    Examples
    --------
    >>> Birthplace().is_here
    True
    """

    def __init__(self) -> None:
        self._process = os.getpid()

    @property
    def is_here(self) -> bool:
        """Whether this is that process, and not one that was forked from it."""
        return os.getpid() == self._process
