"""Nets that strangers send to be looked at: none is run, and no file that they name is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from numpy.typing import NDArray

from ..errors import CaffeError
from ..layers.python import BUILT_IN
from ..phases import TEST
from ..proto.caffe_pb2 import LayerParameter
from ..proto.files import parse_net
from ..proto.text import decode
from ..structure.outline import Outline, outline
from ..structure.summary import summarize
from ..weights.caffemodel import read_layers
from ..weights.layer_weights import WeightBlob
from .inside import structure_of, weights_shown
from .refusals import Refusal

MOST_TEXT = 2 << 20
MOST_LAYERS = 3000
HARMLESS = frozenset(
    {"name", "type", "bottom", "top", "stage", "not_stage", "share_mode", "engine"}
)
"""Texts of a layer that name no file: what a parameter is called, for one."""


@dataclass(frozen=True)
class SentNet:
    """A net's text, and its weights where they came along."""

    text: bytes
    weights: bytes | None = None


@dataclass(frozen=True)
class ReadNet:
    """A net that can be looked at.

    Attributes
    ----------
    outline : Outline
        Its layers and what is known of their shapes.
    weights : dict of str to list of WeightBlob
        Its parameters by layer, where weights came along.
    """

    outline: Outline
    weights: dict[str, list[WeightBlob]]


def read_net(sent: SentNet) -> ReadNet:
    """Read what somebody sent; raises Refusal (400, 413) where it is no net, or too large."""
    if len(sent.text) > MOST_TEXT:
        most = f"{MOST_TEXT >> 20} MiB"
        raise Refusal(413, "too_large", f"a net's text may have {most}; is this a caffemodel?")
    try:
        param = parse_net(decode(sent.text, "the net"), "the net")
        if len(param.layer) > MOST_LAYERS:
            raise Refusal(413, "too_large", f"the net has more than {MOST_LAYERS} layers")
        if not param.layer:
            raise Refusal(400, "bad_net", "the net has no layers; is this a solver's text?")
        for layer in param.layer:
            _forget_files(layer)
        found = outline(param, TEST)
        layers = read_layers(sent.weights, "the weights") if sent.weights else []
        weights = {
            layer.name: [blob for blob in layer.blobs if blob is not None]
            for layer in layers
            if layer.blobs
        }
    except Refusal:
        raise
    except CaffeError as error:
        raise Refusal(400, "bad_net", str(error)) from error
    return ReadNet(found, weights)


def _forget_files(layer: LayerParameter) -> None:
    """Take out what could name a file or a module of the server: a stranger's net opens none."""
    for found, value in layer.ListFields():
        if found.name == "python_param":
            if (value.module, value.layer) not in BUILT_IN:
                value.module = ""
        elif found.type == FieldDescriptor.TYPE_MESSAGE:
            for message in [value] if isinstance(value, Message) else value:
                _forget_texts(message)


def _forget_texts(message: Message) -> None:
    for found, value in message.ListFields():
        if found.type == FieldDescriptor.TYPE_MESSAGE:
            for inner in [value] if isinstance(value, Message) else value:
                _forget_texts(inner)
        elif found.type == FieldDescriptor.TYPE_STRING and found.name not in HARMLESS:
            message.ClearField(found.name)


def structure(net: ReadNet) -> dict[str, Any]:
    """The net's layers, as those of a model."""
    found = structure_of(summarize(net.outline).as_dict())
    for layer in found["layers"]:
        blobs = net.weights.get(layer["name"], ())
        if layer["parameter_shapes"] is None or blobs:
            layer["parameter_shapes"] = [list(blob.shape) for blob in blobs]
        layer["filters"] = bool(layer["parameter_shapes"])
        layer["parameters"] = layer["parameters"] or sum(blob.count for blob in blobs)
    return {**found, "weights": len(net.weights)}


def filters(net: ReadNet, name: str, first: int, count: int, blob: int) -> dict[str, Any]:
    """A layer's parameters, from the weights that came along."""
    blobs: Sequence[WeightBlob] = net.weights.get(name, ())
    if blob >= len(blobs):
        raise Refusal(404, "no_filters", f"the weights have no parameters {blob} of '{name}'")
    try:
        values: NDArray[np.float32] = np.asarray(blobs[blob].data).reshape(blobs[blob].shape)
    except (CaffeError, ValueError) as error:
        raise Refusal(400, "bad_net", "the weights are damaged") from error
    return weights_shown(name, values, first, count)


def net_of(form: dict[str, bytes]) -> SentNet:
    """What a form holds; raises Refusal (400) where it has no net."""
    if not form.get("net"):
        raise Refusal(400, "empty", "the form has no file 'net'")
    return SentNet(form["net"], form.get("weights") or None)
