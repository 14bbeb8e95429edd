"""New figures apart from pyplot, and what all figures have in common."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes as AnyAxes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ..errors import CaffeError, ShapeError
from ..net.checks import known_blobs
from ..net.net import Net, checked_net

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

SIGNED = "RdBu_r"
POSITIVE = "viridis"
BAR = "#3b76af"
QUIET = "#666666"


class NotebookFigure(Figure):
    """A figure that a notebook shows although pyplot does not know it."""

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        self.savefig(stream, format="png", facecolor="white")
        return stream.getvalue()


def new_figure(width: float, height: float) -> Figure:
    """Return a figure of so many inches, which leaves nothing behind when it is dropped."""
    figure = NotebookFigure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.set(w_pad=0.1, h_pad=0.08)  # type: ignore[call-arg]
    return figure


def single(ax: Axes | None, width: float, height: float) -> Axes:
    """Return the person's axes, or those of a new figure; raises CaffeError for what is none."""
    return new_figure(width, height).add_subplot() if ax is None else _checked(ax)


def pair(axes: Sequence[Axes] | None, width: float, height: float, **layout: Any) -> list[Axes]:
    """Return the person's two axes, or those of a new figure.

    Raises
    ------
    CaffeError
        There are not two.
    """
    if axes is None:
        axes = new_figure(width, height).subplots(**layout)
    found = list(np.ravel(np.asarray(axes, dtype=object)))
    if len(found) != 2:
        raise CaffeError(f"the figure has two parts: give two axes, not {len(found)}")
    return [_checked(ax) for ax in found]


def _checked(ax: Any) -> Axes:
    if not isinstance(ax, AnyAxes):
        raise CaffeError(
            f"this draws into a matplotlib.axes.Axes, not into {type(ax).__name__}; "
            "of an array of axes give one"
        )
    return ax


def figure_of(ax: Axes) -> Figure:
    """Return the figure that the axes are part of, be it by way of a subfigure."""
    figure = ax.get_figure(root=True) if _knows_root() else ax.figure
    assert isinstance(figure, Figure)
    return figure


def count_along(*axes: Axis) -> None:
    """Mark whole numbers only, where an axis counts things."""
    for axis in axes:
        axis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))


def _knows_root() -> bool:
    return tuple(map(int, matplotlib.__version__.split(".")[:2])) >= (3, 10)


def checked_count(count: int, what: str) -> int:
    """Return how many there are to be; raises CaffeError where that is no number from 1 on."""
    if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 1:
        raise CaffeError(f"{what} must be a whole number from 1 on, not {count!r}")
    return int(count)


def labels_of(net: Any, labels: Sequence[str] | None) -> Sequence[str] | None:
    """Return the labels that were given, or those of the net, or None.

    Raises
    ------
    CaffeError
        They are no list.
    """
    if labels is None:
        return getattr(net, "labels", None)
    if isinstance(labels, (str, bytes)) or not hasattr(labels, "__getitem__"):
        raise CaffeError(
            f"labels must be a list of the classes' names, not {labels!r:.60}; "
            "a file of them is read line by line"
        )
    return labels


def blob_values(net: Net, blob: str, image: int) -> NDArray[np.float32]:
    """Return one picture's values of a blob, a copy.

    Raises
    ------
    CaffeError
        There is no such blob or picture.
    """
    known_blobs([blob], checked_net(net).blobs)
    values = net.blobs[blob].data_tensor().numpy()
    if values.ndim == 0:
        raise ShapeError(f"blob '{blob}' is a single number, {float(values)}")
    if isinstance(image, bool) or not isinstance(image, (int, np.integer)):
        raise CaffeError(f"the picture must be a whole number, not {image!r}")
    if not 0 <= image < len(values):
        raise CaffeError(f"there is no picture {image}: blob '{blob}' has {len(values)}")
    found: NDArray[np.float32] = values[image].copy()
    if not np.isfinite(found).all():
        raise CaffeError(f"blob '{blob}' holds values that are no finite numbers (NaN or infinite)")
    return found


def size_text(shape: Sequence[int]) -> str:
    """Return a shape to be read by people."""
    return " x ".join(map(str, shape))


def short(label: str, length: int = 32) -> str:
    """Return a class's name without its synset and all but the first of its synonyms."""
    words = label.split(" ", 1)
    if len(words) == 2 and words[0].startswith("n") and words[0][1:].isdigit():
        label = words[1]
    label = label.split(",")[0]
    return label if len(label) <= length else label[: length - 1] + "\u2026"
