"""Caffe's file formats: nets and solvers as text or binary, weights, and their upgrades.

Nothing is imported here before it is asked for, so that ``caffe.proto.caffe_pb2`` costs only that
module.

- ``caffe_pb2``: the messages, generated from ``caffe.proto``.
- ``text``: prototxt read and written, with errors that say where.
- ``files``: nets and solvers read from text or binary and upgraded.
- ``upgrade``: V0, V1 and other old forms to today's.
- ``weights``: ``.caffemodel``, ``.caffemodel.h5`` and ``.binaryproto`` files.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from . import caffe_pb2 as caffe_pb2


def __getattr__(name: str) -> Any:
    if name != "caffe_pb2":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f".{name}", __name__)
