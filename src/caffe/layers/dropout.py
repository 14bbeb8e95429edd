"""Dropout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from .. import mode
from ..errors import CaffeError, NetError
from ..memory.blob import Shape
from ..phases import TRAIN
from ..proto.caffe_pb2 import DropoutParameter, LayerParameter, SpatialDropoutParameter
from ..pytorch import torch
from .layer import Layer, Tensors, register

if TYPE_CHECKING:
    from torch import Tensor

D = TypeVar("D", bound=DropoutParameter | SpatialDropoutParameter)
"""The messages of Dropout and its relatives."""


class Dropping(Layer[D]):
    """What Dropout and its relatives share."""

    family = "activation"
    pointwise = True

    @property
    def draws(self) -> bool:
        return self.phase == TRAIN

    @property
    def is_pure(self) -> bool:
        return not self.draws

    @property
    def repeats(self) -> bool:
        return True

    @property
    def scales_at_train(self) -> bool:
        """Whether TRAIN makes up for what is dropped, or else TEST."""
        return bool(getattr(self.param, "scale_train", True))

    def mask_shape(self, bottom: Shape) -> Sequence[int]:
        """The shape of what is drawn, spread over the bottom."""
        return bottom

    @property
    def passes_on(self) -> bool:
        return not self.draws and self.scales_at_train

    def setup(self, *bottoms: Shape) -> None:
        self.drawn = None
        if not 0 <= self.param.dropout_ratio < 1:
            raise NetError(
                f"dropout_ratio must be at least 0 and below 1, not {self.param.dropout_ratio:g}"
            )

    def forward(self, x: Tensor) -> Tensor:
        kept = 1 - self.param.dropout_ratio
        if not self.draws:
            return x if self.scales_at_train else x * kept
        mask = self.drawn if self.runs_again else None
        if mask is None:
            mask = self.draw(tuple(x.shape), x.dtype, x.device)
        return x * mask

    def draw(self, bottom: Shape, dtype: torch.dtype, device: torch.device) -> Tensor:
        kept = 1 - self.param.dropout_ratio
        drawn = torch.empty(self.mask_shape(bottom), dtype=torch.float32, device=device)
        drawn.bernoulli_(kept, generator=mode.generator_on(device))
        self.drawn = drawn.to(dtype) / (kept if self.scales_at_train else 1)
        return self.drawn

    def backward(
        self, diffs: Tensors, tops: Tensors, inputs: Tensors, needs: Sequence[bool]
    ) -> Tensors:
        # By the mask that forward drew.
        if self.draws:
            if self.drawn is None:
                raise CaffeError("backward needs a forward before it: its mask is taken")
            return [diffs[0] * self.drawn]
        return [self.forward(diffs[0])]


@register("Dropout")
class Dropout(Dropping[DropoutParameter]):
    """At TRAIN zero with the probability dropout_ratio, else x / (1 - dropout_ratio); at TEST x.

    Srivastava et al., 2014. Without scale_train x stays as it is at TRAIN, and TEST scales by
    what is kept on average. With sample_weights_test TEST does as TRAIN (Bayesian SegNet).
    """

    message = "dropout_param"
    differences = "scale_train and sample_weights_test of the forks"
    takes_short_numbers = True
    asks_no_values = True

    @classmethod
    def for_param(cls, layer_param: LayerParameter) -> type[Layer]:
        return SamplingDropout if layer_param.dropout_param.sample_weights_test else cls


class SamplingDropout(Dropping[DropoutParameter]):
    """Dropout at TEST too, so that each forward of a Bayesian net gives another answer."""

    message = "dropout_param"
    draws = True


@register("SpatialDropout")
class SpatialDropout(Dropping[SpatialDropoutParameter]):
    """Dropout of whole channels (Tompson et al., 2015)."""

    message = "spatial_dropout_param"
    passes_on = Dropping.passes_on
    differences = "of the forks"
    trains_unseen = True

    def mask_shape(self, bottom: Shape) -> Sequence[int]:
        return (*bottom[:2], *[1] * (len(bottom) - 2))
