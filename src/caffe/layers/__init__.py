"""The layers, one file per family; also pycaffe's ``layers`` for writing nets.

``from caffe import layers as L`` gives ``L.Convolution(bottom, num_output=96, ...)`` and so on
for any layer type, as `caffe.net_spec.layers` makes them.
"""

from importlib.util import find_spec
from typing import Any


def __getattr__(name: str) -> Any:
    # A module of this package that is not imported yet: "from caffe.layers import pooling".
    if name.startswith("_") or find_spec(f"{__name__}.{name}") is not None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ..net_spec import layers

    return getattr(layers, name)
