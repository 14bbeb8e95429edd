"""Figures of training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..guarded import guarded
from ..solver.rate_search import RateSearch
from .figures import figure_of, single

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
