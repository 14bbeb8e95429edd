"""What objects look like in a notebook: small tables in HTML.

They use no style sheet and no script, so that they also show on code hosts, which drop both.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from html import escape
from itertools import count

BAR_COLOR = "#3b76af"
PADDING = "padding:1px 12px 1px 0;white-space:nowrap"


def table(
    title: str,
    rows: Iterable[Sequence[str]],
    header: Sequence[str] = (),
    numbers: Collection[int] = (),
) -> str:
    """Return a table whose cells are texts, or HTML made by `bar` and `bars`.

    Parameters
    ----------
    title : str
        What stands above it; a text.
    rows : iterable of sequence of str
        HTML; texts are to be escaped by the caller.
    header : sequence of str, optional
        The columns' names.
    numbers : collection of int
        Which columns hold numbers, to be set to the right.
    """
    head = _row("th", map(escape, header), numbers)
    head = f"<thead>{head}</thead>" if header else ""
    body = "".join(_row("td", row, numbers) for row in rows)
    return f"<div><b>{escape(title)}</b><table>{head}<tbody>{body}</tbody></table></div>"


def _row(tag: str, cells: Iterable[str], numbers: Collection[int]) -> str:
    sides = ("right" if i in numbers else "left" for i in count())
    parts = (
        f'<{tag} style="text-align:{side};{PADDING}">{cell}</{tag}>'
        for cell, side in zip(cells, sides, strict=False)
    )
    return f"<tr>{''.join(parts)}</tr>"


def bar(share: float, width: int = 200) -> str:
    """Return a bar that fills `share`, 0 to 1, of its `width` in pixels."""
    filled = round(width * min(max(share, 0), 1))
    return (
        f'<div style="width:{width}px"><div style="width:{filled}px;height:0.8em;'
        f'background:{BAR_COLOR}"></div></div>'
    )


def bars(heights: Sequence[float], height: int = 32) -> str:
    """Return upright bars side by side, the tallest of them `height` pixels."""
    most = max([*heights, 0]) or 1
    parts = "".join(
        f'<span style="display:inline-block;width:5px;margin-right:1px;background:{BAR_COLOR};'
        f'height:{max(round(height * value / most), 1 if value else 0)}px"></span>'
        for value in heights
    )
    return f'<div style="height:{height}px;white-space:nowrap">{parts}</div>'
