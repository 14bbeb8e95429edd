"""Where in a picture a class is seen, by several methods, and which class each place shows."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from ..attribution import integrated_gradients_map, occlusion_map, saliency_map
from ..attribution.gradients import Map
from ..errors import CaffeError
from ..io.annotate import to_picture
from ..net.net import Net
from ..segmenter import Segmentation, color_of
from .drawn import heat, png
from .inside import check_layer, seen
from .loaded import Loaded, Task
from .look import Look
from .pictures import SentPicture
from .refusals import Refusal

METHODS = ("grad-cam", "saliency", "integrated-gradients", "occlusion")
SQUARES_ACROSS = 4
"""The side of what hides a part of the picture, as a part of it; it moves by half of that."""
STEPS = 16
LARGEST_MASK = 800
TAIL = 99.5
"""Of a map of single pixels so many of a hundred lie below what is brightest."""
ASKED_AT = {"classes": "/classify", "boxes": "/detect", "areas": "/segment", "maps": "/responses"}
DOES = {
    "classes": "names a picture's classes",
    "boxes": "finds objects and draws boxes around them",
    "areas": "tells of each place what is there",
    "maps": "makes maps of numbers and names no classes; look inside shows them",
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
            maker, found = look.grad_cam(class_index, layer)
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


def areas(picture: SentPicture, found: Segmentation) -> dict[str, Any]:
    """Which class each place of a picture shows, and how much of it each class covers."""
    classes = found.classes
    drawn = np.zeros((*classes.shape, 4), np.uint8)
    rows = []
    for area in found.areas():
        colour = color_of(area.label)
        drawn[classes == area.label] = (*colour, 255 if any(colour) else 0)
        rows.append(
            {
                "index": area.label,
                "label": area.name,
                "share": area.share,
                "colour": "#{:02x}{:02x}{:02x}".format(*colour),
            }
        )
    small = to_picture(picture.pixels / np.float32(picture.white)).resize(classes.shape[::-1])
    return {
        "classes": rows,
        "shape": list(classes.shape),
        "mask": png(Image.fromarray(drawn)),
        "seen": png(small),
    }


def shown_size(picture: SentPicture) -> tuple[int, int]:
    """Width and height in which areas are shown: the picture's, or less where that is large."""
    height, width = picture.pixels.shape[:2]
    share = min(1.0, LARGEST_MASK / max(height, width))
    return max(1, round(width * share)), max(1, round(height * share))
