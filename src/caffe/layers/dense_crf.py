"""Fully connected conditional random fields over the places of a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from ..errors import CaffeError, NetError, ShapeError
from ..memory.blob import Blob, Shape
from ..proto.caffe_pb2 import DenseCRFParameter, MultiStageMeanfieldParameter
from ..pytorch import torch
from .axes import picture_size
from .layer import Layer, Parameter, register
from .permutohedral import PermutohedralLattice
from .softmax_loss import LEAST_FLOAT

if TYPE_CHECKING:
    from torch import Tensor

Smoothing: TypeAlias = "Callable[[Tensor], Tensor]"
"""From values of places, (places, channels), to weighted means of all places' values."""


MOST_ROUNDS = 10_000
"""How many rounds a net may ask for; a field that has not settled by then never does."""


def _check_rounds(name: str, rounds: int) -> None:
    if rounds > MOST_ROUNDS:
        raise NetError(f"{name} is {rounds}, but at most {MOST_ROUNDS} rounds are computed")


def smoothing(points: Tensor) -> Smoothing:
    """Return the means of all places' values by nearness of their points, (places, dimensions)."""
    lattice = PermutohedralLattice(points)
    norm = lattice.smooth(points.new_ones(len(points), 1)) + 1e-20
    return lambda values: lattice.smooth(values) / norm


def places(height: int, width: int, like: Tensor) -> Tensor:
    """Return column and row of each place, (height * width, 2)."""
    row = torch.arange(height, dtype=like.dtype, device=like.device)
    column = torch.arange(width, dtype=like.dtype, device=like.device)
    y, x = torch.meshgrid(row, column, indexing="ij")
    return torch.stack([x, y], -1).view(-1, 2)


@register("DenseCRF")
class DenseCRF(Layer[DenseCRFParameter]):
    """Probabilities that fit the scores and their neighbours' (Krahenbuhl and Koltun, 2011).

    Bottoms: scores (N, C, H, W), the height and width of each picture (N, 2 or more), and the
    picture (N, 3, H, W), which the kernels of bi_w need. Each of max_iter rounds computes Q =
    softmax(scores + sum of w * the kernel's mean of Q). A picture that is smaller than the blob
    fills its upper left corner, and the rest of the top is 0 (DeepLab).
    """

    message = "dense_crf_param"
    bottoms = (2, 3)
    has_gradient = False
    no_gradient_for = frozenset({0, 1, 2})
    differences = "of the forks"
    forbids_in_place = True

    def setup(self, *bottoms: Shape) -> None:
        param = self.param
        for names in (("pos_w", "pos_xy_std"), ("bi_w", "bi_xy_std", "bi_rgb_std")):
            if len({len(getattr(param, name)) for name in names}) > 1:
                raise NetError(f"{', '.join(names)} must have as many numbers")
        _check_rounds("max_iter", param.max_iter)
        if min([1.0, *param.pos_xy_std, *param.bi_xy_std, *param.bi_rgb_std]) <= 0:
            raise NetError("standard deviations must be positive")
        if len(bottoms) > 2 and not param.bi_w:
            raise NetError("there is a picture, but no bi_w for it")

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        scores, sizes = bottoms[:2]
        picture_size(scores)
        if sizes[0] != scores[0] or torch.Size(sizes[1:]).numel() < 2:
            raise ShapeError(
                f"{scores[0]} pictures need a height and a width each, not a bottom of shape "
                f"{sizes}"
            )
        if len(bottoms) > 2 and bottoms[2] != (scores[0], 3, *scores[2:]):
            raise ShapeError(
                f"scores of shape {scores} need a picture of the shape "
                f"{(scores[0], 3, *scores[2:])}, not {bottoms[2]}"
            )
        return [scores]

    def forward(self, scores: Tensor, sizes: Tensor, *picture: Tensor) -> Tensor:
        top = torch.zeros_like(scores)
        for i, size in enumerate(sizes.reshape(len(scores), -1)[:, :2].tolist()):
            height, width = self._effective(size, (scores.shape[2], scores.shape[3]), i)
            inside = (..., slice(height), slice(width))
            unary = scores[i][inside].flatten(1).T
            found = self._inferred(unary, [x[i][inside] for x in picture], height, width)
            if not self.param.output_probability:
                found = found.clamp(min=LEAST_FLOAT).log()
            top[i][inside] = found.T.reshape(-1, height, width)
        return top

    def _effective(self, size: Sequence[float], blob: tuple[int, int], i: int) -> tuple[int, int]:
        height, width = map(int, size)
        if height >= blob[0] and width >= blob[1]:
            return blob
        if not (0 < height <= blob[0] and 0 < width <= blob[1]):
            raise CaffeError(
                f"picture {i} is said to be {size[0]:g} high and {size[1]:g} wide, but the scores "
                f"have {blob[0]} x {blob[1]} places"
            )
        return height, width

    def _inferred(
        self, unary: Tensor, picture: Sequence[Tensor], height: int, width: int
    ) -> Tensor:
        """Probabilities (places, classes) from scores of that shape."""
        param, at = self.param, places(height, width, unary)
        kernels = [
            (w, smoothing(at / deviation))
            for w, deviation in zip(param.pos_w, param.pos_xy_std, strict=True)
        ]
        for colours in picture:
            near = colours.flatten(1).T
            kernels += [
                (w, smoothing(torch.cat([at / of_places, near / of_colours], 1)))
                for w, of_places, of_colours in zip(
                    param.bi_w, param.bi_xy_std, param.bi_rgb_std, strict=True
                )
            ]
        found = unary.softmax(1)
        for _ in range(param.max_iter):
            found = (unary + sum(w * kernel(found) for w, kernel in kernels)).softmax(1)
        return found


@dataclass
class Diagonal(Parameter):
    """A square matrix that starts with one number on its diagonal, and zeros elsewhere."""

    value: float = 0.0

    def blob(self) -> Blob:
        def fill(flat: Tensor) -> None:
            side = self.shape[-1]
            flat.view(side, side).fill_diagonal_(self.value)

        return Blob(self.shape, fill)


@register("MultiStageMeanfield")
class MultiStageMeanfield(Layer[MultiStageMeanfieldParameter]):
    """Rounds of mean field as a recurrent net with learned weights (Zheng et al., CRF-RNN, 2015).

    Bottoms: scores U (N, C, H, W), the scores to begin with, and the picture (N, 3, H, W). Each of
    num_iterations rounds computes Q = softmax(S), then S = U - M (W1 k1(Q) + W2 k2(Q)), k1 and k2
    being means among near places (theta_gamma pixels) and among near ones of like colour
    (theta_alpha pixels, theta_beta of the picture's values). Parameters are the C x C matrices
    W1, W2 and M, which start with spatial_filter_weight, bilateral_filter_weight and -1 on
    their diagonals; the top is the last S.
    """

    message = "multi_stage_meanfield_param"
    bottoms = 3
    no_gradient_for = frozenset({2})
    differences = "of the forks; no files spatial.par and bilateral.par are read"
    forbids_in_place = True

    def setup(self, *bottoms: Shape) -> None:
        param = self.param
        if param.num_iterations < 2:
            raise NetError(f"num_iterations must be above 1, not {param.num_iterations}")
        _check_rounds("num_iterations", param.num_iterations)
        if min(param.theta_alpha, param.theta_beta, param.theta_gamma) <= 0:
            raise NetError("theta_alpha, theta_beta and theta_gamma must be positive")

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        shape = (1, 1, bottoms[0][1], bottoms[0][1])
        spatial, bilateral = self.param.spatial_filter_weight, self.param.bilateral_filter_weight
        return [Diagonal(shape, value=value) for value in (spatial, bilateral, -1.0)]

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        scores, start, picture = bottoms
        picture_size(scores)
        if start != scores or picture != (scores[0], 3, *scores[2:]):
            raise ShapeError(
                f"scores of shape {scores} need a start of that shape and a picture of "
                f"{(scores[0], 3, *scores[2:])}, not {start} and {picture}"
            )
        if self.blobs and self.blobs[0].shape[-1] != scores[1]:
            raise ShapeError(
                f"the matrices are for {self.blobs[0].shape[-1]} classes, "
                f"but the scores now have {scores[1]}"
            )
        return [scores]

    def forward(
        self,
        scores: Tensor,
        start: Tensor,
        picture: Tensor,
        spatial: Tensor,
        bilateral: Tensor,
        compatibility: Tensor,
    ) -> Tensor:
        param = self.param
        at = places(scores.shape[2], scores.shape[3], scores)
        near = smoothing(at / param.theta_gamma) if scores.numel() else None
        matrices = [blob.view(blob.shape[-2:]) for blob in (spatial, bilateral, compatibility)]
        tops = []
        for unary, first, colours in zip(scores, start, picture, strict=True):
            assert near is not None
            colour = colours.flatten(1).T / param.theta_beta
            alike = smoothing(torch.cat([at / param.theta_alpha, colour], 1))
            step = partial(self._step, unary.flatten(1).T, (near, alike), matrices)
            found = first.flatten(1).T
            for _ in range(param.num_iterations):
                found = step(found)
            tops.append(found.T.reshape(unary.shape))
        return torch.stack(tops) if tops else torch.zeros_like(scores)

    @staticmethod
    def _step(
        unary: Tensor,
        kernels: tuple[Smoothing, Smoothing],
        matrices: Sequence[Tensor],
        scores: Tensor,
    ) -> Tensor:
        """One round, on (places, classes)."""
        found = scores.softmax(1)
        spatial, bilateral, compatibility = matrices
        message = kernels[0](found) @ spatial.T + kernels[1](found) @ bilateral.T
        return unary - message @ compatibility.T
