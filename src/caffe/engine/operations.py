"""The operations of a plan: a layer, or a convolution with the layers that follow it in place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..blob import Shape
from ..layers.activation import Clip, ReLU
from ..layers.layer import Layer, as_tensors
from ..layers.normalization import LRN, BatchNorm
from ..layers.pooling import LOWEST, Pooling
from ..layers.scale import Bias, Scale
from ..memory import Store
from ..proto.caffe_pb2 import LRNParameter, PoolingParameter
from .layerwise import Step

SMALL_PARAMETER = 2**18
"""Parameters of at most so many numbers are copied, so that nobody can change them unseen."""

REDUCED = frozenset(
    {"AbsVal", "BatchNorm", "Bias", "Concat", "Crop", "Deconvolution", "Dropout", "ELU"}
    | {"Eltwise", "LRN", "Pooling", "Power", "PReLU", "ReLU", "Scale", "Sigmoid", "Slice"}
    | {"Swish", "TanH", "Tile"}
)
"""Layers that compute in the reduced precision themselves; the others get float32."""

FRESH = frozenset(
    {"BatchNorm", "Bias", "Concat", "Deconvolution", "Eltwise", "LRN", "Pooling", "Scale"}
)
"""Layers whose results never share memory with their bottoms."""

Values = dict[int, Tensor]
"""The newest tensor of each memory, by the memory's identity."""


class Operation:
    """Computes some memories' values from others'.

    Attributes
    ----------
    label : str
        The layer, as errors name it.
    reads, writes : list of int
        Memories, by identity.
    read_shapes, shapes : list of tuple of int
        The blobs' shapes in which they are read and written.
    params : list of Blob
        The parameters that it uses.
    has_raw_params : bool
        Whether a parameter's own memory is used at each run, and not a copy of it.
    is_fresh : bool
        Whether the results are tensors that no other memory has, and may thus be changed.
    hidden : list of int
        Those of `writes` that `run` leaves out; `run_apart` does not.
    """

    has_raw_params = False
    is_fresh = True

    def __init__(self, step: Step, store: Store | None) -> None:
        self._store = store
        self.label = step.label
        self.reads = [id(blob.memory) for blob in step.bottoms]
        self.read_shapes = [blob.shape for blob in step.bottoms]
        self.writes = [id(blob.memory) for blob in step.tops]
        self.shapes = [blob.shape for blob in step.tops]
        self.params = list(step.layer.blobs)
        self.hidden: list[int] = []
        self._seen: list[tuple[int, bool]] | None = None

    def refresh(self) -> None:
        """Prepare the parameters anew where they have changed, or may have."""
        seen = [(blob.memory.version, blob.memory.is_lent) for blob in self.params]
        # An array that was held at the last look may have been written into since.
        if seen != self._seen or any(lent for _, lent in seen):
            self.prepare()
            self._seen = seen

    def prepare(self) -> None:
        """Make of the parameters what `run` uses."""

    @property
    def may_change_unseen(self) -> bool:
        """Whether somebody holds an array of a parameter that is used as it lies."""
        return self.has_raw_params and any(blob.memory.is_lent for blob in self.params)

    def facts(self) -> str:
        """Return the shapes, for errors."""
        params = [blob.shape for blob in self.params]
        return f"bottoms {self.read_shapes}; parameters {params or 'none'}"

    def run(self, values: Values) -> None:
        """Compute."""
        raise NotImplementedError

    def run_apart(self, values: Values) -> None:
        """Compute what is hidden, too."""
        self.run(values)

    def bottoms(self, values: Values) -> list[Tensor]:
        """Return the bottoms' values in the blobs' shapes."""
        return [
            value if value.shape == shape else value.reshape(shape)
            for value, shape in zip(
                map(values.__getitem__, self.reads), self.read_shapes, strict=True
            )
        ]


class LayerOperation(Operation):
    """A layer's own forward."""

    def __init__(self, step: Step, precision: torch.dtype, store: Store | None) -> None:
        super().__init__(step, store)
        self._layer = step.layer
        self._dtype = precision if step.layer.type in REDUCED else torch.float32
        self.is_fresh = step.layer.type in FRESH
        self.has_raw_params = any(blob.count > SMALL_PARAMETER for blob in self.params)

    def prepare(self) -> None:
        self._copies = [
            blob.data_tensor(self._store).to(self._dtype, copy=True)
            if blob.count <= SMALL_PARAMETER
            else None
            for blob in self.params
        ]

    def run(self, values: Values) -> None:
        inputs = [x.to(self._dtype) for x in self.bottoms(values)]
        for blob, copy in zip(self.params, self._copies, strict=True):
            inputs.append(blob.data_tensor(self._store).to(self._dtype) if copy is None else copy)
        results = as_tensors(self._layer.forward(*inputs))
        values.update(zip(self.writes, results, strict=False))


class PassOn(Operation):
    """A layer that does nothing to its bottom: Dropout at TEST."""

    is_fresh = False

    def run(self, values: Values) -> None:
        values[self.writes[0]] = values[self.reads[0]]


class Rectify(Operation):
    """A ReLU in place of a value that nobody else has."""

    def run(self, values: Values) -> None:
        F.relu_(values[self.writes[0]])


class Fused(Operation):
    """A layer and the activation that follows it in place."""

    def __init__(
        self,
        step: Step,
        followers: Sequence[Step],
        precision: torch.dtype,
        store: Store | None,
    ) -> None:
        super().__init__(step, store)
        self._layer: Any = step.layer
        self._dtype = precision
        self._is_packed = store is None and has_packed_operators()
        self._attr, self._scalars = "none", []
        self._folded = [follower.layer for follower in followers]
        for layer in self._folded:
            self.params += layer.blobs
            if activation(layer) is not None:
                self._attr, self._scalars = activation(layer)  # type: ignore[misc]

    def _activate(self, y: Tensor) -> Tensor:
        if self._attr == "relu":
            return y.relu_()
        if self._attr == "leaky_relu":
            return F.leaky_relu_(y, self._scalars[0])
        return y.clamp_(*self._scalars) if self._attr == "hardtanh" else y


class ConvolutionOperation(Fused):
    """A convolution with packed weights, normalisation folded in, and the activation."""

    def prepare(self) -> None:
        weight, bias = (
            (blob.data_tensor(self._store).double() for blob in self._layer.blobs)
            if len(self._layer.blobs) == 2
            else (self._layer.blobs[0].data_tensor(self._store).double(), None)
        )
        if bias is None:
            bias = torch.zeros(len(weight), dtype=torch.float64, device=weight.device)
        for layer in self._folded:
            factor, summand = affine(layer, self._store)
            if factor is not None:
                weight = weight * factor[:, None, None, None]
                bias = bias * factor
            if summand is not None:
                bias = bias + summand
        self._bias = bias.to(self._dtype)
        weight = weight.to(self._dtype, memory_format=torch.channels_last)
        self._weight = (
            torch.ops.mkldnn._reorder_convolution_weight(
                weight, *self._geometry(), self.read_shapes[0]
            )
            if self._is_packed
            else weight
        )

    def _geometry(self) -> tuple[Shape, Shape, Shape, int]:
        layer = self._layer
        return layer.pad, layer.stride, layer.dilation, layer.param.group

    def added(self, x: Tensor, other: Tensor, attr: str | None, in_place: bool) -> Tensor:
        """Return the convolution of `x` plus `other` (where it may, in its place), activated."""
        pad, stride, dilation, group = self._geometry()
        kernels = torch.ops.mkldnn
        arguments = (self._weight, self._bias, pad, stride, dilation, group)
        x = x.to(self._dtype)
        if in_place:
            return kernels._convolution_pointwise_.binary(
                other, x, *arguments, "add", 1.0, attr, [], ""
            )
        return kernels._convolution_pointwise.binary(x, other, *arguments, "add", 1.0, attr, [], "")

    @property
    def can_add(self) -> bool:
        """Whether nothing comes between the convolution and a sum."""
        return self._attr == "none" and self._is_packed

    def run(self, values: Values) -> None:
        (x,) = self.bottoms(values)
        x = x.to(self._dtype)
        pad, stride, dilation, group = self._geometry()
        if self._is_packed:
            values[self.writes[0]] = torch.ops.mkldnn._convolution_pointwise(
                x, self._weight, self._bias, pad, stride, dilation, group,
                self._attr, self._scalars, "",
            )  # fmt: skip
        else:
            y = F.conv2d(x, self._weight, self._bias, stride, pad, dilation, group)
            values[self.writes[0]] = self._activate(y)


class LRNOperation(Operation):
    """Normalisation across channels, the sums over neighbours as a product with a band matrix."""

    def __init__(self, step: Step, precision: torch.dtype) -> None:
        super().__init__(step, None)
        self._dtype = precision
        param = step.layer.param
        channels = step.bottoms[0].shape[1]
        places = torch.arange(channels)
        near = (places[:, None] - places[None, :]).abs() <= param.local_size // 2
        band = (near * (param.alpha / param.local_size)).to(precision)
        self._band = torch.ops.mkldnn._reorder_convolution_weight(
            band[:, :, None, None].contiguous(memory_format=torch.channels_last),
            (0, 0), (1, 1), (1, 1), 1, self.read_shapes[0],
        )  # fmt: skip
        self._k = torch.full((channels,), param.k, dtype=precision)
        self._beta = param.beta

    def run(self, values: Values) -> None:
        (x,) = self.bottoms(values)
        x = x.to(self._dtype)
        base = torch.ops.mkldnn._convolution_pointwise(
            x * x, self._band, self._k, (0, 0), (1, 1), (1, 1), 1, "none", [], ""
        )
        if self._beta == 0.75:
            # Two square roots cost less than one power.
            root = base.rsqrt_()
            values[self.writes[0]] = root.sqrt().mul_(root).mul_(x)
        else:
            values[self.writes[0]] = base.pow_(-self._beta).mul_(x)

    @staticmethod
    def suits(step: Step, store: Store | None) -> bool:
        """Tell whether the step is such a layer, and the operators are there."""
        layer = step.layer
        return (
            type(layer) is LRN
            and layer.param.norm_region == LRNParameter.ACROSS_CHANNELS
            and store is None
            and has_packed_operators()
        )


class MaxPoolOperation(Operation):
    """Maximum pooling where PyTorch's windows are Caffe's, no places asked for."""

    def __init__(self, step: Step, store: Store | None) -> None:
        super().__init__(step, store)
        self._layer: Any = step.layer
        self._windows = step.layer.windows(*step.bottoms[0].shape[2:])  # type: ignore[attr-defined]

    def run(self, values: Values) -> None:
        (x,) = self.bottoms(values)
        windows = self._windows
        y = F.max_pool2d(
            x, windows.kernel, windows.stride, windows.pad, ceil_mode=not windows.floor
        )
        if not (y >= LOWEST).all():
            # What is not a number, or minus infinity, the layer itself knows how to treat.
            y = as_tensors(self._layer.forward(x))[0]
        values[self.writes[0]] = y

    @staticmethod
    def suits(step: Step) -> bool:
        """Tell whether the step is such a layer."""
        layer = step.layer
        return (
            type(layer) is Pooling
            and layer.param.pool == PoolingParameter.MAX
            and len(step.tops) == 1
            and len(step.bottoms[0].shape) == 4
            and layer.windows(*step.bottoms[0].shape[2:]).suits_torch(*step.bottoms[0].shape[2:])
        )


class SumOperation(Operation):
    """A convolution, the sum of its top and another blob, and the ReLU that may follow in place.

    Only the sum is written; the convolution's own top is hidden.
    """

    def __init__(
        self, step: Step, convolution: ConvolutionOperation, followers: Sequence[Step]
    ) -> None:
        super().__init__(step, None)
        self._convolution = convolution
        self._other = next(key for key in self.reads if key != convolution.writes[0])
        self._attr = "relu" if followers else None
        self.may_overwrite = False
        self.reads = [*convolution.reads, self._other]
        self.read_shapes = [*convolution.read_shapes, self.shapes[0]]
        self.writes = [*convolution.writes, *self.writes]
        self.shapes = [*convolution.shapes, *self.shapes]
        self.hidden = list(convolution.writes)
        self.params = convolution.params
        self.refresh = convolution.refresh  # type: ignore[method-assign]

    def run(self, values: Values) -> None:
        x, other = self.bottoms(values)
        values[self.writes[1]] = self._convolution.added(
            x, other, self._attr, in_place=self.may_overwrite
        )

    def run_apart(self, values: Values) -> None:
        self._convolution.run(values)
        total = values[self.hidden[0]] + values[self._other].view(self.shapes[1])
        values[self.writes[1]] = total.relu_() if self._attr else total


class InnerProductOperation(Fused):
    """A product, and the activation.

    The weights are used as they lie until they have stayed the same for a whole run and nobody
    holds them; then they are packed, as a convolution over one axis of rows, which streams them
    fastest. Packing costs ten runs of a single picture, so it must not be done for each.
    """

    _packed: tuple[Tensor, Tensor | None] | None = None
    _copies: list[Tensor] | None = None
    _quiet_runs = 0

    def refresh(self) -> None:
        seen = [(blob.memory.version, blob.memory.is_lent) for blob in self.params]
        if seen != self._seen or any(lent for _, lent in seen):
            self._quiet_runs, self._packed, self._seen = 0, None, seen
            self.has_raw_params = self._dtype == torch.float32
            self.prepare()
            return
        self._quiet_runs += 1
        if self._quiet_runs == 1 and self._is_packed:
            self._packed, self._copies, self.has_raw_params = self._pack(), None, False

    def prepare(self) -> None:
        self._copies = None
        if not self.has_raw_params:
            self._copies = [blob.data_tensor(self._store).to(self._dtype) for blob in self.params]

    def _pack(self) -> tuple[Tensor, Tensor | None]:
        weight, *rest = (blob.data_tensor().to(self._dtype) for blob in self.params)
        kernels = weight[:, :, None, None].contiguous(memory_format=torch.channels_last)
        rows = math.prod(self.read_shapes[0]) // self._layer.inputs
        packed = torch.ops.mkldnn._reorder_convolution_weight(
            kernels, (0, 0), (1, 1), (1, 1), 1, (1, self._layer.inputs, rows, 1)
        )
        return packed, rest[0].clone() if rest else None

    def run(self, values: Values) -> None:
        (x,) = self.bottoms(values)
        x = x.to(self._dtype).reshape(-1, self._layer.inputs).contiguous()
        if self._packed is not None:
            y = torch.ops.mkldnn._convolution_pointwise(
                x[None, :, None, :].permute(0, 3, 1, 2), *self._packed,
                (0, 0), (1, 1), (1, 1), 1, self._attr, self._scalars, "",
            )  # fmt: skip
            values[self.writes[0]] = y.permute(0, 2, 3, 1).reshape(self.shapes[0])
            return
        weight, *rest = self._copies or [blob.data_tensor(self._store) for blob in self.params]
        bias = rest[0] if rest else None
        if self._is_packed:
            y = torch.ops.mkldnn._linear_pointwise(x, weight, bias, self._attr, self._scalars, "")
        else:
            y = self._activate(F.linear(x, weight, bias))
        values[self.writes[0]] = y.view(self.shapes[0])


def activation(layer: Layer) -> tuple[str, list[float]] | None:
    """Return the packed operators' name for an activation, with its numbers."""
    if type(layer) is ReLU:
        slope = layer.param.negative_slope
        return ("leaky_relu", [slope]) if slope else ("relu", [])
    if type(layer) is Clip:
        return "hardtanh", [layer.param.min, layer.param.max]
    return None


def is_affine(layer: Layer) -> bool:
    """Whether the layer is one factor and summand per channel, whatever the input."""
    if type(layer) is BatchNorm:
        return layer.use_global_stats
    if type(layer) in (Scale, Bias):
        return bool(layer.blobs) and layer.param.axis == 1 and len(layer.blobs[0].shape) == 1
    return False


def affine(layer: Layer, store: Store | None) -> tuple[Tensor | None, Tensor | None]:
    """Return an affine layer's factor and summand per channel, in double precision."""
    blobs = [blob.data_tensor(store).double() for blob in layer.blobs]
    if isinstance(layer, BatchNorm):
        total = 0.0 if blobs[2].item() == 0 else 1 / blobs[2].item()
        factor = (blobs[1] * total + layer.param.eps).rsqrt()
        return factor, -blobs[0] * total * factor
    if isinstance(layer, Scale):
        return blobs[0], blobs[1] if len(blobs) > 1 else None
    return (None, blobs[0]) if isinstance(layer, Bias) else (None, None)


def has_packed_operators() -> bool:
    return torch.backends.mkldnn.is_available() and hasattr(
        torch.ops.mkldnn, "_convolution_pointwise"
    )
