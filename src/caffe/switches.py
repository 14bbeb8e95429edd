"""What people turn off by the environment."""

from __future__ import annotations

import os

REMEMBER = "RECAFFE_REMEMBER"
"""Set to 0 it lets everything be tried, and compiled, in each process."""


def is_on(variable: str) -> bool:
    """Tell whether nobody has turned off what a variable stands for, by 0, off, no or false."""
    return os.environ.get(variable, "1").strip().lower() not in ("0", "off", "no", "false")
