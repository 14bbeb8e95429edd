"""What SSD's data layer does to pictures together with their boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...errors import ShapeError
from ...proto.caffe_pb2 import (
    BatchSampler,
    DistortionParameter,
    EmitConstraint,
    ResizeParameter,
    SampleConstraint,
    Sampler,
    TransformationParameter,
)
from .bgr_pictures import resize_cubic, resize_picture, resize_to_nearest

Box = NDArray[np.float32]
"""x1, y1, x2, y2 in parts of the picture."""

FILTERS: dict[int, Image.Resampling] = {
    ResizeParameter.AREA: Image.Resampling.BOX,
    ResizeParameter.LANCZOS4: Image.Resampling.LANCZOS,
}
"""What in Pillow is nearest to some of OpenCV's ways of resizing; the others are in ours."""

PADDINGS: dict[int, Literal["reflect", "edge"]] = {
    ResizeParameter.MIRRORED: "reflect",
    ResizeParameter.REPEAT_NEAREST: "edge",
}


@dataclass(frozen=True)
class BoxedPicture:
    """A picture and its boxes.

    Attributes
    ----------
    pixels : array
        Channels x height x width, BGR.
    rows : array
        (boxes, 7): label, instance, x1, y1, x2, y2 in parts of the picture, difficult.
    """

    pixels: NDArray[np.uint8]
    rows: NDArray[np.float32]


def label_rows(pictures: Sequence[BoxedPicture]) -> NDArray[np.float32]:
    """Return a batch's boxes as (1, 1, boxes, 8), the picture's number first; or a row of -1."""
    rows = [
        np.concatenate([np.full((len(p.rows), 1), i, np.float32), p.rows], 1)
        for i, p in enumerate(pictures)
    ]
    every = np.concatenate(rows)
    return (every if len(every) else np.full((1, 8), -1, np.float32))[None, None]


def mirror(picture: BoxedPicture) -> BoxedPicture:
    """Swap left and right."""
    rows = picture.rows.copy()
    rows[:, 2], rows[:, 4] = 1 - picture.rows[:, 4], 1 - picture.rows[:, 2]
    return BoxedPicture(picture.pixels[:, :, ::-1], rows)


def resize(
    picture: BoxedPicture, settings: TransformationParameter, random: np.random.Generator
) -> BoxedPicture:
    """Bring a picture to `resize_param`'s size, in one of its ways of interpolation."""
    param = settings.resize_param
    if not settings.HasField("resize_param") or random.random() >= param.prob:
        return picture
    modes = list(param.interp_mode) or [ResizeParameter.LINEAR]
    mode = modes[int(random.integers(len(modes)))]
    size = _size_in(picture.pixels.shape[1], picture.pixels.shape[2], param)
    pixels = resized(picture.pixels, *size, mode)
    if param.resize_mode != ResizeParameter.FIT_LARGE_SIZE_AND_PAD:
        return replace(picture, pixels=pixels)
    above, left = (param.height - size[0]) // 2, (param.width - size[1]) // 2
    sides = [(0, 0), (above, param.height - size[0] - above), (left, param.width - size[1] - left)]
    if param.pad_mode in PADDINGS:
        pixels = np.pad(pixels, sides, PADDINGS[param.pad_mode])
    else:
        canvas = _canvas(pixels, param.height, param.width, param.pad_value, "pad_value")
        canvas[:, above : above + size[0], left : left + size[1]] = pixels
        pixels = canvas
    rows = picture.rows.copy()
    rows[:, [2, 4]] = (rows[:, [2, 4]] * size[1] + left) / param.width
    rows[:, [3, 5]] = (rows[:, [3, 5]] * size[0] + above) / param.height
    return BoxedPicture(pixels, rows)


def _size_in(height: int, width: int, param: ResizeParameter) -> tuple[int, int]:
    """Return the size to which a picture is resized, what is put beside it not counted."""
    if param.resize_mode == ResizeParameter.WARP:
        return param.height, param.width
    # As in SSD in single precision, and rounded down.
    single = np.float32
    old, new = single(width) / single(height), single(param.width) / single(param.height)
    fits = param.resize_mode == ResizeParameter.FIT_LARGE_SIZE_AND_PAD
    if (old > new) if fits else (old < new):
        return max(1, int(single(param.width) / old)), param.width
    return param.height, max(1, int(old * single(param.height)))


def resized_size(height: int, width: int, param: ResizeParameter) -> tuple[int, int]:
    """Return the size of what `resize` makes of a picture."""
    if param.resize_mode == ResizeParameter.FIT_LARGE_SIZE_AND_PAD:
        return param.height, param.width
    return _size_in(height, width, param)


def resized(pixels: NDArray[np.uint8], height: int, width: int, mode: int) -> NDArray[np.uint8]:
    """Return a picture in another size, in one of ResizeParameter's ways of interpolation."""
    if mode == ResizeParameter.NEAREST:
        return resize_to_nearest(pixels, height, width)
    if mode == ResizeParameter.CUBIC:
        return resize_cubic(pixels, height, width)
    if mode not in FILTERS:
        return resize_picture(pixels, height, width)
    channels = [
        np.asarray(Image.fromarray(c).resize((width, height), FILTERS[mode]))
        for c in np.ascontiguousarray(pixels)
    ]
    return np.stack(channels)


def _canvas(
    pixels: NDArray[np.uint8], height: int, width: int, values: Sequence[float], field: str
) -> NDArray[np.uint8]:
    if len(values) not in (0, 1, len(pixels)):
        raise ShapeError(
            f"{field} has {len(values)} values for a picture of {len(pixels)} channels: give one, "
            "or one per channel"
        )
    color = np.broadcast_to(np.array(list(values) or [0], np.float32), (len(pixels),))
    filled = np.rint(np.clip(color, 0, 255)).astype(np.uint8)
    return np.repeat(filled, height * width).reshape(len(pixels), height, width)


def distort(
    picture: BoxedPicture, param: DistortionParameter, random: np.random.Generator
) -> BoxedPicture:
    """Change brightness, contrast, saturation and hue, each with its probability.

    What is grey has no saturation, hue or order of channels that could change.

    Raises
    ------
    ShapeError
        The picture is neither grey nor BGR.
    """
    channels = len(picture.pixels)
    if channels not in (1, 3):
        raise ShapeError(
            f"distort_param is for grey and BGR pictures, not for {channels} channels: say "
            "force_color or force_gray"
        )
    pixels = picture.pixels.astype(np.float32)

    def contrast() -> None:
        nonlocal pixels
        if random.random() < param.contrast_prob:
            pixels = _bytes(pixels * random.uniform(param.contrast_lower, param.contrast_upper))

    if random.random() < param.brightness_prob:
        delta = param.brightness_delta
        pixels = _bytes(pixels + random.uniform(-delta, delta))
    before = random.random() < 0.5
    if before:
        contrast()
    saturation, hue = 1.0, 0.0
    if random.random() < param.saturation_prob:
        saturation = random.uniform(param.saturation_lower, param.saturation_upper)
    if random.random() < param.hue_prob:
        hue = random.uniform(-param.hue_delta, param.hue_delta)
    if channels == 3 and (saturation, hue) != (1, 0):
        pixels = _tinted(pixels, saturation, hue)
    if not before:
        contrast()
    if random.random() < param.random_order_prob:
        pixels = pixels[random.permutation(channels)]
    return replace(picture, pixels=pixels.astype(np.uint8))


def _bytes(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.rint(np.clip(pixels, 0, 255))


def _tinted(pixels: NDArray[np.float32], saturation: float, hue: float) -> NDArray[np.float32]:
    """Saturation by a factor, and hue moved by half degrees, as OpenCV measures it."""
    rgb = np.ascontiguousarray(pixels[::-1].transpose(1, 2, 0)).astype(np.uint8)
    hsv = np.asarray(Image.fromarray(rgb, "RGB").convert("HSV")).astype(np.float32)
    hsv[..., 0] = (hsv[..., 0] + hue / 180 * 256) % 256
    hsv[..., 1] = np.clip(hsv[..., 1] * saturation, 0, 255)
    turned = Image.fromarray(hsv.astype(np.uint8), "HSV").convert("RGB")
    bgr: NDArray[np.float32] = np.asarray(turned).astype(np.float32).transpose(2, 0, 1)[::-1]
    return bgr


def expand(
    picture: BoxedPicture, settings: TransformationParameter, random: np.random.Generator
) -> BoxedPicture:
    """Lay the picture anywhere in a larger one of the mean's colour."""
    param = settings.expand_param
    if random.random() >= param.prob or param.max_expand_ratio <= 1:
        return picture
    ratio = random.uniform(1, param.max_expand_ratio)
    _, height, width = picture.pixels.shape
    tall, wide = int(height * ratio), int(width * ratio)
    above, left = (int(random.integers(n + 1)) for n in (tall - height, wide - width))
    canvas = _canvas(picture.pixels, tall, wide, settings.mean_value, "mean_value")
    canvas[:, above : above + height, left : left + width] = picture.pixels
    rows = picture.rows.copy()
    rows[:, [2, 4]] = (rows[:, [2, 4]] * width + left) / wide
    rows[:, [3, 5]] = (rows[:, [3, 5]] * height + above) / tall
    return BoxedPicture(canvas, rows)


def sample_part(
    picture: BoxedPicture, samplers: Sequence[BatchSampler], random: np.random.Generator
) -> Box | None:
    """Draw a part of the picture from those that its samplers find; None if they find none."""
    found: list[Box] = []
    for sampler in samplers:
        if not sampler.use_original_image:
            continue
        count = 0
        for _ in range(sampler.max_trials):
            if sampler.HasField("max_sample") and count >= sampler.max_sample:
                break
            part = _part(sampler.sampler, random)
            if _suits(part, picture.rows[:, 2:6], sampler.sample_constraint):
                found.append(part)
                count += 1
    return found[int(random.integers(len(found)))] if found else None


def _part(param: Sampler, random: np.random.Generator) -> Box:
    scale = random.uniform(param.min_scale, param.max_scale)
    ratio = random.uniform(param.min_aspect_ratio, param.max_aspect_ratio)
    # A part is no wider and no higher than the picture.
    ratio = min(max(ratio, scale**2), scale**-2)
    width, height = scale * ratio**0.5, scale / ratio**0.5
    x, y = random.uniform(0, max(0, 1 - width)), random.uniform(0, max(0, 1 - height))
    return np.array([x, y, x + width, y + height], np.float32)


def _suits(part: Box, boxes: Box, constraint: SampleConstraint) -> bool:
    """Whether the part has to do with some box what the constraint says.

    Where it says several things, SSD goes by the first of them alone.
    """
    if not constraint.ListFields():
        return True
    shared = _shared(part, boxes)
    own, theirs = _area(part[None]), _area(boxes)
    union = np.maximum(own + theirs - shared, 1e-12)
    measures = {
        "jaccard_overlap": shared / union,
        "sample_coverage": shared / np.maximum(own, 1e-12),
        "object_coverage": shared / np.maximum(theirs, 1e-12),
    }
    for name, values in measures.items():
        least, most = f"min_{name}", f"max_{name}"
        asked = [field for field in (least, most) if constraint.HasField(field)]
        if not asked:
            continue
        good = np.ones(len(boxes), bool)
        if least in asked:
            good &= values >= getattr(constraint, least)
        if most in asked:
            good &= values <= getattr(constraint, most)
        return bool(good.any())
    return True


def cut(picture: BoxedPicture, part: Box, settings: TransformationParameter) -> BoxedPicture:
    """Cut a part out; boxes stay that `emit_constraint` lets, as far as they are in it."""
    _, height, width = picture.pixels.shape
    x1, y1, x2, y2 = np.clip(part, 0, 1)
    left, right = int(x1 * width), max(int(x1 * width) + 1, int(x2 * width))
    top, bottom = int(y1 * height), max(int(y1 * height) + 1, int(y2 * height))
    rows, boxes = picture.rows, picture.rows[:, 2:6]
    stays = _shared(part, boxes) > 0
    if settings.HasField("emit_constraint"):
        emit = settings.emit_constraint
        if emit.emit_type == EmitConstraint.CENTER:
            centers = (boxes[:, :2] + boxes[:, 2:]) / 2
            stays &= ((centers >= part[:2]) & (centers <= part[2:])).all(1)
        else:
            stays &= _shared(part, boxes) / np.maximum(_area(boxes), 1e-12) > emit.emit_overlap
    rows = rows[stays].copy()
    size = np.array([x2 - x1, y2 - y1] * 2, np.float32)
    rows[:, 2:6] = np.clip((rows[:, 2:6] - [x1, y1, x1, y1]) / size, 0, 1)
    return BoxedPicture(picture.pixels[:, top:bottom, left:right], rows)


def _area(boxes: Box) -> NDArray[np.float32]:
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    area: NDArray[np.float32] = sides[:, 0] * sides[:, 1]
    return area


def _shared(part: Box, boxes: Box) -> NDArray[np.float32]:
    meeting = [np.maximum(part[:2], boxes[:, :2]), np.minimum(part[2:], boxes[:, 2:])]
    return _area(np.concatenate(meeting, 1))
