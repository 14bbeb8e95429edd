"""Plots of numbers without a place: fully connected blobs, probabilities, predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import CaffeError, ShapeError
from ..guarded import guarded
from ..net.net import Net
from ..predictions import are_probabilities, likeliest
from .figures import (
    BAR,
    QUIET,
    blob_values,
    checked_count,
    count_along,
    figure_of,
    labels_of,
    pair,
    short,
    single,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEW = 60


@guarded
def values(net: Net, blob: str, image: int = 0, axes: Sequence[Axes] | None = None) -> Figure:
    """Plot a blob's values, and below how those above zero are spread.

    Parameters
    ----------
    net : Net
        After a forward pass.
    blob : str
        Any blob; one with a height and a width is read row by row.
    image : int
        Which picture of the batch.
    axes : sequence of two matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    CaffeError
        There is no such blob or picture.

    Examples
    --------
    >>> model = caffe.zoo.load()
    >>> probabilities = model.predict([np.zeros((300, 400, 3))], oversample=False)
    >>> figure = caffe.vis.values(model, "fc")
    >>> [ax.get_title() for ax in figure.axes]
    ['fc: 1000 values', 'The ... values above zero']
    """
    numbers = blob_values(net, blob, image).ravel()
    above, below = pair(axes, 9, 6, nrows=2)
    # A few values are points that a line joins; many are a line.
    above.plot(numbers, "o-" if len(numbers) <= FEW else "-", ms=4, linewidth=0.7, color=BAR)
    above.axhline(0, linewidth=0.6, color=QUIET)
    _label(above, f"{blob}: {len(numbers)} values", "unit", "value")
    above.set_xlim(-0.5, max(len(numbers) - 0.5, 0.5))
    positive = numbers[numbers > 0]
    if len(positive):
        below.hist(positive, bins=max(10, min(100, len(positive) // 2)), color=BAR)
    else:
        below.text(0.5, 0.5, "none", transform=below.transAxes, ha="center", color=QUIET)
    _label(below, f"The {len(positive)} values above zero", "value", "units")
    count_along(above.xaxis, below.yaxis)
    return figure_of(above)


@guarded
def probabilities(
    net: Net,
    blob: str | None = None,
    labels: Sequence[str] | None = None,
    image: int = 0,
    count: int = 5,
    ax: Axes | None = None,
) -> Figure:
    """Plot the probability of every class, and name the likeliest.

    Parameters
    ----------
    net : Net
        After a forward pass.
    blob : str, optional
        The blob of probabilities; the net's first output by default.
    labels : sequence of str, optional
        The classes' names; ``net.labels`` by default, where there are any.
    image : int
        Which picture of the batch.
    count : int
        How many classes to name.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    CaffeError
        There is no such blob or picture, or there are more or fewer labels than classes.

    Examples
    --------
    >>> model = caffe.zoo.load()
    >>> predictions = model.classify(np.zeros((300, 400, 3)))
    >>> figure = caffe.vis.probabilities(model)
    >>> figure.axes[0].get_title()
    'prob: 1000 classes'
    """
    if blob is None:
        blob = _first_output(net)
    numbers = blob_values(net, blob, image).ravel()
    names = _names(labels_of(net, labels), len(numbers))
    ax = single(ax, 9, 3.6)
    ax.vlines(np.arange(len(numbers)), 0, numbers, linewidth=1.2, color=BAR)
    are_shares = are_probabilities(numbers)
    what = "probability" if are_shares else "score"
    _label(ax, f"{blob}: {len(numbers)} classes", "class", what)
    count_along(ax.xaxis)
    ax.set_xlim(-0.02 * len(numbers) - 0.5, 1.02 * len(numbers) - 0.5)
    ax.set_ylim(min(0, numbers.min()) * 1.05, max(numbers.max() * 1.08, 1e-12))
    best = _best(numbers, count)
    ax.plot(best, numbers[best], "o", markersize=3, color="black")
    lines = [f"{numbers[i]:.4f}  {i:>4}  {short(str(names[i]))}" for i in best]
    on_the_left = best[0] > len(numbers) / 2
    ax.text(
        0.02 if on_the_left else 0.98,
        0.95,
        "\n".join(line.ljust(max(map(len, lines))) for line in lines),
        transform=ax.transAxes,
        ha="left" if on_the_left else "right",
        va="top",
        family="monospace",
        fontsize=9,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8},
    )
    return figure_of(ax)


@guarded
def top(
    predictions: Sequence[tuple[str, float]] | ArrayLike,
    labels: Sequence[str] | None = None,
    picture: ArrayLike | None = None,
    count: int = 5,
    axes: Sequence[Axes] | Axes | None = None,
) -> Figure:
    """Draw the likeliest classes as bars, beside the picture.

    Parameters
    ----------
    predictions : list of (str, float) or array
        What ``caffe.zoo``'s `Model.classify` returns, or the probability of every class.
    labels : sequence of str, optional
        The classes' names, where `predictions` has none.
    picture : array, optional
        H x W x 3 in RGB order, floats from 0 to 1 or bytes, or H x W; without it there are only
        the bars.
    count : int
        How many classes, at most.
    axes : matplotlib.axes.Axes or sequence of them, optional
        Where to draw: the picture's and the bars', or, without a picture, the bars'. A new figure
        by default.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    CaffeError
        The predictions or the picture are none, or there are more or fewer labels than classes.

    Examples
    --------
    >>> figure = caffe.vis.top([("n02124075 Egyptian cat", 0.74), ("n02123159 tiger cat", 0.14)])
    >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
    ['Egyptian cat', 'tiger cat']
    """
    pairs = _pairs(predictions, labels, count)
    height = max(2.2, 0.45 * len(pairs) + 0.9)
    if picture is None:
        given: Any = axes[-1] if isinstance(axes, Sequence) and axes else axes
        bars = single(given, 6, height)
    else:
        given = axes
        seen, bars = pair(given, 9.5, max(3, height), ncols=2, width_ratios=(1, 1.15))
        seen.imshow(_drawable(picture), cmap="gray")
        seen.axis("off")
    _draw_bars(bars, pairs)
    return figure_of(bars)


def _draw_bars(ax: Axes, pairs: Sequence[tuple[str, float]]) -> None:
    shares = [share for _, share in pairs]
    rows = list(range(len(pairs)))
    ax.barh(rows, shares, height=0.62, color=[BAR] + ["#a9c4de"] * (len(pairs) - 1))
    ax.set_yticks(rows)
    ax.set_yticklabels([short(label) for label, _ in pairs], fontsize=10)
    ax.invert_yaxis()
    are_shares = are_probabilities(np.asarray(shares))
    # Probabilities share one scale, so that several figures can be compared.
    most = 1.0 if are_shares else max(*shares, 1e-12)
    for row, share in zip(rows, shares, strict=True):
        said = f"{share:.1%}" if are_shares else f"{share:.4g}"
        ax.text(max(share, 0) + most * 0.02, row, said, va="center", fontsize=9)
    ax.set_xlim(min(0, *shares), most * 1.18)
    ax.set_xticks([])
    ax.tick_params(axis="y", length=0)
    for side in ("top", "right", "bottom"):
        ax.spines[side].set_visible(False)


def _label(ax: Axes, title: str, across: str, up: str) -> None:
    ax.set_title(title, fontsize=11)
    ax.set_xlabel(across)
    ax.set_ylabel(up)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def _first_output(net: Net) -> str:
    if not net.outputs:
        raise CaffeError("the net has no output; name the blob of probabilities")
    return net.outputs[0]


def _names(labels: Sequence[str] | None, classes: int) -> Sequence[str]:
    if labels is None:
        return [f"class {i}" for i in range(classes)]
    if len(labels) != classes:
        raise CaffeError(f"there are {len(labels)} labels for {classes} classes")
    return labels


def _best(numbers: NDArray[Any], count: int) -> list[int]:
    return likeliest(numbers, checked_count(count, "count"))


def _pairs(
    predictions: Sequence[tuple[str, float]] | ArrayLike, labels: Sequence[str] | None, count: int
) -> list[tuple[str, float]]:
    """The likeliest classes with their names, of either kind of predictions."""
    labels, count = labels_of(None, labels), checked_count(count, "count")
    try:
        if labels is None and _are_pairs(predictions):
            pairs = [(str(label), float(share)) for label, share in predictions]
            labels, predictions = [label for label, _ in pairs], [share for _, share in pairs]
        numbers = np.asarray(predictions, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise CaffeError(
            "predictions are (label, probability) pairs, or the probability of every class"
        ) from error
    if numbers.size == 0 or numbers.size != max(numbers.shape, default=0):
        raise ShapeError(f"predictions are one number per class, not of shape {numbers.shape}")
    numbers = numbers.ravel()
    if not np.isfinite(numbers).all():
        raise CaffeError("predictions hold values that are no finite numbers (NaN or infinite)")
    names = _names(labels, len(numbers))
    return [(str(names[i]), float(numbers[i])) for i in _best(numbers, count)]


def _are_pairs(predictions: Any) -> TypeGuard[Sequence[tuple[str, float]]]:
    if not isinstance(predictions, Sequence) or not predictions:
        return False
    first = predictions[0]
    return isinstance(first, Sequence) and len(first) == 2 and isinstance(first[0], str)


def _drawable(picture: ArrayLike) -> NDArray[Any]:
    """Check a picture, and bring floats into 0 to 1 as matplotlib asks."""
    pixels = np.asarray(picture)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.size == 0 or pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3):
        raise ShapeError(f"a picture is H x W x 3 or H x W, not of shape {pixels.shape}")
    return pixels if pixels.dtype == np.uint8 else np.clip(pixels.astype(np.float64), 0, 1)
