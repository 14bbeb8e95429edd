"""Caffe for today's Python: load, run and train Caffe nets with ``import caffe``.

The names are pycaffe's. They are imported when first used, so that ``import caffe`` itself
costs nothing and PyTorch is loaded only by what computes.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .errors import (
    CaffeError,
    CaffeWarning,
    DeviceError,
    FetchError,
    ImageError,
    MissingExtraError,
    NetError,
    ParseError,
    ShapeError,
    WeightsError,
)
from .version import __version__

if TYPE_CHECKING:
    from . import io, layers, zoo
    from .blob import Blob
    from .classifier import Classifier
    from .detector import Detector
    from .layers.layer import layer_type_list
    from .mode import set_device, set_mode_cpu, set_mode_gpu, set_random_seed
    from .net import Net
    from .net_spec import NetSpec, params, to_proto

TRAIN, TEST = 0, 1

_HOMES = {
    "Blob": "blob",
    "Classifier": "classifier",
    "Detector": "detector",
    "Net": "net",
    "NetSpec": "net_spec",
    "layer_type_list": "layers.layer",
    "params": "net_spec",
    "set_device": "mode",
    "set_mode_cpu": "mode",
    "set_mode_gpu": "mode",
    "set_random_seed": "mode",
    "to_proto": "net_spec",
}
_MODULES = ("classifier", "detector", "io", "layers", "net_spec", "proto", "zoo")

__all__ = [
    "TEST",
    "TRAIN",
    "Blob",
    "CaffeError",
    "CaffeWarning",
    "Classifier",
    "Detector",
    "DeviceError",
    "FetchError",
    "ImageError",
    "MissingExtraError",
    "Net",
    "NetError",
    "NetSpec",
    "ParseError",
    "ShapeError",
    "WeightsError",
    "__version__",
    "io",
    "layer_type_list",
    "layers",
    "params",
    "set_device",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_random_seed",
    "to_proto",
    "zoo",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    elif name in _MODULES:
        value = importlib.import_module(f".{name}", __name__)
    else:
        raise AttributeError(f"module 'caffe' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_MODULES})
