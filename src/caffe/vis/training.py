"""Figures of training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..errors import CaffeError
from ..guarded import guarded
from ..io.curves import Curve
from ..solver.rate_search import RateSearch
from .figures import figure_of, new_figure, single

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@guarded
def rate_search(found: RateSearch, ax: Axes | None = None) -> Figure:
    """Draw a range test: the smoothed loss over the rate, and the suggested rate.

    Parameters
    ----------
    found : caffe.solver.rate_search.RateSearch
        What `search_rate` returned.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.
    """
    ax = single(ax, 6, 4)
    ax.plot(found.rates, found.losses)
    ax.set_xscale("log")
    ax.set_xlabel("learning rate")
    ax.set_ylabel("loss, smoothed")
    if found.suggestion is not None:
        ax.axvline(found.suggestion, color="0.5", linestyle="--")
        ax.set_title(f"suggested base_lr: {found.suggestion:.3g}")
    return figure_of(ax)


@guarded
def training_curves(runs: Mapping[str, Mapping[str, Curve]]) -> Figure:
    """Draw how trainings went: losses, test scores and learning rates, one below the other.

    Parameters
    ----------
    runs : mapping of str to mapping
        By the names that the legends have, what `caffe.io.curves.read_curves` returned.

    Raises
    ------
    CaffeError
        There is nothing in them.
    """
    panels: dict[str, list[tuple[str, Curve]]] = {
        "loss": [],
        "test scores": [],
        "learning rate": [],
    }
    for run, curves in runs.items():
        begin = f"{run}: " if len(runs) > 1 else ""
        for name, curve in curves.items():
            panel = {"lr": "learning rate", "loss": "loss"}.get(name, "test scores")
            if "loss" in name.lower():
                panel = "loss"
            panels[panel].append((f"{begin}{name}", curve))
    filled = {title: lines for title, lines in panels.items() if lines}
    if not filled:
        raise CaffeError("there is nothing to draw: none of the runs has a loss, a score or a rate")
    figure = new_figure(7, 0.5 + 2.5 * len(filled))
    for number, (title, lines) in enumerate(filled.items(), 1):
        ax = figure.add_subplot(len(filled), 1, number)
        for name, curve in lines:
            marker = "." if name.rpartition(": ")[2].startswith("test") else None
            ax.plot(*zip(*curve, strict=True), label=name, marker=marker)
        ax.set_ylabel(title)
        ax.legend(fontsize="small")
    ax.set_xlabel("iteration")
    return figure
