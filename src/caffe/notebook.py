"""What objects look like in a notebook: small tables in HTML.

They use no style sheet and no script, so that they also show on code hosts, which drop both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

BAR_COLOR = "#3b76af"
CELL = "text-align:left;padding:1px 12px 1px 0"


def table(title: str, rows: Iterable[Sequence[str]], header: Sequence[str] = ()) -> str:
    """Return a table whose cells are texts, or HTML made by `bar` and `bars`.

    Parameters
    ----------
    title : str
        What stands above it; a text.
    rows : iterable of sequence of str
        HTML; texts are to be escaped by the caller.
    header : sequence of str, optional
        The columns' names.
    """
    head = "".join(f'<th style="{CELL}">{escape(name)}</th>' for name in header)
    head = f"<thead><tr>{head}</tr></thead>" if header else ""
    body = "".join(
        "<tr>" + "".join(f'<td style="{CELL}">{cell}</td>' for cell in row) + "</tr>"
        for row in rows
    )
    return f"<div><b>{escape(title)}</b><table>{head}<tbody>{body}</tbody></table></div>"


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
