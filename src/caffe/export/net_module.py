"""A net as a module of PyTorch's: its layers' own forwards, on parameters of PyTorch's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import NetError
from ..layers.detection.proposal import ProposalLayer
from ..layers.input import ParameterLayer
from ..layers.layer import Layer, as_tensors
from ..layers.registry import create
from ..memory.blob import Blob, Shape
from ..net.net import Net
from ..phases import TEST, TRAIN
from ..proto.caffe_pb2 import LayerParameter
from ..pytorch import torch
from ..vectors import BlobVec
from .plain import plain
from .selection import select

if TYPE_CHECKING:
    from torch import Tensor, nn
else:
    # Of this module's classes PyTorch's is the base, so that who imports it loads PyTorch.
    nn = torch.nn


class LayerModule(nn.Module):
    """One layer; what it learns are parameters "0", "1", ..., its statistics buffers so called.

    Parameters
    ----------
    original : Layer
        Set up; it is left as it is.
    shapes : sequence of shape
        The bottoms'.
    values : sequence of Tensor
        The parameters and buffers themselves.
    """

    def __init__(self, original: Layer, shapes: Sequence[Shape], values: Sequence[Tensor]) -> None:
        super().__init__()
        self._param = type(original.layer_param)()
        self._param.CopyFrom(original.layer_param)
        self._shapes = list(shapes)
        self._count = len(values)
        self._layers: dict[bool, Layer] = {}
        for index, value in enumerate(values):
            if isinstance(value, nn.Parameter):
                self.register_parameter(str(index), value)
            else:
                self.register_buffer(str(index), value)
        self._layer = self._of_phase(original.phase == TRAIN)

    def values(self) -> list[Tensor]:
        """Return the parameters and buffers in the layer's order."""
        return [getattr(self, str(index)) for index in range(self._count)]

    def train(self, mode: bool = True) -> LayerModule:
        """Compute as at caffe.TRAIN, or (mode False) as at caffe.TEST."""
        super().train(mode)
        self._layer = self._of_phase(mode)
        return self

    def _of_phase(self, training: bool) -> Layer:
        if training not in self._layers:
            param = LayerParameter()
            param.CopyFrom(self._param)
            param.phase = TRAIN if training else TEST  # type: ignore[assignment]
            layer = create(param)
            layer.setup(*self._shapes)
            # Layers ask their parameters for shapes; the numbers are the module's.
            layer.blobs = BlobVec(Blob(tuple(value.shape)) for value in self.values())
            # Some remember what they say of shapes.
            layer.top_shapes(*self._shapes)
            # PyTorch's compiler cannot look into messages.
            layer.layer_param = plain(layer.layer_param)  # type: ignore[assignment]
            if layer.message is not None:
                layer.param = plain(layer.param)
            self._layers[training] = layer
        return self._layers[training]

    def forward(self, *bottoms: Tensor) -> Sequence[Tensor]:
        """Compute the tops."""
        layer = self._layer
        tops = as_tensors(layer.forward(*bottoms, *self.values()))
        changed = layer.changed_parameters() if self.training else None
        for value, new in zip(self.values(), changed or (), strict=False):
            if not value.requires_grad:
                value.copy_(new.reshape(value.shape))
        return tops


class Constant(nn.Module):
    """Tops that are the layer's parameters themselves."""

    def __init__(self, values: Sequence[Tensor]) -> None:
        super().__init__()
        for index, value in enumerate(values):
            self.register_parameter(str(index), nn.Parameter(value))

    def forward(self) -> Sequence[Tensor]:
        """Return them."""
        return list(self.parameters())


class Proposing(nn.Module):
    """py-faster-rcnn's Python layer, which is built in."""

    def __init__(self, layer: ProposalLayer) -> None:
        super().__init__()
        self._propose = layer.proposer

    def forward(self, scores: Tensor, offsets: Tensor, info: Tensor) -> Sequence[Tensor]:
        """Return regions, and their scores."""
        regions, found = self._propose(scores, offsets, info)
        return [regions, found[:, None]]


class NetModule(nn.Module):
    """A net that PyTorch trains, compiles and exports; `module` makes it.

    Called with the inputs in the order of `inputs`, or by name; it gives the outputs in the order
    of `outputs`: a tensor, or where there are several a tuple.

    Attributes
    ----------
    inputs, outputs : list of str
        The blobs' names.
    types : dict of str to str
        For each layer, by the name that its module has here, its type.
    """

    def __init__(self, net: Net, outputs: Sequence[str] | None = None) -> None:
        super().__init__()
        selection = select(net, outputs)
        self.inputs = [selection.name(blob) for blob in selection.inputs]
        self.outputs = [selection.name(blob) for blob in selection.outputs]
        self.input_shapes = selection.input_shapes
        self.types: dict[str, str] = {}
        self._given = list(selection.inputs)
        self._wanted = list(selection.outputs)
        self._fixed: list[tuple[int, str]] = []
        self._steps: list[tuple[str, list[int], list[int]]] = []
        for blob, tensor in selection.fixed.items():
            name = self._free_name(selection.name(blob))
            self.register_buffer(name, tensor, persistent=False)
            self._fixed.append((blob, name))
        values: dict[int, Tensor] = {}
        for step in selection.steps:
            layer = step.layer
            own = [_value(blob, i, step, values) for i, blob in enumerate(layer.blobs)]
            made: nn.Module
            if isinstance(layer, ParameterLayer):
                made = Constant(own)
            elif isinstance(layer.face, ProposalLayer):
                made = Proposing(layer.face)
            elif layer.on_blobs or layer.is_patched:
                raise NetError(
                    f"layer '{layer.name}' ({layer.type}): what it does is told by its own code "
                    "alone; name the outputs that are wanted, before it",
                    word=layer.name,
                )
            else:
                made = LayerModule(layer, [blob.shape for blob in step.bottoms], own)
            name = self._free_name(layer.name)
            self.add_module(name, made)
            self.types[name] = layer.type
            self._steps.append((name, list(step.node.bottoms), list(step.node.tops)))
        nn.Module.train(self, net.inside.steps[0].layer.phase == TRAIN)

    def _free_name(self, wanted: str) -> str:
        """A layer's name as a module's: without dots, and none that there is already."""
        name = wanted.replace(".", "_") or "layer"
        while hasattr(self, name):
            name += "_"
        return name

    def forward(self, *given: Tensor, **named: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Compute the outputs."""
        blobs: dict[int, Tensor] = {blob: getattr(self, name) for blob, name in self._fixed}
        blobs.update(zip(self._given, self._in_order(given, named), strict=True))
        for name, bottoms, tops in self._steps:
            results = self._modules[name](*[blobs[blob] for blob in bottoms])  # type: ignore[misc]
            blobs.update(zip(tops, results, strict=False))
        found = tuple(blobs[blob] for blob in self._wanted)
        return found[0] if len(found) == 1 else found

    def _in_order(self, given: Sequence[Tensor], named: dict[str, Tensor]) -> list[Tensor]:
        if len(given) + len(named) != len(self.inputs) or not named.keys() <= set(
            self.inputs[len(given) :]
        ):
            raise NetError(f"the net's inputs are {', '.join(self.inputs)}: give each of them once")
        return [*given, *(named[name] for name in self.inputs[len(given) :])]

    def example(self) -> tuple[Tensor, ...]:
        """Return inputs of the net's own shapes, zeros."""
        return tuple(torch.zeros(shape, dtype=torch.float32) for shape in self.input_shapes)


def _value(blob: Blob, index: int, step: Any, values: dict[int, Tensor]) -> Tensor:
    """A layer's parameter as PyTorch's: one and the same for those that share it."""
    key = id(blob.memory)
    if key not in values:
        tensor = blob.data_tensor().clone()
        learned = 0 <= index < len(step.node.learns) and not _is_statistic(step.layer, index)
        values[key] = nn.Parameter(tensor, step.node.learns[index]) if learned else tensor
    return values[key].view(blob.shape) if values[key].shape != blob.shape else values[key]


def _is_statistic(layer: Layer, index: int) -> bool:
    """Whether a parameter is no learned one, but forward's running statistics."""
    if not layer.statistics:
        return False
    specs = layer.layer_param.param
    return index < len(specs) and specs[index].lr_mult == 0
