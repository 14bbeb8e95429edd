"""Pictures, arrays and Caffe's messages: pycaffe's `caffe.io`."""

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
from .pictures import load_image, oversample, resize_image
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
    "oversample",
    "resize_image",
]
