"""Boxes: how much they overlap, thinning them out, and offsets from boxes that are known.

A box is (x1, y1, x2, y2). Boxes in parts of a picture have the width x2 - x1; boxes in pixels,
where `pixels` is 1, reach over their last pixel and have the width x2 - x1 + 1.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..errors import CaffeError, ShapeError
from ..proto.caffe_pb2 import PriorBoxParameter

CORNER = PriorBoxParameter.CORNER
CENTER_SIZE = PriorBoxParameter.CENTER_SIZE
CORNER_SIZE = PriorBoxParameter.CORNER_SIZE

LARGEST_EXPONENT = 87.0

BLOCK = 256
"""So many boxes are compared with one another at a time."""


def overlaps(a: Tensor, b: Tensor, pixels: float = 0) -> Tensor:
    """Return the intersection over the union of each box of `a` with each of `b`.

    Parameters
    ----------
    a, b : Tensor
        (N, 4) and (M, 4).
    pixels : float
        1 where boxes are in pixels and include their last one.

    Returns
    -------
    Tensor
        (N, M); 0 where boxes do not meet.
    """
    sides = torch.minimum(a[:, None, 2:], b[:, 2:]) - torch.maximum(a[:, None, :2], b[:, :2])
    sides = sides.add_(pixels).clamp_(min=0)
    shared = sides[..., 0] * sides[..., 1]
    union = areas(a, pixels)[:, None] + areas(b, pixels) - shared
    return torch.where(shared > 0, shared / union, torch.zeros_like(shared))


def areas(boxes: Tensor, pixels: float = 0) -> Tensor:
    """Return the areas of boxes (N, 4); 0 for those that are turned inside out."""
    width, height = (boxes[:, 2:] - boxes[:, :2]).unbind(1)
    area = (width + pixels) * (height + pixels)
    return torch.where((width < 0) | (height < 0), torch.zeros_like(area), area)


def non_maximum_suppression(
    boxes: Tensor,
    threshold: float,
    *,
    most: int | None = None,
    pixels: float = 0,
    eta: float = 1,
) -> Tensor:
    """Return which boxes stay when each drops those after it that overlap it too much.

    Parameters
    ----------
    boxes : Tensor
        (N, 4), the best first.
    threshold : float
        A box goes that shares more than this part of the union with one that stays.
    most : int, optional
        No more than so many stay.
    pixels : float
        1 where boxes are in pixels and include their last one.
    eta : float
        What the threshold is multiplied by after each box that stays, while it is above 0.5.

    Returns
    -------
    Tensor
        The indices of those that stay, in order; int64, on the boxes' device.
    """
    # One decision follows from another, so that there is nothing for a GPU to do.
    candidates = boxes.detach().cpu()
    most = len(candidates) if most is None else most
    kept: list[int] = []
    for start in range(0, len(candidates), BLOCK):
        if len(kept) >= most:
            break
        block = candidates[start : start + BLOCK]
        worst = np.zeros(len(block), dtype=np.float64)
        if kept:
            worst = overlaps(candidates[kept], block, pixels).amax(0).double().numpy()
        among = overlaps(block, block, pixels).double().numpy()
        for i in range(len(block)):
            # Written so that the overlap of infinite boxes, which is no number, is too much.
            if not worst[i] <= threshold:
                continue
            kept.append(start + i)
            if len(kept) >= most:
                break
            np.maximum(worst, among[i], out=worst)
            if eta < 1 and threshold > 0.5:
                threshold *= eta
    return torch.tensor(kept, dtype=torch.int64, device=boxes.device)


def encode(boxes: Tensor, priors: Tensor, code_type: int) -> Tensor:
    """Return the offsets that `decode` makes `boxes` of, all (..., 4)."""
    if code_type == CORNER:
        return boxes - priors
    if code_type == CORNER_SIZE:
        return (boxes - priors) / _sizes(priors).repeat(1, 2)
    sizes = _sizes(priors)
    moved = (_centers(boxes) - _centers(priors)) / sizes
    return torch.cat([moved, ((boxes[..., 2:] - boxes[..., :2]) / sizes).log()], -1)


def decode(offsets: Tensor, priors: Tensor, code_type: int) -> Tensor:
    """Return the boxes that offsets from priors stand for.

    CORNER: box = prior + offset. CORNER_SIZE: box = prior + offset * prior's size. CENTER_SIZE:
    centre = prior's + offset * prior's size, size = prior's * exp(offset).

    Parameters
    ----------
    offsets : Tensor
        (..., 4), the variances already multiplied in.
    priors : Tensor
        (..., 4)
    code_type : PriorBoxParameter.CodeType
        Which of the three.
    """
    if code_type == CORNER:
        return priors + offsets
    sizes = _sizes(priors)
    if code_type == CORNER_SIZE:
        return priors + offsets * torch.cat([sizes, sizes], -1)
    centers = offsets[..., :2] * sizes + _centers(priors)
    half = growth(offsets[..., 2:]) * sizes / 2
    return torch.cat([centers - half, centers + half], -1)


def growth(logarithms: Tensor) -> Tensor:
    """Return exp(logarithms), but no infinity: nets that are not trained have any offsets."""
    return logarithms.clamp(max=LARGEST_EXPONENT).exp()


def read_priors(blob: Tensor) -> tuple[Tensor, Tensor]:
    """Return the boxes and the variances, both (P, 4), of PriorBox's top (1, 2, 4 P)."""
    boxes, variances = blob.reshape(2, -1, 4)
    return boxes, variances


def count_priors(shape: tuple[int, ...], name: str) -> int:
    """Return how many priors a blob of PriorBox's form holds.

    Raises
    ------
    ShapeError
        It has not that form.
    """
    if len(shape) != 3 or shape[0] != 1 or shape[1] != 2 or shape[2] % 4:
        raise ShapeError(
            f"{name} must be PriorBox's top, of shape (1, 2, 4 * priors), but its shape is {shape}"
        )
    return shape[2] // 4


def check_priors(priors: Tensor, code_type: int) -> None:
    """Refuse priors without width or height where offsets are measured by them.

    Raises
    ------
    CaffeError
        The text names the first such prior.
    """
    if code_type == CORNER:
        return
    flat = ~(_sizes(priors) > 0).all(-1)
    if bool(flat.any()):
        index = int(flat.nonzero()[0, -1])
        box = ", ".join(f"{value:g}" for value in priors.reshape(-1, 4)[index].tolist())
        raise CaffeError(f"prior {index} has no width or no height: ({box})")


def _sizes(boxes: Tensor) -> Tensor:
    return boxes[..., 2:] - boxes[..., :2]


def _centers(boxes: Tensor) -> Tensor:
    return (boxes[..., :2] + boxes[..., 2:]) / 2
