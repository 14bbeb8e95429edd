"""Where in a picture a class is seen, by several methods, and which class each place shows."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..attribution import integrated_gradients_map, occlusion_map, saliency_map
from ..attribution.gradients import Map
from ..errors import CaffeError
from ..io.annotate import color_of
from ..net.net import Net
from .drawn import heat, png
from .inside import check_layer, seen
from .loaded import Loaded, Task
from .look import Look
from .refusals import Refusal

METHODS = ("grad-cam", "saliency", "integrated-gradients", "occlusion")
SQUARES_ACROSS = 4
"""The side of what hides a part of the picture, as a part of it; it moves by half of that."""
STEPS = 16
TAIL = 99.5
"""Of a map of single pixels so many of a hundred lie below what is brightest."""
ASKED_AT = {"classes": "/classify", "boxes": "/detect", "areas": "/segment"}
DOES = {
    "classes": "names a picture's classes",
    "boxes": "finds objects and draws boxes around them",
    "areas": "tells of each place what is there",
}
Progress = Callable[[int, int], None]


def check_task(name: str, task: Task, wanted: Task) -> None:
    """Raise Refusal (422) where a model does something else than what it is asked for."""
    if task != wanted:
        raise Refusal(422, "other_task", f"{name} {DOES[task]}: ask {ASKED_AT[task]}")


def explain(
    look: Look, method: str, class_index: int, layer: str | None, seconds: float
) -> dict[str, Any]:
    """Where in a picture a class is seen.

    Parameters
    ----------
    look : Look
        The model, one that classifies, and the picture.
    method : str
        One of `METHODS`.
    class_index : int
        The class.
    layer : str or None
        For Grad-CAM, whose maps; the last ones unless one is named.
    seconds : float
        How long it may take.

    Raises
    ------
    Refusal
        There is no such class or layer (404), it is no classifier or the layer has no maps that
        the class comes from (422), or it takes too long (503).
    """
    loaded = look.loaded
    check_task(look.name, loaded.task, "classes")
    assert isinstance(loaded, Loaded)
    classes = int(np.prod(loaded.inside.blobs[loaded.inside.outputs[0]].shape[1:]))
    if not 0 <= class_index < classes:
        reason = f"there is no class {class_index}; they are numbered 0 to {classes - 1}"
        raise Refusal(404, "no_class", reason)
    if layer is not None:
        check_layer(loaded.inside, layer)
    try:
        maker: str | None = None
        if method == METHODS[0]:
            look.run()
            maker, found = loaded.kept.grad_cam(class_index, layer)
        else:
            found = _beside(look, loaded, method, class_index, _within(seconds))
    except Refusal:
        raise
    except CaffeError as error:
        raise Refusal(422, "no_grad_cam", str(error)) from error
    return {
        "by": method,
        "class": class_index,
        "label": loaded.label(class_index),
        **({} if maker is None else {"layer": maker, "blob": loaded.inside.top_names[maker][0]}),
        "shape": list(found.shape),
        "found": bool(found.any()),
        "map": heat(found),
        "seen": seen(loaded, look.prepared.crops),
    }


def _beside(look: Look, loaded: Loaded, method: str, index: int, progress: Progress) -> Map:
    """A map by one of the methods that run the net anew, from 0 to 1."""
    net: Net = loaded.inside
    for name, values in loaded.inputs(look.prepared.crops).items():
        net.blobs[name].data[...] = values.numpy()
    if method == "saliency":
        return _scaled(saliency_map(net, index), TAIL)
    if method == "integrated-gradients":
        return _scaled(integrated_gradients_map(net, index, steps=STEPS, progress=progress), TAIL)
    size = max(1, min(net.blobs[net.inputs[0]].shape[2:]) // SQUARES_ACROSS)
    return _scaled(occlusion_map(net, index, size=size, progress=progress), 100)


def _scaled(found: Map, tail: float) -> Map:
    """What speaks for the class, from 0 to 1."""
    most = float(np.percentile(found, tail))
    if most <= 0:
        most = float(found.max())
    return np.clip(found / most, 0, 1) if most > 0 else np.zeros_like(found)


def _within(seconds: float) -> Progress:
    """What ends a method that takes too long: nobody waits for its answer any more."""
    end = time.monotonic() + seconds

    def progress(_: int, __: int) -> None:
        if time.monotonic() > end:
            raise Refusal(503, "slow", f"this took longer than {seconds:g} s", retry_after=10)

    return progress


def areas(loaded: Loaded, values: NDArray[np.float32]) -> dict[str, Any]:
    """Which class each place of a picture shows, and how much of it each class covers.

    Parameters
    ----------
    loaded : Loaded
        The model.
    values : numpy.ndarray
        Its output for a picture, flat.

    Raises
    ------
    Refusal
        It has no classes but one map of numbers (422).
    """
    shape = loaded.classifier.blobs[loaded.classifier.outputs[0]].shape[1:]
    maps = values.reshape(shape)
    if loaded.holds_labels:
        classes = maps[0].astype(np.int64)
    elif shape[0] > 1:
        classes = maps.argmax(0)
    else:
        reason = "this net ends in one map of numbers and tells no classes; look inside shows it"
        raise Refusal(422, "no_classes", reason)
    found, counts = np.unique(classes, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    drawn = np.zeros((*classes.shape, 4), np.uint8)
    rows = []
    for i in order:
        index = int(found[i])
        colour = color_of(index)
        drawn[classes == index] = (*colour, 0 if index == 0 else 255)
        rows.append(
            {
                "index": index,
                "label": loaded.label(index),
                "share": float(counts[i] / classes.size),
                "colour": "#{:02x}{:02x}{:02x}".format(*colour),
            }
        )
    return {"classes": rows, "shape": list(classes.shape), "mask": png(Image.fromarray(drawn))}
