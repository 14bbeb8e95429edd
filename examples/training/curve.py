"""Learning curves: the loss going down and the accuracy going up."""

from __future__ import annotations

from collections.abc import Iterable

import pictures


def draw(path: str, title: str, points: Iterable[tuple[float, float, float]]) -> None:
    """Draw the loss and the accuracy (0 to 1) over the epochs, into a .png or .svg."""
    pictures.package("matplotlib").use("Agg")
    pyplot = pictures.package("matplotlib.pyplot")
    epochs, losses, shares = zip(*points, strict=True)
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(8, 3), layout="constrained")
    left.plot(epochs, losses, ".-", color="tab:red")
    left.set(title="loss on what is learned from", xlabel="epoch", yscale="log")
    right.plot(epochs, [100 * share for share in shares], ".-", color="tab:blue")
    right.set(title=f"right on what is not: {shares[-1]:.1%}", xlabel="epoch", ylabel="%")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.suptitle(title)
    figure.savefig(path, dpi=100, metadata={"Date": None} if path.endswith(".svg") else None)
    pyplot.close(figure)
    print(f"drawn in {path}")
