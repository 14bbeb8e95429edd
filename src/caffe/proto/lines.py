"""Finding again in a text where a name stands, for errors found after parsing."""

from __future__ import annotations

import re

from ..paths import PathLike


def find_line(path: PathLike, word: str) -> int | None:
    """Return the line, counted from 1, where `word` first stands in quotes; None if nowhere."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            text = stream.read()
    except OSError:
        return None
    found = re.search(rf"""(["']){re.escape(word)}\1""", text)
    return None if found is None else text.count("\n", 0, found.start()) + 1
