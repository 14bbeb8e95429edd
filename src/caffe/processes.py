"""What a forked process must do anew: it has its parent's memory, but of its threads only one.

Flask's and gunicorn's workers and ``multiprocessing`` on Linux start that way. A lock that another
thread held is held for ever in the child, and who waits for a thread's work waits in vain.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[[], Any])


def in_forked_child(function: Function) -> Function:
    """Let `function` be called in each process that is forked from this one; a decorator, too."""
    # Windows knows no fork.
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=function)
    return function


def held_while_forking(lock: threading.Lock) -> threading.Lock:
    """Let a fork wait for whoever holds `lock`, so that the child finds what it guards whole.

    Who holds it must not fork.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release
        )
    return lock


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
