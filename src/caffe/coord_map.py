"""How the coordinates of one top lie in another: pycaffe's ``caffe.coord_map``.

A map is a triple ``(axis, scale, shift)``: coordinate ``x`` along the axes behind `axis` becomes
``scale * x + shift``. `scale` and `shift` are numbers, or arrays with one number for each spatial
axis; `axis` is the last axis without coordinates (1 for N x C x H x W) and None where any will do.

With it a net written as a NetSpec crops one feature map to another without counting pixels::

    from caffe.coord_map import crop
    n.score = crop(n.upscore, n.data)
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

from . import homes
from .errors import CaffeError
from .guarded import guarded
from .layers.reach import Alignment
from .net_spec import Function, Top
from .net_spec import layers as L

if TYPE_CHECKING:
    from .layers.layer import Layer

Numbers = Any
"""One number, or an array with one for each spatial axis."""

CoordMap = tuple[int | None, Numbers, Numbers]

PASS_THROUGH_LAYERS: list[str]
"""Types of layers that keep coordinates, as the layers themselves say; names may be added."""

IDENTITY: CoordMap = (None, 1, 0)


def __getattr__(name: str) -> Any:
    if name != "PASS_THROUGH_LAYERS":
        return homes.imported(__name__, name, ("division",))
    # Only when it is asked for, as it loads PyTorch.
    from .layers.registry import registry

    found = sorted(kind for kind, layer in registry().items() if layer.keeps_coordinates())
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), "PASS_THROUGH_LAYERS"})


class UndefinedMapException(CaffeError):
    """The layer does not keep coordinates."""


class AxisMismatchException(CaffeError):
    """Two maps are about different axes."""


class CropError(CaffeError, AssertionError):
    """One top cannot be cropped to the other."""


@guarded
def conv_params(fn: Function) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """Return axis, stride, extent of the dilated kernel and padding of a sliding window layer.

    Raises
    ------
    CropError
        The kernel is not given as `kernel_size`, `stride` and `pad`.
    """
    params = _settings(fn)
    sides = {f"{p}_{s}" for p in ("kernel", "stride", "pad") for s in "hw"}
    sided = sorted((sides | {"pad_l", "pad_r", "pad_t", "pad_b", "pad_type"}) & set(params))
    if sided:
        raise CropError(
            f"{fn.type_name} gives {', '.join(sided)}; coordinate maps need kernel_size, stride "
            "and pad (a list where the axes differ)"
        )
    if "kernel_size" not in params:
        raise CropError(f"{fn.type_name} has no kernel_size")
    kernel = np.array(params["kernel_size"], ndmin=1)
    extent = (kernel - 1) * np.array(params.get("dilation", 1), ndmin=1) + 1
    stride = np.array(params.get("stride", 1), ndmin=1)
    return params.get("axis", 1), stride, extent, np.array(params.get("pad", 0), ndmin=1)


@guarded
def crop_params(fn: Function) -> tuple[int, np.ndarray]:
    """Return axis (2 unless given) and offset of a Crop layer."""
    params = _settings(fn)
    return params.get("axis", 2), np.array(params.get("offset", 0), ndmin=1)


@guarded
def coord_map(fn: Function) -> CoordMap:
    """Return the map from a layer's bottom to its top.

    Raises
    ------
    UndefinedMapException
        The layer does not keep coordinates (InnerProduct, global pooling).
    """
    layer = _class_of(fn)
    if fn.type_name in globals().get("PASS_THROUGH_LAYERS", ()) or layer.keeps_coordinates():
        return IDENTITY
    if layer.alignment is Alignment.CUT:
        first_cropped, offset = crop_params(fn)
        return first_cropped - 1, 1, -offset
    if layer.alignment is Alignment.SPREAD:
        axis, stride, extent, pad = conv_params(fn)
        return axis, stride, (extent - 1) / 2 - pad
    if layer.alignment is Alignment.WINDOWS and not _settings(fn).get("global_pooling", False):
        axis, stride, extent, pad = conv_params(fn)
        return axis, 1 / stride, (pad - (extent - 1) / 2) / stride
    raise UndefinedMapException(f"{fn.type_name} does not keep coordinates")


def _class_of(fn: Function) -> type[Layer]:
    """The layer's class; `Layer` itself, which says nothing, where the type is not known."""
    # Only here, as it loads PyTorch.
    from .layers.layer import Layer
    from .layers.registry import registry

    return registry().get(fn.type_name, Layer)


def _settings(fn: Function) -> dict[str, Any]:
    """What is said of the layer, whether in its parameter message or beside it."""
    message = _class_of(fn).message
    found: dict[str, Any] = fn.params if message is None else fn.params.get(message, fn.params)
    return found


@guarded
def compose(base_map: CoordMap, next_map: CoordMap) -> CoordMap:
    """Return the map that is `next_map` first and `base_map` after it.

    Raises
    ------
    AxisMismatchException
        The maps are about different axes.
    """
    base_axis, base_scale, base_shift = base_map
    next_axis, next_scale, next_shift = next_map
    if None not in (base_axis, next_axis) and base_axis != next_axis:
        raise AxisMismatchException(
            f"a map about axis {base_axis} cannot be composed with one about axis {next_axis}"
        )
    axis = next_axis if base_axis is None else base_axis
    return axis, base_scale * next_scale, base_scale * next_shift + base_shift


@guarded
def inverse(coord_map: CoordMap) -> CoordMap:
    """Return the map the other way round."""
    axis, scale, shift = coord_map
    return axis, 1 / scale, -shift / scale


@guarded
def coord_map_from_to(top_from: Top, top_to: Top) -> CoordMap:
    """Return the map that takes coordinates of `top_from` to those of `top_to`.

    Both are traced back to a top that they come from together; where there are several ways,
    they are taken to agree.

    Raises
    ------
    CaffeError
        Layers that keep coordinates do not connect the two.
    AxisMismatchException
        On the way lie maps about different axes.
    CropError
        A kernel on the way is given by its sides.

    Examples
    --------
    >>> from caffe import layers as L
    >>> data = L.Input(shape=dict(dim=[1, 1, 8, 8]))
    >>> half = L.Pooling(L.Convolution(data, kernel_size=3), kernel_size=2, stride=2)
    >>> axis, scale, shift = coord_map_from_to(half, data)
    >>> axis, scale.tolist(), shift.tolist()
    (1, [2.0], [1.5])
    """
    sources = _maps_back(top_from)
    for ancestor, way in _maps_back(top_to).items():
        if ancestor in sources:
            return compose(way, inverse(sources[ancestor]))
    raise CaffeError(
        f"there is no map from the {top_from.fn.type_name} top to the {top_to.fn.type_name} top; "
        "are they connected by layers that keep coordinates?"
    )


def _maps_back(top: Top) -> dict[Top, CoordMap]:
    """Return the tops that `top` is made from, nearest first, with the map from each to `top`."""
    maps = {top: IDENTITY}
    frontier = deque([top])
    while frontier:
        current = frontier.popleft()
        try:
            step = coord_map(current.fn)
        except UndefinedMapException:
            continue
        cuts = _class_of(current.fn).alignment is Alignment.CUT
        for bottom in current.fn.inputs[:1] if cuts else current.fn.inputs:
            if bottom not in maps:
                maps[bottom] = compose(maps[current], step)
                frontier.append(bottom)
    return maps


@guarded
def crop(top_from: Top, top_to: Top) -> Top:
    """Return a Crop layer's top: `top_from` cut to the size and place of `top_to`.

    Raises
    ------
    CropError
        The two have different strides, or `top_from` would have to be cut by a negative or
        broken number of pixels.
    CaffeError
        As from `coord_map_from_to`.
    """
    axis, scale, shift = coord_map_from_to(top_from, top_to)
    scale, shift = np.atleast_1d(scale), np.atleast_1d(shift)
    pair = f"cannot crop the {top_from.fn.type_name} top to the {top_to.fn.type_name} top"
    if not (scale == 1).all():
        raise CropError(f"{pair}: its scale differs, by {_listed(scale)} (it must be 1)")
    if not (shift <= 0).all():
        raise CropError(f"{pair}: the offset would be negative, {_listed(-shift)}; pad it more")
    if not (shift == np.round(shift)).all():
        raise CropError(f"{pair}: the offset would be no whole number, {_listed(-shift)}")
    offset = [int(pixels) for pixels in -shift]
    first_cropped = 2 if axis is None else axis + 1
    cropped: Top = L.Crop(top_from, top_to, crop_param={"axis": first_cropped, "offset": offset})
    return cropped


def _listed(numbers: np.ndarray) -> str:
    return ", ".join(f"{number:g}" for number in numbers)
