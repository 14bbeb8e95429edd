"""A net's structure, filters, responses and reasons, as JSON with small pictures in it."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .. import mode
from ..attribution import grad_cam_map, last_spatial_blob
from ..errors import CaffeError
from ..net.net import Net
from ..structure.summary import summarize
from .models import Loaded
from .refusals import Refusal

LARGEST_TILE = 160
LARGEST_MATRIX = 512
MOST_VALUES = 50_000
SCALES = ("each", "all")
# Black, violet, red, orange, pale yellow: the brighter the more, also for the colour-blind.
_RAMP = ((8, 6, 24), (86, 20, 110), (188, 50, 84), (248, 142, 30), (252, 252, 176))
_HEAT = (
    (40, 10, 80),
    (120, 28, 109),
    (220, 60, 60),
    (250, 140, 10),
    (250, 200, 50),
    (252, 255, 164),
)

Pixels = NDArray[np.uint8]


def structure(loaded: Loaded) -> dict[str, Any]:
    """A net's layers in running order, with what can be shown of each."""
    net = loaded.inside
    found = summarize(net).as_dict()
    for layer in found["layers"]:
        shapes = layer["shapes"]
        layer["in_place"] = bool(set(layer["bottoms"]) & set(layer["tops"]))
        layer["responses"] = _kind(shapes[0]) if shapes else None
        layer["filters"] = layer["name"] in net.params
    return {
        **found,
        "input": list(net.blobs[net.inputs[0]].shape),
        "classes": int(math.prod(net.blobs[net.outputs[0]].shape[1:])),
        "grad_cam_layer": _or_none(lambda: _maker(net, last_spatial_blob(net))),
    }


def seen(loaded: Loaded, crops: NDArray[np.float32]) -> str:
    """What the net sees of a picture, upright and in colour, as a data address."""
    classifier = loaded.classifier
    pixels = classifier.transformer.deprocess(classifier.inputs[0], crops[0])
    levels = np.clip(np.rint(pixels * 255), 0, 255).astype(np.uint8)
    return _png(Image.fromarray(levels if levels.shape[2] == 3 else levels[:, :, 0]))


def filters(loaded: Loaded, name: str, first: int, count: int) -> dict[str, Any]:
    """A layer's filters; filters of three channels on a net's pictures in colour.

    Raises
    ------
    Refusal
        There is no such layer, or it has no parameters (404).
    """
    net = loaded.inside
    _check_layer(net, name)
    if name not in net.params:
        raise Refusal(404, "no_filters", f"layer '{name}' has no parameters")
    weights = net.params[name][0].data
    answer: dict[str, Any] = {
        "layer": name,
        "shape": list(weights.shape),
        "low": _number(weights.min()),
        "high": _number(weights.max()),
        "black": _number(weights.min()),
        "white": _number(weights.max()),
        "scale": "all",
    }
    if weights.ndim == 4 and weights.shape[2] * weights.shape[3] > 1:
        return {**answer, **_filter_tiles(loaded, name, weights, first, count)}
    matrix = weights.reshape(weights.shape[0], -1) if weights.ndim else weights.reshape(1, 1)
    if 1 in matrix.shape:
        return {**answer, "kind": "values", **_values(weights)}
    # Of so many numbers some will do, and the means of neighbours would all be grey.
    step = math.ceil(max(matrix.shape) / LARGEST_MATRIX)
    matrix = matrix[::step, ::step]
    # The least and the most are rare: between them all would be grey, too.
    middle, spread = float(matrix.mean()), 3 * float(matrix.std())
    answer |= {"black": _number(middle - spread), "white": _number(middle + spread)}
    levels = _levels(matrix[np.newaxis], answer["black"], answer["white"])
    return {
        **answer,
        "kind": "matrix",
        "step": step,
        **_mosaic(levels, None),
        "total": 1,
        "first": 0,
        "maps": _facts(matrix[np.newaxis], ["weights"]),
    }


def _filter_tiles(
    loaded: Loaded, name: str, weights: NDArray[np.float32], first: int, count: int
) -> dict[str, Any]:
    inputs = weights.shape[1]
    in_colour = inputs == 3 and _reads_pictures(loaded, name)
    if in_colour:
        tiles = weights.transpose(0, 2, 3, 1)
        swap = loaded.classifier.recipe.channel_swap
        if swap is not None:
            tiles = tiles[..., np.argsort(swap)]
    else:
        tiles = weights.reshape(-1, *weights.shape[2:])
    chosen = tiles[first : first + count]
    alone = in_colour or inputs == 1
    names = [
        f"filter {i}" if alone else f"filter {i // inputs}, input {i % inputs}"
        for i in range(first, first + len(chosen))
    ]
    return {
        "kind": "colour" if in_colour else "grey",
        **_mosaic(_levels(chosen, _number(weights.min()), _number(weights.max())), None),
        "total": len(tiles),
        "first": first,
        "maps": _facts(chosen, names),
    }


def responses(
    loaded: Loaded, crops: NDArray[np.float32], name: str, first: int, count: int, scale: str
) -> dict[str, Any]:
    """What a layer makes of a picture: maps, or values where it has no height and width.

    The net runs up to this layer, so that a blob that later layers run on in place is shown as
    this one leaves it.

    Parameters
    ----------
    loaded : Loaded
        The model.
    crops : numpy.ndarray
        1 x the shape of the input's items.
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
    net = loaded.inside
    _check_layer(net, name)
    if not net.top_names[name]:
        raise Refusal(404, "no_responses", f"layer '{name}' has no top")
    mode.set_engine("layerwise")
    _put(net, crops)
    top = net.top_names[name][0]
    array = net.forward(end=name)[top]
    values = array[0] if array.ndim > 1 else array
    answer: dict[str, Any] = {
        "layer": name,
        "blob": top,
        "shape": list(array.shape),
        "low": _number(values.min()),
        "high": _number(values.max()),
        "scale": scale,
    }
    if _kind(array.shape) == "values":
        labels = loaded.labels
        named = labels is not None and len(labels) == values.size
        return {**answer, "kind": "values", "classes": named, **_values(values)}
    chosen = values[first : first + count]
    low, high = (answer["low"], answer["high"]) if scale == "all" else (None, None)
    answer |= {"black": low, "white": high}
    levels = _shrunk(_levels(chosen, low, high), LARGEST_TILE)
    names = [f"map {i}" for i in range(first, first + len(chosen))]
    return {
        **answer,
        "kind": "maps",
        **_mosaic(levels, _RAMP),
        "total": len(values),
        "first": first,
        "maps": _facts(chosen, names),
    }


def grad_cam(
    loaded: Loaded, crops: NDArray[np.float32], class_index: int, name: str | None
) -> dict[str, Any]:
    """Where in a picture a class is seen, by a layer's maps; the last ones unless one is named.

    Raises
    ------
    Refusal
        There is no such class or layer (404), or the layer has no maps that the class comes from
        (422).
    """
    net = loaded.inside
    classes = math.prod(net.blobs[net.outputs[0]].shape[1:])
    if not 0 <= class_index < classes:
        reason = f"there is no class {class_index}; they are numbered 0 to {classes - 1}"
        raise Refusal(404, "no_class", reason)
    blob = None
    if name is not None:
        _check_layer(net, name)
        blob = next(iter(net.top_names[name]), "")
    _put(net, crops)
    try:
        found = grad_cam_map(net, blob, class_index)
        blob = blob or last_spatial_blob(net)
    except CaffeError as error:
        raise Refusal(422, "no_grad_cam", str(error)) from error
    heat = _colours(_HEAT)[np.rint(found * 255).astype(np.uint8)]
    # What counts little is left clear: the picture is to be recognised below.
    alpha = np.rint(np.clip(found * 1.1 - 0.1, 0, 1) ** 0.6 * 225).astype(np.uint8)
    return {
        "class": class_index,
        "label": loaded.label(class_index),
        "layer": name or _maker(net, blob),
        "blob": blob,
        "shape": list(found.shape),
        "found": bool(found.any()),
        "map": _png(Image.fromarray(np.dstack([heat, alpha]))),
        "seen": seen(loaded, crops),
    }


def _put(net: Net, crops: NDArray[np.float32]) -> None:
    net.blobs[net.inputs[0]].data[...] = crops


def _check_layer(net: Net, name: str) -> None:
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


def _reads_pictures(loaded: Loaded, name: str) -> bool:
    net = loaded.inside
    return any(
        bottom == net.inputs[0] or bottom.startswith(f"{net.inputs[0]}_")
        for bottom in net.bottom_names[name]
    )


def _number(value: Any) -> float | None:
    """A number for JSON, which has no infinity."""
    return float(f"{float(value):.6g}") if math.isfinite(value) else None


def _facts(maps: NDArray[Any], names: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "low": _number(one.min()),
            "high": _number(one.max()),
            "mean": _number(one.mean()),
        }
        for name, one in zip(names, maps, strict=True)
    ]


def _values(values: NDArray[Any]) -> dict[str, Any]:
    flat = np.ravel(values)
    return {"total": int(flat.size), "values": [_number(v) for v in flat[:MOST_VALUES]]}


def _levels(maps: NDArray[Any], low: float | None, high: float | None) -> Pixels:
    """Grey levels between two values, or of each map between its own least and most."""
    finite = np.nan_to_num(maps.astype(np.float32))
    axes = tuple(range(1, finite.ndim))
    least = finite.min(axes, keepdims=True) if low is None else np.float32(low)
    most = finite.max(axes, keepdims=True) if high is None else np.float32(high)
    span = np.maximum(most - least, np.float32(1e-30))
    levels: Pixels = np.clip(np.rint((finite - least) / span * 255), 0, 255).astype(np.uint8)
    return levels


def _shrunk(tiles: Pixels, largest: int) -> Pixels:
    height, width = tiles.shape[1:3]
    if max(height, width) <= largest or not len(tiles):
        return tiles
    share = largest / max(height, width)
    size = (max(1, round(width * share)), max(1, round(height * share)))
    resized = [Image.fromarray(tile).resize(size, Image.Resampling.BOX) for tile in tiles]
    return np.stack([np.asarray(tile) for tile in resized])


def _mosaic(tiles: Pixels, ramp: Sequence[Sequence[int]] | None) -> dict[str, Any]:
    """Tiles side by side in one picture, and how to cut them out again."""
    if not len(tiles):
        return {"tiles": None, "columns": 0, "tile": list(tiles.shape[1:3])}
    height, width = tiles.shape[1:3]
    columns = math.ceil(math.sqrt(len(tiles)))
    rows = math.ceil(len(tiles) / columns)
    whole = np.zeros((rows * height, columns * width, *tiles.shape[3:]), np.uint8)
    for i, tile in enumerate(tiles):
        y, x = divmod(i, columns)
        whole[y * height : (y + 1) * height, x * width : (x + 1) * width] = tile
    picture = Image.fromarray(whole)
    if ramp is not None:
        picture.putpalette(_colours(ramp).tobytes())
    return {"tiles": _png(picture), "columns": columns, "tile": [height, width]}


def _colours(ramp: Sequence[Sequence[int]]) -> Pixels:
    """256 colours along a ramp."""
    stops = np.asarray(ramp, dtype=np.float32)
    at = np.linspace(0, 1, len(stops))
    along = np.linspace(0, 1, 256)
    return np.stack([np.interp(along, at, stops[:, i]) for i in range(3)], 1).astype(np.uint8)


def _png(picture: Image.Image) -> str:
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
