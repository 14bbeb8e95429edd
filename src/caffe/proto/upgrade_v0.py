"""V0 nets (2013: ``layers { layer { ... } }``) made V1 nets."""

from __future__ import annotations

import warnings

from ..errors import CaffeWarning, ParseError
from . import caffe_pb2

# V0's type strings, and the V1 enum values that took their place.
LAYER_TYPES = {
    "accuracy": "ACCURACY",
    "bnll": "BNLL",
    "concat": "CONCAT",
    "conv": "CONVOLUTION",
    "data": "DATA",
    "dropout": "DROPOUT",
    "euclidean_loss": "EUCLIDEAN_LOSS",
    "flatten": "FLATTEN",
    "hdf5_data": "HDF5_DATA",
    "hdf5_output": "HDF5_OUTPUT",
    "im2col": "IM2COL",
    "images": "IMAGE_DATA",
    "infogain_loss": "INFOGAIN_LOSS",
    "innerproduct": "INNER_PRODUCT",
    "lrn": "LRN",
    "multinomial_logistic_loss": "MULTINOMIAL_LOGISTIC_LOSS",
    "pool": "POOLING",
    "relu": "RELU",
    "sigmoid": "SIGMOID",
    "softmax": "SOFTMAX",
    "softmax_loss": "SOFTMAX_LOSS",
    "split": "SPLIT",
    "tanh": "TANH",
    "window_data": "WINDOW_DATA",
}

_CONV = {"conv": "convolution_param"}
_WEIGHTED = {**_CONV, "innerproduct": "inner_product_param"}
_WINDOWED = {**_CONV, "pool": "pooling_param"}
_LRN = {"lrn": "lrn_param"}
_IMAGES = {"images": "image_data_param"}
_WINDOW = {"window_data": "window_data_param"}
_STORED = {"data": "data_param", **_IMAGES}
_BATCHED = {**_STORED, "hdf5_data": "hdf5_data_param", **_WINDOW}
_SOURCED = {**_BATCHED, "infogain_loss": "infogain_loss_param"}

# Where each V0 field went: its name there, and the message for each layer type that has it.
_FIELDS: dict[str, tuple[str, dict[str, str]]] = {
    "num_output": ("num_output", _WEIGHTED),
    "biasterm": ("bias_term", _WEIGHTED),
    "weight_filler": ("weight_filler", _WEIGHTED),
    "bias_filler": ("bias_filler", _WEIGHTED),
    "pad": ("pad", _WINDOWED),
    "kernelsize": ("kernel_size", _WINDOWED),
    "group": ("group", _CONV),
    "stride": ("stride", _WINDOWED),
    "pool": ("pool", {"pool": "pooling_param"}),
    "dropout_ratio": ("dropout_ratio", {"dropout": "dropout_param"}),
    "local_size": ("local_size", _LRN),
    "alpha": ("alpha", _LRN),
    "beta": ("beta", _LRN),
    "k": ("k", _LRN),
    "source": ("source", _SOURCED),
    "batchsize": ("batch_size", _BATCHED),
    "rand_skip": ("rand_skip", _STORED),
    "shuffle_images": ("shuffle", _IMAGES),
    "new_height": ("new_height", _IMAGES),
    "new_width": ("new_width", _IMAGES),
    "concat_dim": ("concat_dim", {"concat": "concat_param"}),
    "det_fg_threshold": ("fg_threshold", _WINDOW),
    "det_bg_threshold": ("bg_threshold", _WINDOW),
    "det_fg_fraction": ("fg_fraction", _WINDOW),
    "det_context_pad": ("context_pad", _WINDOW),
    "det_crop_mode": ("crop_mode", _WINDOW),
}
# These went to transform_param whatever the type.
_TRANSFORM = {
    "scale": "scale",
    "meanfile": "mean_file",
    "cropsize": "crop_size",
    "mirror": "mirror",
}


def needs_upgrade(net: caffe_pb2.NetParameter) -> bool:
    """Whether any layer is said the V0 way."""
    return any(layer.HasField("layer") for layer in net.layers)


def upgrade(net: caffe_pb2.NetParameter, source: str | None = None) -> None:
    """Make a V0 net a V1 net, in place.

    Padding layers vanish into the convolution or pooling layer behind them.

    Raises
    ------
    ParseError
        A layer's type is unknown, or a padding layer stands where it cannot be taken out.
    """
    upgraded = [_upgrade_layer(layer, source) for layer in _without_padding(net, source)]
    del net.layers[:]
    net.layers.extend(upgraded)


def _without_padding(
    net: caffe_pb2.NetParameter, source: str | None
) -> list[caffe_pb2.V1LayerParameter]:
    kept = []
    made_by: dict[str, caffe_pb2.V1LayerParameter | None] = dict.fromkeys(net.input)
    for layer in net.layers:
        for index, bottom in enumerate(layer.bottom):
            if bottom not in made_by:
                raise ParseError(
                    f"layer {layer.layer.name!r}: no layer above makes its bottom {bottom!r}",
                    source,
                )
            padding = made_by[bottom]
            if padding is None or padding.layer.type != "padding":
                continue
            if layer.layer.type not in _WINDOWED or not (
                len(layer.bottom) == len(padding.bottom) == len(padding.top) == 1
            ):
                raise ParseError(
                    f"layer {layer.layer.name!r}: a padding layer ({padding.layer.name!r}) can "
                    "only feed a conv or pool layer, one blob in and one blob out",
                    source,
                )
            layer.layer.pad = padding.layer.pad
            layer.bottom[index] = padding.bottom[0]
        if layer.layer.type != "padding":
            kept.append(layer)
        made_by.update(dict.fromkeys(layer.top, layer))
    return kept


def _upgrade_layer(
    connected: caffe_pb2.V1LayerParameter, source: str | None
) -> caffe_pb2.V1LayerParameter:
    old = connected.layer
    if not connected.HasField("layer"):
        raise ParseError(
            f"layer {connected.name!r} is in V1 form, but other layers of the net are in V0 form",
            source,
        )
    if old.HasField("type") and old.type not in LAYER_TYPES:
        known = ", ".join(LAYER_TYPES)
        raise ParseError(
            f"layer {old.name!r}: unknown V0 layer type {old.type!r}; there are: {known}", source
        )
    new = caffe_pb2.V1LayerParameter(
        bottom=connected.bottom, top=connected.top, type=LAYER_TYPES.get(old.type)
    )
    if old.HasField("name"):
        new.name = old.name
    new.blobs.extend(old.blobs)
    new.blobs_lr.extend(old.blobs_lr)
    new.weight_decay.extend(old.weight_decay)
    if old.HasField("hdf5_output_param"):
        new.hdf5_output_param.CopyFrom(old.hdf5_output_param)
    for name, target in _TRANSFORM.items():
        if old.HasField(name):
            setattr(new.transform_param, target, getattr(old, name))
    for name, (target, messages) in _FIELDS.items():
        if not old.HasField(name):
            continue
        if old.type not in messages:
            where = f"{source}: " if source else ""
            warnings.warn(
                f"{where}layer {old.name!r}: a V0 layer of type {old.type!r} has no {name!r}; "
                "it is ignored",
                CaffeWarning,
                stacklevel=2,
            )
            continue
        _set(getattr(new, messages[old.type]), target, getattr(old, name))
    return new


def _set(message: object, name: str, value: object) -> None:
    """Give a field its value, whether it is plain, repeated or a message."""
    field = getattr(message, name)
    if isinstance(value, caffe_pb2.FillerParameter):
        field.CopyFrom(value)
    elif hasattr(field, "append"):
        field.append(value)
    else:
        setattr(message, name, value)
