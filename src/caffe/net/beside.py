"""A net built beside another one: its layers once more, on the same parameters."""

from __future__ import annotations

from collections.abc import Sequence

from ..memory.blob import Blob
from ..phases import TEST
from ..proto.caffe_pb2 import NetParameter
from .net import Net


def build_beside(net: Net, layers: Sequence[int] | None = None, gradients: bool = False) -> Net:
    """Build a net's layers once more, at TEST, on its parameters.

    What the first net computed last, and what its engine has prepared, is left to it. A parameter
    that its layer itself may change is copied, the others are shared.

    Parameters
    ----------
    net : Net
        Its shapes are those of its text; the caller may reshape the new one.
    layers : sequence of int, optional
        Which of its layers, in running order; all of them by default.
    gradients : bool
        Give the new net gradients by all its blobs, but by no parameters, and the layers that
        run in place tops of their own.
    """
    parts = net.inside
    chosen = range(len(parts.steps)) if layers is None else layers
    originals = [parts.steps[index] for index in chosen]
    param = NetParameter(name=net.name, force_backward=gradients)
    for original in originals:
        layer = param.layer.add()
        layer.CopyFrom(original.node.param)
        layer.phase = TEST  # type: ignore[assignment]
        for field in ("include", "exclude", "loss_weight", "blobs"):
            layer.ClearField(field)
    if gradients:
        _name_apart(param, net.inputs, [original.layer.on_blobs for original in originals])
    beside = Net(param, TEST)
    for mine, theirs in zip(beside.inside.steps, originals, strict=True):
        # Gradients by the parameters would cost memory and time, and nobody asks for them.
        mine.node.param_need_backward = [False] * len(mine.layer.blobs)
        # What runs on blobs may write into its own parameters, as a person's Python layer does.
        share = mine.layer.is_pure and not mine.layer.on_blobs
        for blob, source in zip(mine.layer.blobs, theirs.layer.blobs, strict=True):
            _take_parameter(blob, source, share)
    return beside


def _name_apart(param: NetParameter, inputs: Sequence[str], on_blobs: Sequence[bool]) -> None:
    """Give layers that run in place tops of their own; the last of a name keeps it.

    Of a layer in place Caffe keeps the top only, so that the gradient of some (Clip) is wrong
    there, and that of the blob itself is lost to the layers that ran on it.
    """
    changes: dict[str, str] = {}
    for index in reversed(range(len(param.layer))):
        layer = param.layer[index]
        for i, top in enumerate(layer.top):
            in_place = i < len(layer.bottom) and layer.bottom[i] == top
            layer.top[i] = changes.get(top, top)
            if in_place and not on_blobs[index] and top not in inputs:
                changes[top] = f"{top} (before layer {index})"
            elif not in_place:
                changes.pop(top, None)
        for i, bottom in enumerate(layer.bottom):
            layer.bottom[i] = changes.get(bottom, bottom)


def _take_parameter(blob: Blob, source: Blob, share: bool) -> None:
    """Use the other net's parameter, or a copy where the layer itself may change it."""
    if blob.shape != source.shape:
        blob.reshape(*source.shape)
    if share:
        blob.share_data(source)
    else:
        blob.put_data(source.data_tensor().clone())
