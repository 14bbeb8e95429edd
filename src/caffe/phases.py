"""The two phases of a net: training and testing."""

from __future__ import annotations

from .errors import ArgumentError, CaffeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TRAIN, TEST = 0, 1
NAMES = ("TRAIN", "TEST")


def check_phase(phase: Any) -> int:
    """Return `phase`, a number or its name, as caffe.TRAIN (0) or caffe.TEST (1).

    Raises
    ------
    CaffeError
        It is neither; also a `TypeError` where it is no such thing at all.
    """
    if isinstance(phase, str) and phase.upper() in NAMES:
        return NAMES.index(phase.upper())
    # A number of any kind, numpy's too, but no array, whose comparison is one itself.
    if getattr(phase, "shape", ()) == () and phase in (TRAIN, TEST):
        return int(phase)
    kind = CaffeError if isinstance(phase, (int, str)) else ArgumentError
    raise kind(f"phase must be caffe.TRAIN or caffe.TEST, not {phase!r:.60}")
