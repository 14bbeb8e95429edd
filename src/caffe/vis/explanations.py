"""What a class's score comes from, laid over the picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import attribution
from ..attribution.gradients import Map
from ..errors import CaffeError
from ..guarded import guarded
from ..io.transformer import Transformer
from ..net.net import Net
from .figures import figure_of, labels_of, short, single
from .values import _drawable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BRIGHTEST = 99.5
"""Percentile at which saliency's colours end: a few pixels are far above all others."""


@guarded
def saliency(
    net: Net,
    class_index: int,
    image: int = 0,
    picture: ArrayLike | None = None,
    transformer: Transformer | None = None,
    labels: Sequence[str] | None = None,
    ax: Axes | None = None,
    **options: Any,
) -> Figure:
    """Draw which pixels a class's score answers to; see `caffe.attribution.saliency_map`.

    Parameters
    ----------
    net : Net
        With the pictures in its first input.
    class_index : int
        The class, counted from 0.
    image : int
        Which picture of the batch.
    picture : array, optional
        What to draw it over: all that the net saw, H x W x 3 in RGB, in any size. By default the
        input is turned back into a picture.
    transformer : caffe.io.Transformer, optional
        What turns the input back; ``net.transformer`` by default, where there is one. Without any
        the input is drawn from its smallest value to its largest.
    labels : sequence of str, optional
        The classes' names for the title; ``net.labels`` by default, where there are any.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.
    **options
        Handed on to `saliency_map`.

    Returns
    -------
    matplotlib.figure.Figure
        The figure. Colours end at the 99.5th percentile.

    Raises
    ------
    CaffeError
        As `saliency_map` does, or the picture is none.

    Examples
    --------
    >>> model = caffe.zoo.load()
    >>> predictions = model.classify(np.random.default_rng(0).random((300, 400, 3)))
    >>> figure = caffe.vis.saliency(model, 281)
    >>> print(figure.axes[0].get_title())
    Saliency
    class 281, tabby
    """
    found = attribution.saliency_map(net, class_index, image, **options)
    most = float(np.percentile(found, BRIGHTEST)) or float(found.max()) or 1.0
    title = f"Saliency\n{_class_text(net, labels, class_index)}"
    below = _picture(net, image, picture, transformer)
    return _lay_over(
        ax,
        below,
        found,
        title,
        "change of the score per unit of the input",
        cmap="inferno",
        vmin=0,
        vmax=most,
    )


@guarded
def grad_cam(
    net: Net,
    blob: str | None,
    class_index: int,
    image: int = 0,
    picture: ArrayLike | None = None,
    transformer: Transformer | None = None,
    labels: Sequence[str] | None = None,
    ax: Axes | None = None,
    **options: Any,
) -> Figure:
    """Draw where a blob's maps speak for a class; see `caffe.attribution.grad_cam_map`.

    Parameters
    ----------
    net : Net
        With the pictures in its first input.
    blob : str or None
        A blob of shape (n, maps, height, width); the last such one before the score if None.
    class_index, image, picture, transformer, labels, ax
        As for `saliency`.
    **options
        Handed on to `grad_cam_map`.

    Returns
    -------
    matplotlib.figure.Figure
        The figure; 1 is the place that speaks most for the class.

    Raises
    ------
    CaffeError
        As `grad_cam_map` does, or the picture is none.

    Examples
    --------
    >>> model = caffe.zoo.load()
    >>> predictions = model.classify(np.random.default_rng(0).random((300, 400, 3)))
    >>> figure = caffe.vis.grad_cam(model, "head", 281)
    >>> print(figure.axes[0].get_title())
    Grad-CAM of head
    class 281, tabby
    """
    if blob is None:
        blob = attribution.last_spatial_blob(net, options.get("output"))
    found = attribution.grad_cam_map(net, blob, class_index, image, **options)
    title = f"Grad-CAM of {blob}\n{_class_text(net, labels, class_index)}"
    below = _picture(net, image, picture, transformer)
    return _lay_over(
        ax, below, found, title, "share of the largest", cmap="inferno", vmin=0, vmax=1
    )


@guarded
def occlusion(
    net: Net,
    class_index: int,
    image: int = 0,
    picture: ArrayLike | None = None,
    transformer: Transformer | None = None,
    labels: Sequence[str] | None = None,
    ax: Axes | None = None,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> Figure:
    """Draw how much a class's score falls where the picture is hidden.

    See `caffe.attribution.occlusion_map`.

    Parameters
    ----------
    net : Net
        With the pictures in its first input.
    class_index, image, picture, transformer, labels, ax
        As for `saliency`.
    progress : callable, optional
        Called with how many squares are done, and of how many.
    **options
        `size`, `stride` and what else `occlusion_map` takes.

    Returns
    -------
    matplotlib.figure.Figure
        The figure: red where hiding lowers the score, blue where it raises it.

    Raises
    ------
    CaffeError
        As `occlusion_map` does, or the picture is none.

    Examples
    --------
    >>> model = caffe.zoo.load()
    >>> predictions = model.classify(np.random.default_rng(0).random((300, 400, 3)))
    >>> figure = caffe.vis.occlusion(model, 281, size=112, stride=112)
    >>> print(figure.axes[0].get_title())
    Occlusion
    class 281, tabby
    """
    found = attribution.occlusion_map(net, class_index, image, progress=progress, **options)
    most = float(np.abs(found).max()) or 1.0
    title = f"Occlusion\n{_class_text(net, labels, class_index)}"
    below = _picture(net, image, picture, transformer)
    return _lay_over(
        ax, below, found, title, "fall of the score", cmap="RdBu_r", vmin=-most, vmax=most
    )


def _class_text(net: Net, labels: Sequence[str] | None, class_index: int) -> str:
    labels = labels_of(net, labels)
    if labels is None or not 0 <= class_index < len(labels):
        return f"class {class_index}"
    return f"class {class_index}, {short(str(labels[class_index]))}"


def _picture(
    net: Net, image: int, picture: ArrayLike | None, transformer: Transformer | None
) -> NDArray[Any]:
    """What lies below, in grey so that the colours on it are the map's alone."""
    pixels = _drawable(_as_seen(net, image, transformer) if picture is None else picture)
    if pixels.dtype == np.uint8:
        pixels = pixels / 255
    return pixels if pixels.ndim == 2 else pixels @ np.array([0.2989, 0.5870, 0.1140])


def _as_seen(net: Net, image: int, transformer: Transformer | None) -> NDArray[Any]:
    name = net.inputs[0]
    values = net.blobs[name].data_tensor().numpy()[image]
    if transformer is None:
        transformer = getattr(net, "transformer", None)
    elif not isinstance(transformer, Transformer):
        raise CaffeError(f"transformer must be a caffe.io.Transformer, not {transformer!r:.60}")
    if transformer is not None:
        return np.clip(transformer.deprocess(name, values), 0, 1)
    low, high = values.min(), values.max()
    seen: NDArray[Any] = (values - low) / (high - low if high > low else 1)
    seen = seen.transpose(1, 2, 0) if len(seen) == 3 else seen.mean(axis=0)
    return seen


def _lay_over(
    ax: Axes | None, picture: NDArray[Any], found: Map, title: str, label: str, **colours: Any
) -> Figure:
    height, width = picture.shape
    ax = single(ax, 6, 5.2 * height / width + 0.8)
    ax.imshow(picture, cmap="gray", vmin=-0.15, vmax=1.15)
    strength = np.abs(found) / max(abs(colours["vmin"]), abs(colours["vmax"]))
    image = ax.imshow(
        found,
        alpha=0.75 * np.clip(strength, 0, 1) ** 0.6,
        extent=(-0.5, width - 0.5, height - 0.5, -0.5),
        interpolation="nearest",
        **colours,
    )
    ax.set_title(title, fontsize=11)
    ax.axis("off")
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.7, pad=0.02, aspect=30)
    if bar.solids is not None:
        bar.solids.set_alpha(1)
    bar.set_label(label, fontsize=9)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    return figure_of(ax)
