"""A net's structure, parameters and responses, as JSON with small pictures in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..attribution import last_spatial_blob
from ..errors import CaffeError
from ..net.net import Net
from ..structure.summary import summarize
from .drawn import RAMP, facts, levels, mosaic, number, png, shrunk, statistics, values_of
from .loaded import AnyLoaded, Crops, Loaded
from .look import Look
from .refusals import Refusal

LARGEST_TILE = 160
LARGEST_MATRIX = 512
NEARLY_NOTHING = 1e-4
"""Of the strongest filter's norm: what is weaker is called dead."""
SCALES = ("each", "all")


def structure(loaded: AnyLoaded) -> dict[str, Any]:
    """A net's layers in running order, with what can be shown of each."""
    net = loaded.inside
    found = structure_of(summarize(net).as_dict())
    for layer in found["layers"]:
        layer["filters"] = layer["name"] in net.params
    classes = math.prod(net.blobs[net.outputs[0]].shape[1:])
    return {
        **found,
        "task": loaded.task,
        "input": list(net.blobs[net.inputs[0]].shape),
        "classes": int(classes) if loaded.task == "classes" else None,
        "grad_cam_layer": _or_none(lambda: _maker(net, last_spatial_blob(net))),
    }


def structure_of(summary: dict[str, Any]) -> dict[str, Any]:
    """A net's summary, with what the page wants to know of each layer."""
    for layer in summary["layers"]:
        shapes = layer["shapes"]
        layer["in_place"] = bool(set(layer["bottoms"]) & set(layer["tops"]))
        layer["responses"] = _kind(shapes[0]) if shapes and shapes[0] is not None else None
    return summary


def seen(loaded: Loaded, crops: Crops) -> str:
    """What the net sees of a picture, upright and in colour, as a data address."""
    return png(Image.fromarray(loaded.pixels(crops)))


def filters(loaded: AnyLoaded, name: str, first: int, count: int, blob: int = 0) -> dict[str, Any]:
    """A layer's filters; filters of three channels on a net's pictures in colour.

    Parameters
    ----------
    loaded : Loaded or LoadedDetector
        The model.
    name : str
        The layer.
    first, count : int
        Which of its filters.
    blob : int
        Which of its parameters: 0 are the weights, 1 often the bias.

    Raises
    ------
    Refusal
        There is no such layer, or it has no such parameters (404).
    """
    net = loaded.inside
    check_layer(net, name)
    if name not in net.params or blob >= len(net.params[name]):
        what = f"no parameters {blob}" if name in net.params else "no parameters"
        raise Refusal(404, "no_filters", f"layer '{name}' has {what}")
    in_colour = loaded.swap if _reads_pictures(net, name) and not blob else False
    return weights_shown(name, net.params[name][blob].data, first, count, in_colour)


def weights_shown(
    name: str,
    weights: NDArray[np.float32],
    first: int,
    count: int,
    in_colour: Sequence[int] | bool | None = False,
) -> dict[str, Any]:
    """Parameters as tiles, a matrix or values, with how they are spread.

    Parameters
    ----------
    name : str
        The layer.
    weights : numpy.ndarray
        One of its parameters.
    first, count : int
        Which filters.
    in_colour : sequence of int, None or False
        False where filters do not read pictures in colour; else the order of their channels, None
        where it is red, green, blue.
    """
    low, high = (number(weights.min()), number(weights.max())) if weights.size else (None, None)
    answer: dict[str, Any] = {
        "layer": name,
        "shape": list(weights.shape),
        "low": low,
        "high": high,
        "black": low,
        "white": high,
        "scale": "all",
        "statistics": statistics(weights),
    }
    if weights.ndim == 4 and weights.shape[2] * weights.shape[3] > 1:
        return {**answer, **_filter_tiles(weights, first, count, in_colour)}
    matrix = weights.reshape(weights.shape[0], -1) if weights.ndim else weights.reshape(1, 1)
    if 1 in matrix.shape or not weights.size:
        return {**answer, "kind": "values", **values_of(weights)}
    # Of so many numbers some will do, and the means of neighbours would all be grey.
    step = math.ceil(max(matrix.shape) / LARGEST_MATRIX)
    matrix = matrix[::step, ::step]
    # The least and the most are rare: between them all would be grey, too.
    middle, spread = float(matrix.mean()), 3 * float(matrix.std())
    answer |= {"black": number(middle - spread), "white": number(middle + spread)}
    grey = levels(matrix[np.newaxis], answer["black"], answer["white"])
    return {
        **answer,
        "kind": "matrix",
        "step": step,
        **mosaic(grey, None),
        "total": 1,
        "first": 0,
        "maps": facts(matrix[np.newaxis], ["weights"]),
    }


def _filter_tiles(
    weights: NDArray[np.float32], first: int, count: int, swap: Sequence[int] | bool | None
) -> dict[str, Any]:
    inputs = weights.shape[1]
    in_colour = inputs == 3 and swap is not False
    if in_colour:
        tiles = weights.transpose(0, 2, 3, 1)
        if isinstance(swap, Sequence):
            tiles = tiles[..., np.argsort(swap)]
    else:
        tiles = weights.reshape(-1, *weights.shape[2:])
    chosen = tiles[first : first + count]
    alone = in_colour or inputs == 1
    names = [
        f"filter {i}" if alone else f"filter {i // inputs}, input {i % inputs}"
        for i in range(first, first + len(chosen))
    ]
    norms = np.sqrt(np.square(weights.reshape(len(weights), -1)).sum(1))
    dead = norms <= norms.max(initial=0) * NEARLY_NOTHING
    each = 1 if alone else inputs
    maps = facts(chosen, names)
    for i, one in enumerate(maps, first):
        one["dead"] = bool(dead[i // each])
    return {
        "kind": "colour" if in_colour else "grey",
        **mosaic(levels(chosen, number(weights.min()), number(weights.max())), None),
        "total": len(tiles),
        "first": first,
        "dead": int(dead.sum()),
        "maps": maps,
    }


def responses(look: Look, name: str, first: int, count: int, scale: str) -> dict[str, Any]:
    """What a layer makes of a picture: maps, or values where it has no height and width.

    A blob that later layers run on in place is shown as this layer leaves it.

    Parameters
    ----------
    look : Look
        The model and the picture.
    name : str
        The layer.
    first, count : int
        Which of its maps.
    scale : {"each", "all"}
        Whether black and white are each map's own least and most, or those of all maps.

    Raises
    ------
    Refusal
        There is no such layer (404), or it has no top.
    """
    loaded, net = look.loaded, look.loaded.inside
    check_layer(net, name)
    if not net.top_names[name]:
        raise Refusal(404, "no_responses", f"layer '{name}' has no top")
    top = look.tops()[name]
    array = top.numpy()
    values = array[0] if array.ndim > 1 and len(array) else array
    answer: dict[str, Any] = {
        "layer": name,
        "blob": net.top_names[name][0],
        "shape": list(array.shape),
        "low": number(values.min()) if values.size else None,
        "high": number(values.max()) if values.size else None,
        "scale": scale,
        "statistics": statistics(values),
    }
    if _kind(array.shape) == "values" or not values.size:
        labels = loaded.labels
        named = labels is not None and len(labels) == values.size
        return {**answer, "kind": "values", "classes": named, **values_of(values)}
    chosen = values[first : first + count]
    low, high = (answer["low"], answer["high"]) if scale == "all" else (None, None)
    answer |= {"black": low, "white": high}
    tiles = shrunk(levels(chosen, low, high), LARGEST_TILE)
    maps = facts(chosen, [f"map {i}" for i in range(first, first + len(chosen))])
    dead = (values.reshape(len(values), -1) == 0).all(axis=1)
    for i, one in enumerate(maps, first):
        one["dead"] = bool(dead[i])
    return {
        **answer,
        "kind": "maps",
        **mosaic(tiles, RAMP),
        "total": len(values),
        "first": first,
        "dead": int(dead.sum()),
        "maps": maps,
    }


def check_layer(net: Net, name: str) -> None:
    """Raise Refusal (404) where a net has no layer of this name."""
    if name not in net.layer_dict:
        raise Refusal(404, "no_layer", f"the net has no layer '{name}'")


def _maker(net: Net, blob: str) -> str:
    """The last layer that writes a blob."""
    return [name for name, tops in net.top_names.items() if blob in tops][-1]


def _or_none(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except CaffeError:
        return None


def _kind(shape: Sequence[int]) -> str:
    return "maps" if len(shape) == 4 and shape[2] * shape[3] > 1 else "values"


def _reads_pictures(net: Net, name: str) -> bool:
    return any(
        bottom == net.inputs[0] or bottom.startswith(f"{net.inputs[0]}_")
        for bottom in net.bottom_names[name]
    )
