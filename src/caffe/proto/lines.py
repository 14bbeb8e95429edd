"""Finding again in a text where a name stands, for errors found after parsing."""

from __future__ import annotations

import re

from ..paths import PathLike


def find_line(path: PathLike, word: str) -> int | None:
    """Return the line, counted from 1, where a word stands; None if nowhere.

    That is where it first stands in quotes, or else as the name of a field.
    """
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            text = stream.read()
    except OSError:
        return None
    word = re.escape(word)
    found = re.search(rf"""(["']){word}\1""", text)
    found = found or re.search(rf"(?m)^[^#\n]*?(?<!\w)(?P<field>{word})\s*[:{{]", text)
    if found is None:
        return None
    begin = found.start("field" if "field" in found.re.groupindex else 0)
    return text.count("\n", 0, begin) + 1
