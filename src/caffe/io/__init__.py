"""Pictures, arrays and Caffe's messages: pycaffe's `caffe.io`."""

from typing import Any

import numpy as np

from ..proto import caffe_pb2
from .arrays import (
    array_to_blobproto,
    array_to_datum,
    arraylist_to_blobprotovector_str,
    blobproto_to_array,
    blobprotovector_str_to_arraylist,
    datum_to_array,
    load_mean,
)
from .pictures import load_image
from .resizing import oversample, resize_image
from .scientific import resize, scikit_image, zoom
from .transformer import Transformer

__all__ = [
    "Transformer",
    "array_to_blobproto",
    "array_to_datum",
    "arraylist_to_blobprotovector_str",
    "blobproto_to_array",
    "blobprotovector_str_to_arraylist",
    "caffe_pb2",
    "datum_to_array",
    "load_image",
    "load_mean",
    "np",
    "oversample",
    "resize",
    "resize_image",
    "zoom",
]


def __getattr__(name: str) -> Any:
    # pycaffe's module has it by its imports; here it is an extra, and named where it is missing.
    if name == "skimage":
        return scikit_image()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
