"""Boxes: how much they overlap, thinning them out, and offsets from boxes that are known.

A box is (x1, y1, x2, y2). Boxes in parts of a picture have the width x2 - x1; boxes in pixels,
where `pixels` is 1, reach over their last pixel and have the width x2 - x1 + 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import CaffeError, ShapeError
from ...proto.caffe_pb2 import PriorBoxParameter
from ...pytorch import torch
from ..asking import is_any

if TYPE_CHECKING:
    from torch import Tensor

CORNER = PriorBoxParameter.CORNER
CENTER_SIZE = PriorBoxParameter.CENTER_SIZE
CORNER_SIZE = PriorBoxParameter.CORNER_SIZE

LARGEST_EXPONENT = 87.0

ShareOf = Literal["union", "smaller", "better"]
"""Of what two boxes share a part: of their union, of the smaller or of the better one."""

BLOCK = 128
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
    kept = suppress(boxes.detach().cpu().numpy(), threshold, most=most, pixels=pixels, eta=eta)
    return torch.from_numpy(kept).to(boxes.device)


def suppress(
    boxes: np.ndarray,
    threshold: float,
    *,
    most: int | None = None,
    pixels: float = 0,
    eta: float = 1,
    share_of: ShareOf = "union",
    sizes: NDArray[np.float32] | None = None,
) -> NDArray[np.int64]:
    """Do what `non_maximum_suppression` does, with arrays.

    Parameters
    ----------
    boxes, threshold, most, pixels, eta
        As there.
    share_of : {"union", "smaller", "better"}
        Of what the threshold is a part.
    sizes : array, optional
        The boxes' areas (N), where they are known more exactly than from their corners.
    """
    most = len(boxes) if most is None else most
    corners = np.ascontiguousarray(boxes.T)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        sizes = _area(corners, pixels) if sizes is None else sizes
        kept: list[NDArray[np.int64]] = []
        count = 0
        for start in range(0, len(boxes), BLOCK):
            if count >= most:
                break
            index = np.arange(start, min(start + BLOCK, len(boxes)))
            if kept and not eta < 1:
                # Most boxes go here: only the others are compared with one another.
                before = np.concatenate(kept)
                among = _overlap_of(corners, sizes, before, index, pixels, share_of)
                index = index[(among <= threshold).all(0)]
            if not len(index):
                continue
            own = np.concatenate([*kept, index]) if eta < 1 else index
            among = _overlap_of(corners, sizes, own, index, pixels, share_of)
            chosen, threshold = _choose(among, len(own) - len(index), threshold, eta, most - count)
            kept.append(index[chosen])
            count += len(chosen)
    return np.concatenate(kept) if kept else np.zeros(0, np.int64)


def _choose(
    among: np.ndarray, before: int, threshold: float, eta: float, most: int
) -> tuple[list[int], float]:
    """Which boxes of a block stay: `among` is their overlap with `before` others and each other."""
    chosen: list[int] = []
    if eta < 1:
        worst = among[:before].max(0, initial=0)
        for i in range(among.shape[1]):
            # Written so that the overlap of infinite boxes, which is no number, is too much.
            if len(chosen) < most and worst[i] <= threshold:
                chosen.append(i)
                np.maximum(worst, among[before + i], out=worst)
                if threshold > 0.5:
                    threshold *= eta
        return chosen, threshold
    alive = np.ones(among.shape[1], bool)
    fits = among <= threshold
    for i in range(len(alive)):
        if alive[i]:
            chosen.append(i)
            if len(chosen) >= most:
                break
            np.logical_and(alive, fits[i], out=alive)
    return chosen, threshold


def _area(corners: np.ndarray, pixels: float) -> np.ndarray:
    """The areas of boxes, corners first (4, N)."""
    width, height = corners[2] - corners[0], corners[3] - corners[1]
    return np.where((width < 0) | (height < 0), 0, (width + pixels) * (height + pixels))


def _overlap_of(
    corners: np.ndarray,
    sizes: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    pixels: float,
    share_of: ShareOf,
) -> np.ndarray:
    """The overlaps of the boxes `a` with the worse boxes `b`, (A, B), as `overlaps` has them."""
    shared = np.minimum(corners[2, a, None], corners[2, b])
    shared -= np.maximum(corners[0, a, None], corners[0, b])
    high = np.minimum(corners[3, a, None], corners[3, b])
    high -= np.maximum(corners[1, a, None], corners[1, b])
    if pixels:
        shared += pixels
        high += pixels
    np.maximum(shared, 0, out=shared)
    np.maximum(high, 0, out=high)
    shared *= high
    if share_of == "union":
        whole = np.add(sizes[a, None], sizes[b], out=high)
        whole -= shared
    elif share_of == "smaller":
        whole = np.minimum(sizes[a, None], sizes[b], out=high)
    else:
        whole = sizes[a, None]
    # Boxes without area do not overlap: 0 / 0 is not asked.
    parts: np.ndarray = np.divide(shared, whole, out=np.zeros_like(shared), where=~(shared <= 0))
    return parts


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
    if is_any(flat):
        index = int(flat.nonzero()[0, -1])
        box = ", ".join(f"{value:g}" for value in priors.reshape(-1, 4)[index].tolist())
        raise CaffeError(f"prior {index} has no width or no height: ({box})")


def _sizes(boxes: Tensor) -> Tensor:
    return boxes[..., 2:] - boxes[..., :2]


def _centers(boxes: Tensor) -> Tensor:
    return (boxes[..., :2] + boxes[..., 2:]) / 2
