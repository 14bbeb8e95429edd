"""How pictures go into nets that find objects: guessed from the net's text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import CaffeError
from ..io.recipe import LETTERBOX, SHORTER_SIDE, STRETCH, SWAPS, THE_INPUT, PictureRecipe
from ..proto.caffe_pb2 import LayerParameter, NetParameter

SAYABLE_FITS = (STRETCH, LETTERBOX)

ROWS, MAPS, REGIONS, OFFSETS = "rows", "maps", "regions", "offsets"
"""The kinds of nets: with a layer of detections, with YOLO's maps, with classified regions, and
with boxes and scores that nobody has thinned out yet."""

SSD_MEAN = (104.0, 117.0, 123.0)
RCNN_MEAN = (102.9801, 115.9465, 122.7717)
PELEE_MEAN = (103.94, 116.78, 123.68)


def guess_preparation(net: NetParameter, kind: str, shape: tuple[int, ...]) -> PictureRecipe:
    """Guess how pictures go into a net, each value with what it is guessed from.

    Parameters
    ----------
    net : NetParameter
        The net, upgraded.
    kind : {"rows", "maps", "regions", "offsets"}
        How it ends.
    shape : tuple of int
        Its input's shape, (num, channels, height, width).

    Notes
    -----
    What is known of the nets that were published: SSD subtracts 104, 117, 123; nets of depthwise
    convolutions (MobileNet-SSD and its kin) take values from -1 to 1; PeleeNet scales by 0.017;
    YOLO takes RGB from 0 to 1, in darknet's letterbox; Faster R-CNN and R-FCN bring the shorter
    side to 600; UltraFace takes RGB, 127 subtracted and divided by 128; nets of one channel take
    grey from 0 to 1. A `transform_param` that stands in the text goes before all of them.
    """
    channels, size = shape[1], (shape[2], shape[3])
    said = _said(net, channels)
    if said is not None and channels != 1 and kind != REGIONS:
        guess = _recipe("Caffe's usual", "bgr")
    else:
        guess = _by_kind(net, kind, channels)
    if said is not None:
        mean, scale = said
        guess = guess.changed("transform_param in the net's text", mean=mean, input_scale=scale)
    return guess if guess.image_dims is not None else guess.changed(THE_INPUT, image_dims=size)


def _by_kind(net: NetParameter, kind: str, channels: int) -> PictureRecipe:
    """What nets of a kind usually take."""
    if channels == 1:
        return _recipe("a net of one channel", "grey", (0.0,), 1 / 255)
    if kind == REGIONS:
        why = "an R-CNN: regions are classified"
        guess = _recipe(why, "bgr", RCNN_MEAN)
        return guess.changed(why, image_dims=(600, 1000), fit=SHORTER_SIDE)
    if kind == MAPS:
        why = "YOLO's maps, as darknet feeds them"
        return _recipe(why, "rgb", (0.0,) * 3, 1 / 255).changed(why, fit=LETTERBOX)
    if kind == OFFSETS:
        return _recipe("boxes and scores of UltraFace", "rgb", (127.0,) * 3, 1 / 128)
    if "pelee" in net.name.lower():
        return _recipe("PeleeNet by its name", "bgr", PELEE_MEAN, 0.017)
    if any(_is_depthwise(layer) for layer in net.layer):
        why = "depthwise convolutions: MobileNet's values"
        return _recipe(why, "bgr", (127.5,) * 3, 1 / 127.5)
    return _recipe("an SSD net", "bgr", SSD_MEAN)


def _recipe(
    why: str, order: str, mean: tuple[float, ...] = (0.0,), scale: float = 1.0
) -> PictureRecipe:
    return PictureRecipe(
        mean=mean,
        channel_swap=SWAPS[order],
        input_scale=scale,
        image_dims=None,
        crop=None,
        channels=1 if order == "grey" else 3,
        reasons=dict.fromkeys(("mean", "channel_swap", "input_scale"), why),
    )


def settle_preparation(
    guess: PictureRecipe, said: Mapping[str, Any], reasons: Mapping[str, str]
) -> PictureRecipe:
    """Put what was said in the place of what was guessed.

    Parameters
    ----------
    guess : PictureRecipe
        The guess.
    said : mapping
        `ObjectDetector`'s mean, scale, order, size and fit; None where nothing was said.
    reasons : mapping of str to str
        Who said so, by the same names; "as said" where it is not here.

    Raises
    ------
    CaffeError
        A value does not fit the net.
    """
    channels = guess.channels
    order, fit, mean, size = (said.get(name) for name in ("order", "fit", "mean", "size"))
    if order is not None and (order not in SWAPS or (order == "grey") != (channels == 1)):
        raise CaffeError(
            f"the order of channels must be bgr or rgb for a net of 3 channels and grey for "
            f"one of 1, not {order!r}; this one has {channels}"
        )
    if fit is not None and fit not in SAYABLE_FITS:
        raise CaffeError(f"fit must be {' or '.join(SAYABLE_FITS)}, not {fit!r}")
    if size is not None and (len(size) != 2 or min(size) < 1):
        raise CaffeError(f"the size must be a height and a width, not {tuple(size)}")
    values: dict[str, tuple[str, Any]] = {}
    if mean is not None:
        numbers = tuple(np.atleast_1d(np.asarray(mean, dtype=float)).tolist())
        if len(numbers) not in (1, channels):
            raise CaffeError(f"the mean has {len(numbers)} numbers, but the net {channels}")
        values["mean"] = "mean", numbers * (channels // len(numbers))
    if said.get("scale") is not None:
        values["input_scale"] = "scale", float(said["scale"])
    if order is not None:
        values["channel_swap"] = "order", SWAPS[order]
    if size is not None:
        values["image_dims"] = "size", (int(size[0]), int(size[1]))
    if fit is not None:
        values["fit"] = "fit", fit
    settled = guess
    for name, (option, value) in values.items():
        settled = settled.changed(reasons.get(option, "as said"), **{name: value})
    return settled


def _said(net: NetParameter, channels: int) -> tuple[tuple[float, ...], float] | None:
    """Mean and scale of a transform_param in the text, where there is one that says them."""
    for layer in net.layer:
        param = layer.transform_param
        given = layer.HasField("transform_param") and (param.mean_value or param.HasField("scale"))
        if given and len(param.mean_value) in (0, 1, channels):
            mean = tuple(param.mean_value) or (0.0,)
            return mean * (channels // len(mean)), param.scale
    return None


def _is_depthwise(layer: LayerParameter) -> bool:
    # Only here, as it loads PyTorch.
    from ..layers.convolution import Convolution, ConvolutionDepthwise
    from ..layers.layer import Layer
    from ..layers.registry import registry

    kind, param = registry().get(layer.type, Layer), layer.convolution_param
    if issubclass(kind, ConvolutionDepthwise):
        return True
    return issubclass(kind, Convolution) and 8 <= param.group == param.num_output
