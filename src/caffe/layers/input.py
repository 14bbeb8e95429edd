"""Where values come from without a file, and where they end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from ..errors import NetError
from ..fillers import filler_for
from ..memory.blob import Blob, Shape
from ..proto.caffe_pb2 import (
    DummyDataParameter,
    FillerParameter,
    InputParameter,
    ParameterParameter,
)
from ..pytorch import torch
from ..vectors import BlobVec
from .layer import Layer, Parameter, register

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")


@register("Input")
class Input(Layer[InputParameter]):
    """Tops that the program writes into; their first shapes are given, and may be changed."""

    message = "input_param"
    family = "source"
    bottoms = 0
    tops = (1, None)
    is_given = True

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        count = len(self.layer_param.top)
        shapes = [tuple(shape.dim) for shape in self.param.shape] or [()]
        return _one_each(shapes, count, "shape")

    def forward(self) -> Sequence[Tensor]:
        return ()


@register("DummyData")
class DummyData(Layer[DummyDataParameter]):
    """Tops from fillers; all but constant ones are filled anew at each forward."""

    message = "dummy_data_param"
    family = "source"
    bottoms = 0
    tops = (1, None)
    on_blobs = True

    def declared_shapes(self) -> Sequence[Shape] | None:
        return self._shapes(len(self.layer_param.top))

    def setup_blobs(self, bottoms: list[Blob], tops: list[Blob]) -> None:
        fillers = list(self.param.data_filler) or [FillerParameter(type="constant")]
        self._fillers = _one_each(fillers, len(tops), "data_filler")
        for top, shape, filler in zip(tops, self._shapes(len(tops)), self._fillers, strict=True):
            top.reshape(*shape)
            if filler.type == "constant":
                _fill(top, filler)

    def forward_blobs(self, bottoms: list[Blob], tops: list[Blob]) -> None:
        for top, filler in zip(tops, self._fillers, strict=True):
            if filler.type != "constant":
                _fill(top, filler)

    def _shapes(self, count: int) -> Sequence[Shape]:
        axes = [self.param.num, self.param.channels, self.param.height, self.param.width]
        if any(axes):
            if self.param.shape:
                raise NetError("give shape or num, channels, height and width, not both")
            what = "num, channels, height and width"
            legacy = [_one_each(list(axis), count, what) for axis in axes]
            return list(zip(*legacy, strict=True))
        return _one_each([tuple(shape.dim) for shape in self.param.shape], count, "shape")


def _one_each(values: list[T], count: int, what: str) -> list[T]:
    """Return one value for each top, of one for all or one for each."""
    if len(values) not in (1, count):
        raise NetError(f"give {what} once or once per top: {len(values)} for {count} tops")
    return values * count if len(values) == 1 else values


def _fill(top: Blob, filler: FillerParameter) -> None:
    values = torch.empty(top.shape, dtype=torch.float32)
    filler_for(top.shape, filler)(values.view(-1))
    top.put_data(values)


@register("Parameter")
class ParameterLayer(Layer[ParameterParameter]):
    """A top that is itself a learned parameter, data and diff."""

    message = "parameter_param"
    family = "source"
    bottoms = 0
    on_blobs = True

    def setup_blobs(self, bottoms: list[Blob], tops: list[Blob]) -> None:
        self.blobs = BlobVec([Parameter(tuple(self.param.shape.dim)).blob()])
        tops[0].reshape(*self.blobs[0].shape)

    def forward_blobs(self, bottoms: list[Blob], tops: list[Blob]) -> None:
        tops[0].share_data(self.blobs[0])
        tops[0].share_diff(self.blobs[0])

    reshape_blobs = forward_blobs


@register("Silence")
class Silence(Layer):
    """Bottoms that nobody needs, kept out of the net's outputs; their gradient is zero."""

    bottoms = (1, None)
    tops = 0
    asks_no_values = True

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        return []

    def forward(self, *xs: Tensor) -> Sequence[Tensor]:
        return ()
