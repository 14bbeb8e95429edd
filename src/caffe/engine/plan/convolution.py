"""A convolution of pictures, with what follows it in place."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ... import onednn
from ...layers import winograd
from ...layers.asking import are_finite
from ...layers.convolution import Convolution, ConvolutionDepthwise, PaddedConvolution
from ...layers.layer import Activation
from ...memory.blob import Shape
from ...pytorch import torch
from ..steps import Step
from . import trial
from .builder import Builder
from .fused import RELU, Fused
from .operation import Values, activate, operation
from .settings import Settings
from .unpacked import Unpacked

if TYPE_CHECKING:
    from torch import Tensor


class ConvolutionOperation(Fused):
    """A convolution with packed weights, normalisation folded in, and the activation."""

    how = "convolution"

    def __init__(self, step: Step, followers: list[Step], settings: Settings) -> None:
        super().__init__(step, followers, settings)
        self._layout = settings.picture_layout
        self._trial: trial.Trial | None = None
        if self._may_try(step, settings):
            pad, _, _, group = self._geometry()
            shapes = [step.layer.blobs[0].shape, self.read_shapes[0], pad, group]
            self._trial = trial.Trial(self._winograd, shapes)
        self._unpacked = Unpacked(
            self._kernels_geometry(),
            self._activation,
            settings,
            (step.layer.blobs[0].shape, self.read_shapes[0]),
        )

    def _may_try(self, step: Step, settings: Settings) -> bool:
        """Whether Winograd's algorithm knows such a convolution, and might spare time."""
        layer, weight = self._layer, step.layer.blobs[0].shape
        _, stride, dilation, group = self._geometry()
        if not (settings.tries and self._is_packed and self._dtype == torch.float32):
            return False
        return (
            stride == dilation == (1, 1)
            and winograd.saves(layer.kernel, weight, self.shapes[0][2:], group)
            and layer.multiply_adds(self.read_shapes, self.shapes) >= trial.LEAST_WORK
        )

    @property
    def is_trying(self) -> bool:
        return self._trial is not None and not self._trial.is_over

    @property
    def found_out(self) -> str:
        return self._trial.said if self._trial is not None else self._unpacked.said

    def _winograd(self) -> winograd.Winograd:
        pad, _, _, group = self._geometry()
        activation = self._activation
        finish = partial(activate, activation=activation)
        slope = activation.slope if activation == Activation(activation.slope) else None
        return winograd.Winograd(
            *self._folded_parameters(), self.read_shapes[0], pad, group, finish, slope
        )

    def _folded_parameters(self) -> tuple[Tensor, Tensor]:
        """Weights and bias in float64, with what follows folded in."""
        weight, bias = (
            (blob.data_tensor(self._store).double() for blob in self._layer.blobs)
            if len(self._layer.blobs) == 2
            else (self._layer.blobs[0].data_tensor(self._store).double(), None)
        )
        if bias is None:
            bias = torch.zeros(len(weight), dtype=torch.float64, device=weight.device)
        for layer in self._folded:
            factor, summand = layer.affine(
                *(blob.data_tensor(self._store).double() for blob in layer.blobs)
            )
            weight, bias = folded(weight, bias, factor, summand)
        return weight, bias

    def pack(self) -> None:
        if self._trial is not None:
            self._trial.forget()
        weight, bias = self._folded_parameters()
        self._bias = bias.to(self._dtype)
        self.has_odd_params = self._store is None and not (are_finite(weight) and are_finite(bias))
        weight = weight.to(self._dtype).contiguous(memory_format=self._layout)
        if not self._is_packed:
            self._unpacked.pack(weight, self._bias)
            return
        self._weight = onednn.packed_weights()(weight, *self._geometry(), self.read_shapes[0])
        self._arguments = (*self._geometry(), self._attr, self._scalars, "")
        self._plain_arguments: tuple[Any, ...] = (*self._geometry(), "none", [], "")

    def release(self) -> None:
        if self._trial is not None:
            self._trial.forget()
        if not self._is_packed:
            self._unpacked.release()
            return
        del self._weight, self._bias

    def _geometry(self) -> tuple[Shape, Shape, Shape, int]:
        layer = self._layer
        return layer.pad, layer.stride, layer.dilation, layer.param.group

    def added(self, x: Tensor, other: Tensor, attr: str | None, in_place: bool) -> Tensor:
        """Return the convolution of `x` plus `other` (where it may, in its place), activated."""
        pad, stride, dilation, group = self._geometry()
        x, other = x.to(self._dtype), other.to(self._dtype)
        if not self._is_packed:
            return self._unpacked.add(x, other, Activation() if attr is None else RELU)
        kernels = torch.ops.mkldnn
        arguments = (self._weight, self._bias, pad, stride, dilation, group)
        fused = None if self.keeps_nan else attr
        how: tuple[Any, ...] = (*arguments, "add", 1.0, fused, [], "")
        y: Tensor
        if in_place:
            y = kernels._convolution_pointwise_.binary(other, x, *how)
        else:
            y = kernels._convolution_pointwise.binary(x, other, *how)
        return y if fused == attr else y.relu_()

    @property
    def can_add(self) -> bool:
        """Whether nothing comes between the convolution and a sum."""
        return self._attr == "none" and (self._is_packed or self._unpacked.has_ways)

    def run(self, values: Values) -> None:
        x = self.bottom(values, self._dtype)
        if self._is_packed and self.keeps_nan:
            y = onednn.packed_convolution()(x, self._weight, self._bias, *self._plain_arguments)
            values[self.writes[0]] = self._activate(y)
        elif self._is_packed:
            # While somebody holds the weights they would be brought into the other form each time.
            tried = None if self.is_held or self.is_exact else self._trial
            values[self.writes[0]] = (
                self._directly(x) if tried is None else tried.run(x, self._directly)
            )
        else:
            values[self.writes[0]] = self._unpacked.run(x)

    def _kernels_geometry(self) -> tuple[Shape, Shape, Shape, int]:
        """The geometry in the order in which convolutions that are not packed take it."""
        pad, stride, dilation, group = self._geometry()
        return stride, pad, dilation, group

    def _directly(self, x: Tensor) -> Tensor:
        return onednn.packed_convolution()(x, self._weight, self._bias, *self._arguments)


def folded(
    weight: Tensor, bias: Tensor, factor: Tensor | None, summand: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return a convolution's parameters with what its channels are multiplied by and added to."""
    if factor is not None:
        weight, bias = weight * factor[:, None, None, None], bias * factor
    return weight, bias if summand is None else bias + summand


def _not_plain(layer: Convolution, step: Step, settings: Settings) -> str | None:
    """Why a convolution is none of pictures as other libraries know it."""
    if len(step.bottoms) != 1:
        return "several bottoms"
    if len(layer.kernel) != 2 or layer.channel_axis != 1:
        return "no two axes behind channels on axis 1"
    if isinstance(layer, PaddedConvolution) and layer.is_lopsided:
        return "padding of its own for each side"
    if layer.has_windows_in_padding and any(d > 1 for d in layer.dilation):
        return "dilated windows in the padding"
    if settings.store is None and layer.is_misread(step.bottoms[0].shape):
        return "results of one column at a stride"
    sizes = zip(
        step.bottoms[0].shape[2:], step.tops[0].shape[2:], layer.pad, layer.extent, layer.stride,
        strict=True,
    )  # fmt: skip
    if all((n + 2 * p - e) // s + 1 == out and n + 2 * p >= e for n, out, p, e, s in sizes):
        return None
    return "windows that reach past the padding"


@operation.rule(Convolution, ConvolutionDepthwise, unless=_not_plain)
def _convolution(builder: Builder, number: int) -> ConvolutionOperation:
    followers = builder.join(number, fold=True)
    return ConvolutionOperation(builder.steps[number], followers, builder.settings)
