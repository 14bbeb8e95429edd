"""What Ctrl-C does while a command is not at work yet, and afterwards.

Imported before all else, and imports next to nothing.
"""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

INTERRUPTED = 130
MESSAGE = b"caffe: interrupted\n"

erasers: list[Callable[[], bytes]] = []
"""Say what takes away from the terminal what must not stand before the message."""


def end_at_once() -> None:
    """Let Ctrl-C end the process with one line, while nothing is done yet that could stay half.

    An exception would be raised in the midst of some import, and be told with all of its places.
    Where interrupts are ignored (nohup) they still are.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


class interruptible:
    """Let Ctrl-C raise KeyboardInterrupt inside a ``with``, if outside it ends the process."""

    def __enter__(self) -> None:
        self._ends = signal.getsignal(signal.SIGINT) is _end
        if self._ends:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def __exit__(self, *error: object) -> None:
        if self._ends:
            signal.signal(signal.SIGINT, _end)


def _end(number: int, frame: FrameType | None) -> None:
    # Not through Python's files: what is interrupted may be about to write.
    os.write(2, b"".join(erase() for erase in erasers) + MESSAGE)
    os._exit(INTERRUPTED)
