"""How the commands' help is written: plain words, options in groups."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

# As typer names what an option takes, newer versions first.
_KINDS = (
    (r" (?:<list\[\w+\]>|TEXT\.\.\.|LIST\[\w+\])", ""),
    (r" (?:<int(?: range)?>|INTEGER(?: RANGE)?)", " N"),
    (r" (?:<float(?: range)?>|FLOAT(?: RANGE)?)", " X"),
    (r" (?:<str>|TEXT)$", " TEXT"),
    (r" (?:<path>|PATH)$", " PATH"),
    (r" [<\[]([^<>\[\]]+\|[^<>\[\]]+)[>\]]$", r" \1"),
)
_RANGES = (
    (r"(-?[\d.]+)<=x<=(-?[\d.]+)", r"\1 to \2"),
    (r"x>=(-?[\d.]+)", r"at least \1"),
    (r"x<=(-?[\d.]+)", r"at most \1"),
    (r"\[default: \(([^()]*)\)", r"[default: \1"),
)
WIDEST = 28
"""Where names are longer, what is said of them stands below."""
FIRST = {"argument": "Arguments", "option": "Options"}


def plain(name: str, text: str) -> tuple[str, str]:
    """An option's names with what it takes, and its help, without words of programmers."""
    for pattern, words in _KINDS:
        name = re.sub(pattern, words, name)
    for pattern, words in _RANGES:
        text = re.sub(pattern, words, text)
    return name, text


class PlainHelp:
    """Writes a command's help; stands before typer's class among the bases."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """What stands behind the command's name."""
        pieces: list[str] = super().collect_usage_pieces(ctx)  # type: ignore[misc]
        return [piece.replace("{", "").replace("}", "") for piece in pieces]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, and the options by their groups."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):  # type: ignore[attr-defined]
            record = param.get_help_record(ctx)
            if record is not None:
                group = getattr(param, "rich_help_panel", None) or FIRST[param.param_type_name]
                groups.setdefault(group, []).append(plain(*record))
        # Every command ends by its --help, which has no group.
        own = groups.pop(FIRST["option"], [])
        arguments = groups.pop(FIRST["argument"], [])
        write_groups(
            formatter, {FIRST["argument"]: arguments, FIRST["option"]: own, **groups}.items()
        )


def write_groups(formatter: Any, groups: Iterable[tuple[str, list[tuple[str, str]]]]) -> None:
    """Write named lists of names with what is said of them, all in the same two columns."""
    shown = [(title, rows) for title, rows in groups if rows]
    width = min(max(len(name) for _, rows in shown for name, _ in rows), WIDEST)
    for title, rows in shown:
        with formatter.section(title):
            formatter.write_dl([(name.ljust(width), text) for name, text in rows], WIDEST + 2)
