"""V1 nets (2014: ``layers { type: CONVOLUTION }``) made V2 nets (``layer { type: "..." }``)."""

from __future__ import annotations

import re
import warnings

from ..errors import CaffeWarning, ParseError
from . import caffe_pb2
from .kept import keep, kept
from .text import parse_text

LAYER_TYPES = {
    "NONE": "",
    "ABSVAL": "AbsVal",
    "ACCURACY": "Accuracy",
    "ARGMAX": "ArgMax",
    "BNLL": "BNLL",
    "CONCAT": "Concat",
    "CONTRASTIVE_LOSS": "ContrastiveLoss",
    "CONVOLUTION": "Convolution",
    "DECONVOLUTION": "Deconvolution",
    "DATA": "Data",
    "DROPOUT": "Dropout",
    "DUMMY_DATA": "DummyData",
    "EUCLIDEAN_LOSS": "EuclideanLoss",
    "ELTWISE": "Eltwise",
    "EXP": "Exp",
    "FLATTEN": "Flatten",
    "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output",
    "HINGE_LOSS": "HingeLoss",
    "IM2COL": "Im2col",
    "IMAGE_DATA": "ImageData",
    "INFOGAIN_LOSS": "InfogainLoss",
    "INNER_PRODUCT": "InnerProduct",
    "LRN": "LRN",
    "MEMORY_DATA": "MemoryData",
    "MULTINOMIAL_LOGISTIC_LOSS": "MultinomialLogisticLoss",
    "MVN": "MVN",
    "POOLING": "Pooling",
    "POWER": "Power",
    "RELU": "ReLU",
    "SIGMOID": "Sigmoid",
    "SIGMOID_CROSS_ENTROPY_LOSS": "SigmoidCrossEntropyLoss",
    "SILENCE": "Silence",
    "SOFTMAX": "Softmax",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "SPLIT": "Split",
    "SLICE": "Slice",
    "TANH": "TanH",
    "WINDOW_DATA": "WindowData",
    "THRESHOLD": "Threshold",
    # Forks.
    "BN": "BN",
    "DENSE_IMAGE_DATA": "DenseImageData",
    "INTERP": "Interp",
    "PADDING": "Padding",
    "PRELU": "PReLU",
    "RESHAPE": "Reshape",
    "UPSAMPLE": "Upsample",
    "CONVOLUTION3D": "Convolution3D",
    "POOLING3D": "Pooling3D",
    "DECONVOLUTION3D": "Deconvolution3D",
    "VOLUME_DATA": "VolumeData",
    "IMAGE_SEG_DATA": "ImageSegData",
    "CROP": "Crop",
    "PYTHON": "Python",
    "LSTM": "Lstm",
    "ROI_POOLING": "ROIPooling",
    "SMOOTH_L1_LOSS": "SmoothL1Loss",
    "UNPOOLING": "Unpooling",
    "SEG_ACCURACY": "SegAccuracy",
}

# V1 fields that became part of a ParamSpec, one entry for each parameter blob.
_PARAM_FIELDS = {
    "param": "name",
    "blob_share_mode": "share_mode",
    "blobs_lr": "lr_mult",
    "weight_decay": "decay_mult",
}
_COPIED = ("bottom", "top", "name", "include", "exclude", "blobs", "loss_weight")
_DATA_LAYERS = {
    "DATA": "data_param",
    "IMAGE_DATA": "image_data_param",
    "WINDOW_DATA": "window_data_param",
}
_TRANSFORM_FIELDS = ("scale", "mean_file", "crop_size", "mirror")


def layer_type(number: int) -> str:
    """The V2 name of a V1 type; empty for a number that V1 does not have."""
    name = caffe_pb2.V1LayerParameter.LayerType.DESCRIPTOR.values_by_number.get(number)
    return LAYER_TYPES[name.name] if name else ""


def needs_data_upgrade(net: caffe_pb2.NetParameter) -> bool:
    """Whether a V1 data layer has its transformation in its own parameters."""
    return any(
        getattr(layer, _data_param(layer)).HasField(field)
        for layer in net.layers
        if _data_param(layer)
        for field in _TRANSFORM_FIELDS
    )


def upgrade_data(net: caffe_pb2.NetParameter) -> None:
    """Move scale, mean_file, crop_size and mirror of V1 data layers to transform_param."""
    for layer in net.layers:
        if not _data_param(layer):
            continue
        # As Caffe does, so that the upgraded texts are the same.
        layer.transform_param.SetInParent()
        old = getattr(layer, _data_param(layer))
        old.SetInParent()
        for field in _TRANSFORM_FIELDS:
            if old.HasField(field):
                setattr(layer.transform_param, field, getattr(old, field))
                old.ClearField(field)


def upgrade(net: caffe_pb2.NetParameter, source: str | None = None) -> None:
    """Make a V1 net a V2 net, in place.

    Raises
    ------
    ParseError
        The net has V2 layers too.
    """
    if net.layer:
        raise ParseError(
            f"the net has both 'layers' (old form, first {net.layers[0].name!r}) and 'layer' "
            f"(first {net.layer[0].name!r}); write them all as 'layer'",
            source,
        )
    net.layer.extend(_upgrade_layer(layer) for layer in net.layers)
    net.ClearField("layers")


def _data_param(layer: caffe_pb2.V1LayerParameter) -> str:
    name = caffe_pb2.V1LayerParameter.LayerType.Name(layer.type)
    return _DATA_LAYERS.get(name, "")


def _take_over(text: str, new: caffe_pb2.LayerParameter) -> None:
    """Take a field that V1 layers do not know: as today's where it is one, else as it is kept.

    Written as text and read again it is today's field in any case.
    """
    found = re.match(r"\w+", text)
    if found is None or found[0] not in caffe_pb2.LayerParameter.DESCRIPTOR.fields_by_name:
        keep(new, text)
        return
    with warnings.catch_warnings():
        # What the schema does not know in it has been told when it was read.
        warnings.simplefilter("ignore", CaffeWarning)
        parse_text(text, new, f"layers {{ name: {new.name!r} }}")


def _upgrade_layer(old: caffe_pb2.V1LayerParameter) -> caffe_pb2.LayerParameter:
    new = caffe_pb2.LayerParameter()
    for text in kept(old):
        _take_over(text, new)
    for field, value in old.ListFields():
        name = field.name
        if name == "type":
            new.type = layer_type(value)
        elif name in _PARAM_FIELDS:
            while len(new.param) < len(value):
                new.param.add()
            for spec, item in zip(new.param, value, strict=False):
                setattr(spec, _PARAM_FIELDS[name], item)
        elif name in _COPIED or name.endswith("_param"):
            target = getattr(new, name)
            if hasattr(target, "extend"):
                target.extend(value)
            elif hasattr(target, "CopyFrom"):
                target.CopyFrom(value)
            else:
                setattr(new, name, value)
    return new
