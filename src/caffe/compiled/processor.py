"""What Linux tells of the first CPU."""

from __future__ import annotations

import functools
from contextlib import suppress
from pathlib import Path

WANTED = ("vendor_id", "cpu family", "model", "model name", "stepping", "cache size", "flags")
"""What settles which code it runs, and how quickly."""


@functools.cache
def described(root: str = "/") -> dict[str, str]:
    """Return what settles which code the processor runs, and how quickly; empty off Linux.

    Parameters
    ----------
    root : str
        Below which folder Linux's ``proc`` is.
    """
    found = {}
    with suppress(OSError):
        text = Path(root, "proc/cpuinfo").read_text(encoding="utf-8")
        for line in text.split("\n\n")[0].splitlines():
            name, _, value = line.partition(":")
            if name.strip() in WANTED:
                found[name.strip()] = value.strip()
    return found


def has(*flags: str, root: str = "/") -> bool:
    """Tell whether the processor knows all of these, by Linux's names for them."""
    return set(flags) <= set(described(root).get("flags", "").split())
