"""The words of a prototxt: its tokens, their places, and what numbers and strings say.

The grammar is that of protobuf's text format as its C++ library reads it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

_TOKEN = re.compile(
    r"""(?P<skip>\s+|\#[^\r\n]*)
    |(?P<string>"[^"\\\n]*(?:\\.[^"\\\n]*)*"|'[^'\\\n]*(?:\\.[^'\\\n]*)*')
    |(?P<mark>[{}<>\[\]:;,])
    |(?P<quote>["'])
    |(?P<word>[^\s\#"'{}<>\[\]:;,]+)""",
    re.VERBOSE,
)
_INTEGER = re.compile(r"-?(?:0[xX][0-9a-fA-F]+|[0-9]+)")
_DECIMAL = re.compile(r"(-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)[fF]?")
_NOT_FINITE = re.compile(r"(-?)(inf|nan)(?:(?<=f)inity)?f?", re.IGNORECASE)
_ESCAPE = re.compile(
    rb"\\(?:(?P<letter>[abfnrtv\\?'\"])|(?P<octal>[0-7]{1,3})|[xX](?P<hex>[0-9a-fA-F]{1,2})"
    rb"|u(?P<head>[dD][89abAB][0-9a-fA-F]{2})\\u(?P<tail>[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8})|)"
)
MOST_DIGITS = 40
"""An integer of more digits is out of every range, and would take long to read."""

BEYOND = 2**160
"""What stands for it."""

_LETTERS = dict(zip(b"abfnrtv\\?'\"", b"\a\b\f\n\r\t\v\\?'\"", strict=True))


class Token(NamedTuple):
    """A piece of a text.

    Attributes
    ----------
    kind : str
        "string" (with its quotes), "mark" (a bracket or separator), "quote" (one that is not
        closed) or "word" (anything else).
    """

    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        """Where the text goes on behind it."""
        return self.start + len(self.text)


def tokens(text: str) -> Iterator[Token]:
    """Part a text into tokens; white space and comments are none."""
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or ""
        if kind != "skip":
            yield Token(kind, match.group(), match.start())


class Places:
    """Where the lines of a text begin.

    Parameters
    ----------
    text : str
        The text; its lines end with a line feed or a carriage return.
    """

    def __init__(self, text: str) -> None:
        self._text = text

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *(match.end() for match in re.finditer(r"[\r\n]", self._text))]

    def line(self, position: int) -> int:
        """Return the line's number, counted from 1."""
        return bisect_right(self._starts, position)

    def at(self, position: int) -> tuple[int, int, str | None]:
        """Return line and column, counted from 1, and the line itself unless it is long."""
        line = self.line(position)
        start = self._starts[line - 1]
        end = self._starts[line] - 1 if line < len(self._starts) else len(self._text)
        shown = self._text[start:end] if end - start <= 200 else None
        return line, position - start + 1, shown


def integer(word: str) -> int | None:
    """Return a decimal, octal or hexadecimal integer; None for what is none.

    Examples
    --------
    >>> integer("-17"), integer("017"), integer("0x1F"), integer("1.5")
    (-17, 15, 31, None)
    """
    if not _INTEGER.fullmatch(word):
        return None
    digits = word.removeprefix("-")
    if len(digits.lstrip("0")) > MOST_DIGITS:
        return -BEYOND if word[0] == "-" else BEYOND
    base = 16 if digits[:2] in ("0x", "0X") else 8 if digits[0] == "0" else 10
    try:
        return int(word, base)
    except ValueError:
        return None


def number(word: str) -> float | None:
    """Return a decimal number, infinity or NaN; None for what is none.

    Examples
    --------
    >>> number("-.5e1"), number("2f"), number("-Infinity"), number("010")
    (-5.0, 2.0, -inf, None)
    """
    if match := _DECIMAL.fullmatch(word):
        return float(match[1])
    if match := _NOT_FINITE.fullmatch(word):
        return float(match[1] + match[2])
    return None


def string(literal: str) -> bytes:
    """Return the bytes that a string says; `literal` is it with its quotes.

    Raises
    ------
    ValueError
        A backslash begins no escape sequence; the text says which.

    Examples
    --------
    >>> string(r"'a\x62\143 \u00e4'").decode()
    'abc ä'
    """
    data = literal[1:-1].encode()
    return _ESCAPE.sub(_unescaped, data) if b"\\" in data else data


def _unescaped(match: re.Match[bytes]) -> bytes:
    if match["letter"]:
        return bytes([_LETTERS[match["letter"][0]]])
    if match["octal"]:
        return bytes([int(match["octal"], 8) & 255])
    if match["hex"]:
        return bytes([int(match["hex"], 16)])
    if match["head"]:
        pair = bytes.fromhex((match["head"] + match["tail"]).decode())
        return pair.decode("utf-16-be").encode()
    code = int(match["short"] or match["long"] or b"ffffffff", 16)
    if code > 0x10FFFF:
        shown = match.string[match.start() : match.start() + 10].decode(errors="replace")
        raise ValueError(f"{shown} begins with no escape sequence; a backslash is written \\\\")
    return chr(code).encode("utf-8", "surrogatepass")
