"""The operations of a plan: a layer, or a convolution with the layers that follow it in place."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import mode
from ..layers.activation import Clip, ReLU
from ..layers.layer import Layer, as_tensors
from ..layers.normalization import LRN
from ..layers.pooling import LOWEST, Pooling
from ..memory.blob import Shape
from ..memory.stores import Store
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


@dataclass
class Part:
    """One layer with the memories that it reads and writes; it keeps no blob alive."""

    layer: Layer
    reads: list[int]
    read_shapes: list[Shape]
    writes: list[int]
    shapes: list[Shape]

    @classmethod
    def of(cls, step: Step) -> Part:
        """Return a step's."""
        bottoms, tops = step.bottoms, step.tops
        return cls(
            step.layer,
            [id(blob.memory) for blob in bottoms],
            [blob.shape for blob in bottoms],
            [id(blob.memory) for blob in tops],
            [blob.shape for blob in tops],
        )


class Operation:
    """Computes some memories' values from others'.

    Attributes
    ----------
    parts : list of Part
        The layers that it stands for, in order.
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
    is_worth_packing : bool
        Whether it is to run so often that large weights are packed.
    """

    has_raw_params = False
    is_fresh = True
    is_worth_packing = True

    def __init__(self, step: Step, store: Store | None) -> None:
        self._store = store
        self.label = step.label
        part = Part.of(step)
        self.parts = [part]
        self.reads, self.read_shapes = part.reads, part.read_shapes
        self.writes, self.shapes = part.writes, part.shapes
        self.params = list(step.layer.blobs)
        self.hidden: list[int] = []

    def refresh(self) -> bool:
        """Prepare the parameters anew; they have changed, or may have.

        Returns whether it must be done again before the next run: somebody holds an array of a
        parameter, and may write into it.
        """
        # Before the look at the values: what is written after it counts for the next time.
        is_held = self.is_held
        self.prepare()
        return is_held

    @property
    def is_held(self) -> bool:
        """Whether somebody holds an array of a parameter."""
        return any(blob.memory.is_lent for blob in self.params)

    def prepare(self) -> None:
        """Make of the parameters what `run` uses."""

    def release(self) -> None:
        """Drop what `prepare` made."""

    @property
    def may_change_unseen(self) -> bool:
        """Whether somebody holds an array of a parameter that is used as it lies."""
        return self.has_raw_params and self.is_held

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

    def bottom(self, values: Values, dtype: torch.dtype) -> Tensor:
        """Return the first bottom's value in the blob's shape."""
        value = values[self.reads[0]]
        if value.shape != self.read_shapes[0]:
            value = value.reshape(self.read_shapes[0])
        return value if value.dtype is dtype else value.to(dtype)

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
        self.type = step.layer.type
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

    def release(self) -> None:
        self._copies = []

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
        self.parts += map(Part.of, followers)
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
            if not layer.is_affine:
                continue
            factor, summand = layer.affine(
                *(blob.data_tensor(self._store).double() for blob in layer.blobs)
            )
            if factor is not None:
                weight = weight * factor[:, None, None, None]
                bias = bias * factor
            if summand is not None:
                bias = bias + summand
        self._bias = bias.to(self._dtype)
        layout = picture_layout(self._dtype, self._store)
        weight = weight.to(self._dtype).contiguous(memory_format=layout)
        self._weight = (
            torch.ops.mkldnn._reorder_convolution_weight(
                weight, *self._geometry(), self.read_shapes[0]
            )
            if self._is_packed
            else weight
        )
        self._arguments = (*self._geometry(), self._attr, self._scalars, "")

    def release(self) -> None:
        del self._weight, self._bias

    def _geometry(self) -> tuple[Shape, Shape, Shape, int]:
        layer = self._layer
        return layer.pad, layer.stride, layer.dilation, layer.param.group

    def added(self, x: Tensor, other: Tensor, attr: str | None, in_place: bool) -> Tensor:
        """Return the convolution of `x` plus `other` (where it may, in its place), activated."""
        pad, stride, dilation, group = self._geometry()
        kernels = torch.ops.mkldnn
        arguments = (self._weight, self._bias, pad, stride, dilation, group)
        x, other = x.to(self._dtype), other.to(self._dtype)
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
        x = self.bottom(values, self._dtype)
        if self._is_packed:
            values[self.writes[0]] = packed_convolution()(
                x, self._weight, self._bias, *self._arguments
            )
        else:
            pad, stride, dilation, group = self._geometry()
            y = F.conv2d(x, self._weight, self._bias, stride, pad, dilation, group)
            values[self.writes[0]] = self._activate(y)


class LRNOperation(Operation):
    """Normalisation across channels, a run of pixels at a time.

    A piece stays in the processor's cache from the squares to the product, and is still large
    enough to be shared between its cores.
    """

    PIECE = 2**18

    def __init__(self, step: Step, precision: torch.dtype) -> None:
        super().__init__(step, None)
        self._dtype = precision
        self._param = step.layer.param
        number, self._channels, height, width = step.bottoms[0].shape
        pixels = number * height * width
        step_size = max(1, self.PIECE // self._channels)
        self._pieces = [min(step_size, pixels - i) for i in range(0, pixels, step_size)]
        self._one = torch.tensor(self._param.k, dtype=precision)
        # Zeros stand beside the channels, so that every window is whole.
        rows, padded = self._pieces[0], self._channels + self._param.local_size - 1
        self._squares = torch.zeros(rows, padded, dtype=precision)
        self._pairs = torch.empty_like(self._squares)
        self._base = torch.empty(rows, self._channels, dtype=precision)
        self._views = {n: self._views_of(n) for n in set(self._pieces)}

    def _views_of(self, rows: int) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """Views of the first rows: of the squares from each neighbour on, of pairs, of the base."""
        squares, pairs = self._squares[:rows], self._pairs[:rows]
        count = self._channels
        shifted = [squares.narrow(1, i, count) for i in range(self._param.local_size)]
        if self._param.local_size != 5:
            return shifted, [], self._base[:rows]
        halves = [squares.narrow(1, i, count + 3) for i in (0, 1)]
        doubled = [pairs.narrow(1, 0, count + 3), *(pairs.narrow(1, i, count) for i in (0, 2))]
        return shifted, halves + doubled, self._base[:rows]

    def run(self, values: Values) -> None:
        x = self.bottom(values, self._dtype).contiguous(memory_format=torch.channels_last)
        top = torch.empty_like(x)
        pixels, results = (t.permute(0, 2, 3, 1).view(-1, self._channels) for t in (x, top))
        if len(self._pieces) == 1:
            self._powers(pixels, results)
        else:
            for x_piece, piece in zip(
                pixels.split(self._pieces), results.split(self._pieces), strict=True
            ):
                self._powers(x_piece, piece)
        values[self.writes[0]] = top

    def _powers(self, x: Tensor, top: Tensor) -> None:
        """Write x / (k + alpha / size * sum of squares nearby) ** beta into `top`."""
        param = self._param
        shifted, fives, base = self._views[len(x)]
        torch.mul(x, x, out=shifted[param.local_size // 2])
        if fives:
            # Sums of two neighbours serve twice.
            torch.add(fives[0], fives[1], out=fives[2])
            torch.add(fives[3], fives[4], out=base)
            base.add_(shifted[4])
        else:
            base.copy_(shifted[0])
            for square in shifted[1:]:
                base.add_(square)
        torch.add(self._one, base, alpha=param.alpha / param.local_size, out=base)
        if param.beta == 0.75:
            # Two roots and a division cost less than one power.
            torch.rsqrt(base, out=top)
            top.rsqrt_().div_(base).mul_(x)
        else:
            torch.mul(base.pow_(-param.beta), x, out=top)

    @staticmethod
    def suits(step: Step, store: Store | None) -> bool:
        """Tell whether the step is such a layer, and the operators are there."""
        layer = step.layer
        return (
            type(layer) is LRN
            and layer.param.norm_region == LRNParameter.ACROSS_CHANNELS
            and store is None
            and len(step.bottoms[0].shape) == 4
        )


class MaxPoolOperation(Operation):
    """Maximum pooling where PyTorch's windows are Caffe's, no places asked for."""

    def __init__(self, step: Step, store: Store | None) -> None:
        super().__init__(step, store)
        self._layer: Any = step.layer
        windows = step.layer.windows(*self.read_shapes[0][2:])  # type: ignore[attr-defined]
        self._arguments = (windows.kernel, windows.stride, windows.pad, 1, not windows.floor)

    def run(self, values: Values) -> None:
        x = self.bottom(values, values[self.reads[0]].dtype)
        if self._store is not None:
            # To ask for the least value would make this thread wait for the GPU.
            values[self.writes[0]] = torch.max_pool2d(
                torch.where(x > LOWEST, x, LOWEST), *self._arguments
            )
            return
        y = torch.max_pool2d(x, *self._arguments)
        # A minimum is one pass over the values, and not a number if one of them is not.
        if not y.amin().item() >= LOWEST:
            # What is not a number, or minus infinity, the layer itself knows how to treat.
            y = as_tensors(self._layer.forward(x))[0]
        values[self.writes[0]] = y

    @staticmethod
    def suits(step: Step) -> bool:
        """Tell whether the step is such a layer."""
        layer: Any = step.layer
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
        self.parts = [*convolution.parts, *map(Part.of, (step, *followers))]
        self.hidden = list(convolution.writes)
        self.params = convolution.params
        self.refresh = convolution.refresh  # type: ignore[method-assign]
        self.release = convolution.release  # type: ignore[method-assign]

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

    One row is multiplied with the weights as they lie: reading them takes all the time there is.
    For several rows they are packed, once they have stayed the same for a whole run and nobody
    holds them; packing costs several runs, so it must not be done for each.
    """

    _packed: Tensor | None = None
    _copies: list[Tensor] | None = None
    _seen: list[int] | None = None

    def refresh(self) -> bool:
        seen = [blob.memory.version for blob in self.params]
        is_held = self.is_held
        may_pack = self._is_packed and self.is_worth_packing and self._rows > 1
        if seen == self._seen and not is_held and may_pack:
            self._pack()
            self.has_raw_params = False
            return False
        self._seen = seen
        self.has_raw_params = self._dtype == torch.float32
        self.prepare()
        return is_held or may_pack

    def _pack(self) -> None:
        weight, *rest = (blob.data_tensor() for blob in self.params)
        self._copies = [values.to(self._dtype, copy=True) for values in rest]
        packed = torch.ops.mkldnn._reorder_linear_weight(weight.to(self._dtype), self._rows)
        self._packed = packed
        memory = self.params[0].memory
        if self._dtype == torch.float32 and memory.count == weight.numel():
            # Once is enough: whoever asks for the weights as they were has them unpacked.
            memory.defer(memory.count, lambda: packed.to_dense().view(-1))

    def prepare(self) -> None:
        self._packed = self._copies = None
        if not self.has_raw_params:
            self._copies = [blob.data_tensor(self._store).to(self._dtype) for blob in self.params]

    def release(self) -> None:
        self._packed = self._copies = self._seen = None

    @property
    def _rows(self) -> int:
        return math.prod(self.read_shapes[0]) // self._layer.inputs

    def run(self, values: Values) -> None:
        x = self.bottom(values, self._dtype).reshape(-1, self._layer.inputs).contiguous()
        params = self._copies or [blob.data_tensor(self._store) for blob in self.params]
        if self._packed is not None:
            params = [self._packed, *(self._copies or ())]
        weight, bias = params[0], params[1] if len(params) > 1 else None
        if self._is_packed:
            y = packed_product()(x, weight, bias, self._attr, self._scalars, "")
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


def picture_layout(precision: torch.dtype, store: Store | None) -> torch.memory_format:
    """Return the order in which pictures lie in memory.

    Channels last suit the CPU's kernels, and a GPU's that compute in short numbers; cuDNN's float32
    kernels are made for channels first.
    """
    is_cuda = store is not None and store.device.type == "cuda"
    if is_cuda and precision == torch.float32 and not mode.allows_tf32():
        return torch.contiguous_format
    return torch.channels_last


@functools.cache
def packed_convolution() -> Callable[..., Tensor]:
    """Return PyTorch's convolution with packed weights and an activation, found once."""
    return torch.ops.mkldnn._convolution_pointwise.default


@functools.cache
def packed_product() -> Callable[..., Tensor]:
    """Return PyTorch's product with plain or packed weights and an activation, found once."""
    return torch.ops.mkldnn._linear_pointwise.default


def has_packed_operators() -> bool:
    return torch.backends.mkldnn.is_available() and hasattr(
        torch.ops.mkldnn, "_convolution_pointwise"
    )
