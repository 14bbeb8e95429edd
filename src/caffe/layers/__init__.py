"""The layers, one file per family; also pycaffe's ``layers`` for writing nets.

``from caffe import layers as L`` gives ``L.Convolution(bottom, num_output=96, ...)`` and so on
for any layer type, as `caffe.net_spec.layers` makes them.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ..net_spec import layers

    return getattr(layers, name)
