"""What transform_param says: within its limits, and nowhere passed over in silence."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence

from google.protobuf.message import Message

from ...errors import CaffeWarning, NetError
from ...proto.caffe_pb2 import BatchSampler, TransformationParameter

OF_BOXES = dict.fromkeys(
    ("expand_param", "emit_constraint"), "as in SSD: there are no boxes (see AnnotatedData)"
)
"""What does nothing in layers whose pictures have no boxes, and why."""

MOVING = (
    "resize_param",
    "max_rotation_angle",
    "min_side",
    "min_side_min",
    "min_side_max",
    "img_rand_resize_lower",
    "img_rand_resize_upper",
    "rand_resize_ratio_lower",
    "rand_resize_ratio_upper",
    "vertical_stretch_lower",
    "vertical_stretch_upper",
    "horizontal_stretch_lower",
    "horizontal_stretch_upper",
)
"""What turns or resizes pictures."""

CONTRAST = ("contrast_adjustment", "contrast_brightness_adjustment")

SWITCHES: Mapping[str, Sequence[str]] = {
    "min_contrast": CONTRAST,
    "max_contrast": CONTRAST,
    "max_brightness_shift": CONTRAST,
    "max_smooth": ("smooth_filtering",),
    "apply_probability": (*CONTRAST, "smooth_filtering", "max_color_shift"),
    "min_side_min": ("min_side_max",),
    "min_side_max": ("min_side_min",),
    "interpolation_algo_down": MOVING[5:],
    "interpolation_algo_up": MOVING[5:],
    "allow_upscale": MOVING[5:],
    "erase_min_area": ("erase_prob",),
    "erase_max_area": ("erase_prob",),
    "erase_min_aspect": ("erase_prob",),
}
"""Fields that say how, and those of which one says that it is done at all."""


def asked(param: Message) -> list[str]:
    """Return the fields that say something else than their defaults do."""
    return [
        field.name
        for field, value in param.ListFields()
        if field.message_type or value != field.default_value
    ]


def refuse(param: TransformationParameter, names: Iterable[str], why: str) -> None:
    """Refuse those of the fields that the text asks for.

    Raises
    ------
    NetError
        It asks for one of them.
    """
    wanted = set(names)
    found = [name for name in asked(param) if name in wanted]
    if found:
        which = ", ".join(f"transform_param.{name}" for name in found)
        raise NetError(f"{which}: {why}", word=found[0])


def warn_of_idle(
    param: TransformationParameter, layer: str, passed_over: Mapping[str, str]
) -> None:
    """Tell of the fields that do nothing in this layer.

    Parameters
    ----------
    param : TransformationParameter
        What the text says.
    layer : str
        The layer's name and type.
    passed_over : mapping
        Fields that the layer does not read, and why.

    Warns
    -----
    CaffeWarning
        There is such a field, or one whose switch is not in the text.
    """
    said = asked(param)
    for name in said:
        switches = SWITCHES.get(name, ())
        if name in passed_over:
            why = f"here, {passed_over[name]}"
        elif switches and not any(param.HasField(switch) for switch in switches):
            why = f"without {' or '.join(switches)}"
        else:
            continue
        warnings.warn(
            f"layer {layer}: transform_param.{name} does nothing {why}", CaffeWarning, stacklevel=2
        )


def check_values(param: TransformationParameter) -> None:
    """Check that chances, limits and sizes can be what they say.

    Raises
    ------
    NetError
        One cannot.
    """
    for name in ("apply_probability", "erase_prob", "erase_min_area", "erase_max_area"):
        _check_between(param, name, 0, 1)
    if not 0 < param.erase_min_aspect <= 1:
        raise NetError(
            f"erase_min_aspect must be above 0 and at most 1, not {param.erase_min_aspect:g}",
            word="erase_min_aspect",
        )
    _check_order(param, "min_contrast", "max_contrast")
    _check_order(param, "erase_min_area", "erase_max_area")
    _check_between(param, "max_smooth", 0, math.inf)
    if param.HasField("resize_param") and param.resize_param.prob:
        _check_resizing(param)
    if param.HasField("distort_param"):
        _check_distortion(param)
    if param.HasField("expand_param"):
        expand = param.expand_param
        _check_between(expand, "prob", 0, 1, "expand_param.")
        if expand.prob:
            _check_between(expand, "max_expand_ratio", 1, math.inf, "expand_param.")


def _check_resizing(param: TransformationParameter) -> None:
    resize = param.resize_param
    if not resize.height or not resize.width:
        raise NetError("resize_param needs height and width", word="resize_param")
    _check_between(resize, "prob", 0, 1, "resize_param.")


def _check_distortion(param: TransformationParameter) -> None:
    distort, place = param.distort_param, "distort_param."
    for kind in ("brightness", "contrast", "hue", "saturation", "random_order"):
        _check_between(distort, f"{kind}_prob", 0, 1, place)
    for name in ("brightness_delta", "hue_delta", "contrast_lower", "saturation_lower"):
        _check_between(distort, name, 0, math.inf, place)
    for kind in ("contrast", "saturation"):
        if getattr(distort, f"{kind}_prob"):
            _check_order(distort, f"{kind}_lower", f"{kind}_upper", place)
    if distort.contrast_prob and not distort.contrast_upper:
        raise NetError(
            f"{place}contrast_prob needs contrast_lower and contrast_upper: 0 makes pictures black",
            word="contrast_prob",
        )


def check_samplers(samplers: Sequence[BatchSampler]) -> None:
    """Check that SSD's samplers can draw parts of pictures.

    Raises
    ------
    NetError
        One cannot.
    """
    for number, batch_sampler in enumerate(samplers, 1):
        sampler, place = batch_sampler.sampler, f"batch_sampler {number}: sampler."
        for name in ("min_scale", "max_scale"):
            if not 0 < getattr(sampler, name) <= 1:
                raise NetError(
                    f"{place}{name} must be above 0 and at most 1, not {getattr(sampler, name):g}",
                    word=name,
                )
        for name in ("min_aspect_ratio", "max_aspect_ratio"):
            if not 0 < getattr(sampler, name) < math.inf:
                raise NetError(
                    f"{place}{name} must be above 0, not {getattr(sampler, name):g}", word=name
                )
        _check_order(sampler, "min_scale", "max_scale", place)
        _check_order(sampler, "min_aspect_ratio", "max_aspect_ratio", place)


def _check_between(param: Message, name: str, least: float, most: float, place: str = "") -> None:
    value = getattr(param, name)
    if not (least <= value <= most and math.isfinite(value)):
        limits = f"at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
        raise NetError(f"{place}{name} must be {limits}, not {value:g}", word=name)


def _check_order(param: Message, least: str, most: str, place: str = "") -> None:
    low, high = getattr(param, least), getattr(param, most)
    if not (low <= high and math.isfinite(low) and math.isfinite(high)):
        raise NetError(
            f"{place}{least} must not be above {most} ({low:g} and {high:g})", word=least
        )
