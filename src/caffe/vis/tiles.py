"""Many small pictures side by side: filters and responses."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.collections import PatchCollection
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from ..errors import CaffeError, ShapeError
from ..guarded import guarded
from ..net.checks import known_layer
from ..net.net import Net, checked_net
from .figures import (
    POSITIVE,
    QUIET,
    SIGNED,
    NotebookFigure,
    blob_values,
    checked_count,
    count_along,
    figure_of,
    single,
    size_text,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SMALLEST_TILE = 24
"""Pixels; smaller tiles are enlarged first, so that the gaps between them stay narrow."""

MOST_PLANES = 1024
"""Kernels of one channel each that are drawn of a layer."""


class Tiles(np.ndarray):
    """What `vis_square` returns: an array of tiles, shown as its picture in a notebook.

    Attributes
    ----------
    figure : matplotlib.figure.Figure or None
        Where it is drawn; None for arrays computed from this one.
    """

    figure: Figure | None = None

    def _repr_png_(self) -> bytes | None:
        return self.figure._repr_png_() if isinstance(self.figure, NotebookFigure) else None


@guarded
def vis_square(data: ArrayLike, ax: Axes | None = None) -> Tiles:
    """Draw pictures in a square, as the first notebook that came with Caffe does.

    All together are brought to 0 (the smallest value) to 1 (the largest), each gets one white pixel
    to its right and below, and white tiles fill up the square.

    Parameters
    ----------
    data : array
        (n, height, width), drawn in grey, or (n, height, width, 3), in colour.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a figure of its own, ``.figure`` of the result, by default.

    Returns
    -------
    Tiles
        The picture: side * (height + 1) x side * (width + 1), and x 3 for colours, where side is
        the root of n, rounded up.

    Raises
    ------
    ShapeError
        The array has another shape, or is empty.
    CaffeError
        It holds something else than finite numbers.

    Examples
    --------
    >>> tiles = caffe.vis.vis_square(np.arange(3 * 2 * 2).reshape(3, 2, 2))
    >>> tiles.shape
    (6, 6)
    >>> tiles.figure.savefig("tiles.png")
    """
    pictures = _checked_pictures(data)
    low, high = pictures.min(), pictures.max()
    pictures = (pictures - low) / (high - low) if high > low else np.zeros_like(pictures)
    side = int(np.ceil(np.sqrt(len(pictures))))
    tiled = _tiled(pictures, side, side, gap=1, fill=1).view(Tiles)
    ax = single(ax, 8, 8 * tiled.shape[0] / tiled.shape[1])
    ax.imshow(np.asarray(tiled), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    ax.axis("off")
    tiled.figure = figure_of(ax)
    return tiled


@guarded
def filters(
    net: Net,
    layer: str,
    per_filter: bool = False,
    channel_swap: tuple[int, ...] | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw the filters of a convolution.

    Filters of three channels are drawn in colour. Those of more or fewer are drawn channel by
    channel, red above and blue below zero; kernels of 1 x 1 and inner products as one table of
    weights.

    Parameters
    ----------
    net : Net
        The net.
    layer : str
        A layer with weights.
    per_filter : bool
        Bring each filter to its own range, so that weak ones are seen, instead of all to one.
    channel_swap : tuple of int, optional
        The channels that are red, green and blue: ``(2, 1, 0)`` for a net that takes BGR. That of
        ``net.transformer`` by default, where there is one.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.figure.Figure
        The figure, which says the scale.

    Raises
    ------
    CaffeError
        There is no such layer, or it has no weights to draw.

    Examples
    --------
    >>> figure = caffe.vis.filters(caffe.zoo.load(), "stem")
    >>> print(figure.axes[0].get_title())
    stem: 32 filters of 4 x 4, in colour
    all on one scale, -3.71 (dark) to 3.5 (bright)
    """
    weights = _weights(net, layer)
    if weights.ndim == 2 or weights.shape[2:] == (1, 1):
        table = weights.reshape(len(weights), -1)
        return _draw_table(table, f"{layer}: {size_text(table.shape)} weights", per_filter, ax)
    height, width = weights.shape[2:]
    if weights.shape[1] == 3:
        what = f"{layer}: {len(weights)} filters of {height} x {width}, in colour"
        order = _colour_order(net) if channel_swap is None else channel_swap
        if np.shape(order) != (3,) or tuple(order) not in permutations(range(3)):
            raise CaffeError(f"channel_swap must be like (2, 1, 0), not {order!r}")
        return _draw_colours(weights.transpose(0, 2, 3, 1)[..., list(order)], what, per_filter, ax)
    channels = weights.shape[1]
    what = f"{layer}: {len(weights)} filters of {channels} x {height} x {width}"
    if channels > 1:
        what += ", channel by channel"
    if len(weights) * channels > MOST_PLANES:
        weights = weights[: max(1, MOST_PLANES // channels)]
        what += f" (the first {len(weights)})"
    planes = weights.reshape(-1, height, width)[:MOST_PLANES]
    return _draw_maps(planes, what, "filter", per_filter, ax, channels)


@guarded
def responses(
    net: Net,
    blob: str,
    image: int = 0,
    maps: int | None = 36,
    per_map: bool = False,
    ax: Axes | None = None,
) -> Figure:
    """Draw a blob's maps: how each filter answers to each place of a picture.

    Parameters
    ----------
    net : Net
        After a forward pass.
    blob : str
        A blob of shape (n, maps, height, width).
    image : int
        Which picture of the batch.
    maps : int, optional
        How many maps, from the first on; all if None.
    per_map : bool
        Bring each map to its own range, so that weak ones are seen, instead of all to one.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.figure.Figure
        The figure, which says the scale. Maps with values below zero are drawn in red and blue
        with white at zero. The numbers on the left are those of each row's first map.

    Raises
    ------
    CaffeError
        There is no such blob or picture, or the blob has no height and width.

    Examples
    --------
    >>> model = caffe.zoo.load()
    >>> probabilities = model.predict([np.zeros((300, 400, 3))], oversample=False)
    >>> figure = caffe.vis.responses(model, "stem", maps=16)
    >>> print(figure.axes[0].get_title())
    stem: the first 16 of 32 maps of 112 x 112
    all on one scale
    """
    values = blob_values(net, blob, image)
    if values.ndim != 3:
        raise ShapeError(
            f"blob '{blob}' of shape {net.blobs[blob].shape} has no maps of a height and a width; "
            "draw it with caffe.vis.values"
        )
    shown = values if maps is None else values[: checked_count(maps, "maps")]
    what = (
        f"{len(values)}"
        if len(shown) == len(values)
        else f"the first {len(shown)} of {len(values)}"
    )
    noun = "map" if len(values) == 1 else "maps"
    what = f"{blob}: {what} {noun} of {size_text(values.shape[1:])}"
    return _draw_maps(shown, what, "map", per_map, ax)


def _checked_pictures(data: ArrayLike) -> NDArray[Any]:
    pictures = np.asarray(data)
    if pictures.ndim not in (3, 4) or (pictures.ndim == 4 and pictures.shape[3] != 3):
        raise ShapeError(
            f"vis_square takes (n, height, width) or (n, height, width, 3), not {pictures.shape}"
        )
    if pictures.size == 0:
        raise ShapeError(f"vis_square was given no pictures: the shape is {pictures.shape}")
    if pictures.dtype.kind not in "fiub" or not np.isfinite(pictures).all():
        raise CaffeError("vis_square takes finite numbers; there is NaN, infinity or another type")
    return pictures if pictures.dtype.kind == "f" else pictures.astype(np.float64)


def _tiled(pictures: NDArray[Any], rows: int, columns: int, gap: int, fill: float) -> NDArray[Any]:
    """Lay pictures out row by row, each with a gap to its right and below."""
    missing = rows * columns - len(pictures)
    padding = ((0, missing), (0, gap), (0, gap), *[(0, 0)] * (pictures.ndim - 3))
    padded = np.pad(pictures, padding, constant_values=fill)
    height, width = padded.shape[1:3]
    grid = padded.reshape(rows, columns, height, width, *padded.shape[3:]).swapaxes(1, 2)
    tiled: NDArray[Any] = grid.reshape(rows * height, columns * width, *padded.shape[3:])
    return tiled


def _weights(net: Net, layer: str) -> NDArray[np.float32]:
    known_layer(layer, checked_net(net).layer_dict)
    kind = net.layer_dict[layer].type
    blobs = net.params.get(layer)
    if blobs is None or len(blobs[0].shape) not in (2, 4):
        with_weights = [n for n, its in net.params.items() if len(its[0].shape) in (2, 4)]
        raise CaffeError(
            f"layer '{layer}' ({kind}) has no filters to draw; "
            f"these have: {', '.join(with_weights[:8]) or 'none'}"
            f"{' ...' if len(with_weights) > 8 else ''}"
        )
    weights = blobs[0].data_tensor().numpy()
    if not np.isfinite(weights).all():
        raise CaffeError(f"layer '{layer}' holds weights that are no finite numbers")
    return weights


def _colour_order(net: Net) -> tuple[int, ...]:
    """Which channels of the input are red, green and blue, as far as the net tells."""
    swaps = getattr(getattr(net, "transformer", None), "channel_swap", {})
    # A net that reads a database has no input.
    swap = next((swaps[name] for name in net.inputs if name in swaps), None)
    return (0, 1, 2) if swap is None else tuple(int(i) for i in np.argsort(swap))


def _enlarged(pictures: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """Repeat the pixels of small pictures; return also how wide a gap looks well."""
    times = -(-SMALLEST_TILE // max(pictures.shape[1:3]))
    pictures = pictures.repeat(times, axis=1).repeat(times, axis=2)
    return pictures, max(3, max(pictures.shape[1:3]) // 14)


def _columns(count: int, channels: int) -> int:
    """How many pictures stand in a row: about a square, with the channels of one side by side."""
    side = int(np.ceil(np.sqrt(count)))
    parts = [channels // rows for rows in range(2, channels) if channels % rows == 0]
    whole = range(channels, count + 1, channels)
    fitting = [columns for columns in (*whole, *parts) if side / 2 <= columns <= side * 2]
    return min(fitting, key=lambda columns: abs(columns - side), default=side)


def _draw_grid(
    pictures: NDArray[Any],
    title: str,
    ax: Axes | None,
    room: float = 0,
    channels: int = 1,
    **colours: Any,
) -> tuple[Axes, Any]:
    """Draw pictures in rows, with the number of each row's first; gaps show the background.

    Where filters have several channels, these are the pictures, and the numbers the filters'.
    """
    count = len(pictures)
    columns = _columns(count, channels)
    rows = -(-count // columns)
    pictures, gap = _enlarged(pictures)
    tiled = _tiled(pictures, rows, columns, gap, np.nan)[:-gap, :-gap]
    if tiled.ndim == 3:
        empty = np.isnan(tiled[..., :1])
        tiled = np.concatenate([np.where(empty, 1, tiled), np.where(empty, 0.0, 1.0)], axis=2)
    height, width = tiled.shape[:2]
    ax = single(ax, 8 + room, min(12, 8 * height / width) + 0.7)
    image = ax.imshow(tiled, interpolation="nearest" if width < 1600 else "auto", **colours)
    ax.set_title(title, fontsize=11)
    if colours.get("cmap") == SIGNED:
        _outline(ax, pictures.shape, columns, gap)
    pitch = pictures.shape[1] + gap
    numbered = [row for row in range(rows) if row * columns % channels == 0]
    numbered = numbered[:: -(-len(numbered) // 16)]
    ax.set_yticks([row * pitch + pictures.shape[1] / 2 - 0.5 for row in numbered])
    ax.set_yticklabels([str(row * columns // channels) for row in numbered], color=QUIET)
    ax.tick_params(axis="y", length=0, labelsize=8)
    ax.set_xticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)
    return ax, image


def _outline(ax: Axes, shape: tuple[int, ...], columns: int, gap: int) -> None:
    """Draw the tiles' borders: where zero is white, the gaps alone do not show them."""
    count, height, width = shape[:3]
    corners = [(i % columns * (width + gap), i // columns * (height + gap)) for i in range(count)]
    tiles = [Rectangle((x - 0.5, y - 0.5), width, height) for x, y in corners]
    ax.add_collection(
        PatchCollection(tiles, facecolor="none", edgecolor="#b0b0b0", linewidth=0.5, clip_on=False)
    )


def _draw_colours(pictures: NDArray[Any], what: str, each: bool, ax: Axes | None) -> Figure:
    low, high = _range(pictures, each)
    spread = np.where(high > low, high - low, 1)
    scale = (
        "each from its own darkest to its own brightest"
        if each
        else f"all on one scale, {low.item():.3g} (dark) to {high.item():.3g} (bright)"
    )
    ax, _ = _draw_grid((pictures - low) / spread, f"{what}\n{scale}", ax)
    return figure_of(ax)


def _draw_maps(
    maps: NDArray[Any], what: str, name: str, each: bool, ax: Axes | None, channels: int = 1
) -> Figure:
    """Draw pictures of one channel, on a scale that stands beside them."""
    shown, colours, label = _scaled(maps, name, each)
    scale = f"each {name} on its own scale" if each else "all on one scale"
    ax, image = _draw_grid(shown, f"{what}\n{scale}", ax, 0.6, channels, **colours)
    _add_scale(ax, image, label)
    return figure_of(ax)


def _draw_table(table: NDArray[Any], what: str, each: bool, ax: Axes | None) -> Figure:
    shown, colours, label = _scaled(table, "output", each)
    scale = "each output on its own scale" if each else "all on one scale"
    height = 8 * min(1.4, max(0.3, table.shape[0] / table.shape[1]))
    ax = single(ax, 8.6, height + 0.7)
    # Where several weights fall on one pixel, their mean would hide the large ones.
    image = ax.imshow(shown, aspect="auto", interpolation="nearest", **colours)
    ax.set_title(f"{what}\n{scale}", fontsize=11)
    ax.set_xlabel("input")
    ax.set_ylabel("output")
    count_along(ax.xaxis, ax.yaxis)
    _add_scale(ax, image, label)
    return figure_of(ax)


def _scaled(maps: NDArray[Any], name: str, each: bool) -> tuple[NDArray[Any], dict[str, Any], str]:
    """The maps as they are to be coloured, the colours, and what the scale says."""
    low, high = _range(maps, each)
    if maps.min() < 0:
        most = np.maximum(np.abs(low), np.abs(high))
        most = np.where(most > 0, most, 1)
        if each:
            label = f"share of the {name}'s largest absolute value"
            return maps / most, {"cmap": SIGNED, "vmin": -1, "vmax": 1}, label
        return maps, {"cmap": SIGNED, "vmin": -most.item(), "vmax": most.item()}, "value"
    if each:
        spread = np.where(high > low, high - low, 1)
        label = f"from the {name}'s smallest value to its largest"
        return (maps - low) / spread, {"cmap": POSITIVE, "vmin": 0, "vmax": 1}, label
    high = np.where(high > low, high, low + 1)
    return maps, {"cmap": POSITIVE, "vmin": low.item(), "vmax": high.item()}, "value"


def _range(values: NDArray[Any], each: bool) -> tuple[NDArray[Any], NDArray[Any]]:
    """The smallest and largest value, of each picture or of all; they spread over the array."""
    axes = tuple(range(1 if each else 0, values.ndim))
    return values.min(axis=axes, keepdims=True), values.max(axis=axes, keepdims=True)


def _add_scale(ax: Axes, image: Any, label: str) -> None:
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.6, pad=0.02, aspect=30)
    bar.set_label(label, fontsize=9)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
