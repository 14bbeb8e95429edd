"""pycaffe's ``init_log`` and ``log``: lines on stderr in the form that Caffe's tools read."""

from __future__ import annotations

import logging
import sys
import threading
import time
from typing import TextIO

from .errors import ArgumentError

Line = tuple[str, str]
"""A line of the original's: where it stands in the original's source, and its text."""

INFO, WARNING, ERROR, FATAL = range(4)
"""The levels that `init_log` takes."""

_LEVELS = (logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)
_LETTERS = {logging.INFO: "I", logging.WARNING: "W", logging.ERROR: "E", logging.CRITICAL: "F"}

logger = logging.getLogger("caffe")


class _Formatter(logging.Formatter):
    """``I1124 20:30:12.000345 4711 net.py:204] text``: level, date, time, thread, place."""

    def format(self, record: logging.LogRecord) -> str:
        letter = _LETTERS.get(record.levelno, record.levelname[0])
        when = time.strftime("%m%d %H:%M:%S", time.localtime(record.created))
        micro = int(record.created % 1 * 1e6)
        # Lines that the original writes have its place.
        place = getattr(record, "place", f"{record.filename}:{record.lineno}")
        thread = threading.get_native_id()
        return f"{letter}{when}.{micro:06d} {thread:>5} {place}] {record.getMessage()}"


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to whatever ``sys.stderr`` is at the time."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def init_log(level: int = INFO, stderr: bool = True) -> None:
    """Let the logger "caffe" write to stderr what is as grave as `level` or graver.

    Parameters
    ----------
    level : int
        0 for everything, 1 from warnings on, 2 from errors on, 3 only what is fatal.
    stderr : bool
        Write all of it there. If false only errors and what is fatal: the original wrote the rest
        into files of its own, which is left to handlers of the logger.

    Raises
    ------
    ArgumentError
        The level is no number.
    """
    try:
        number = int(level)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"a level is 0, 1, 2 or 3, not {level!r:.60}") from error
    handler = next((h for h in logger.handlers if isinstance(h, _Stderr)), None)
    if handler is None:
        handler = _Stderr()
        handler.setFormatter(_Formatter())
        logger.addHandler(handler)
        # Otherwise a program that has set logging up itself would see every line twice.
        logger.propagate = False
    handler.setLevel(logging.NOTSET if stderr else logging.ERROR)
    logger.setLevel(_LEVELS[min(max(number, INFO), FATAL)])


def log(message: str) -> None:
    """Write a line of level INFO to the logger "caffe"."""
    logger.info(message, stacklevel=2)


def say(place: str, text: str) -> None:
    """Write a line of the original's, of level INFO; `place` is where its source has it."""
    logger.info(text, extra={"place": place})


def caution(place: str, text: str) -> None:
    """Write a line of the original's, of level WARNING, where somebody has asked for lines."""
    # Otherwise Python itself would write it on stderr.
    if logger.hasHandlers():
        logger.warning(text, extra={"place": place})


def is_told() -> bool:
    """Whether anybody reads lines of level INFO."""
    return logger.isEnabledFor(logging.INFO)
