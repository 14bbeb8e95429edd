"""A net written for others, in the form that the file's name says."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..atomic import atomic_write
from ..errors import ArgumentError, require
from ..guarded import guarded
from ..net.net import Net, checked_net
from ..paths import PathLike, path_text
from ..pytorch import torch
from . import onnx_file, onnx_model
from .folding import folded
from .recording import module, record
from .source import Source

if TYPE_CHECKING:
    from torch import Tensor

    from ..io.recipe import PictureRecipe

FORMATS = {
    ".onnx": "a model of ONNX's",
    ".pt2": "a program of PyTorch's (torch.export.load)",
    ".py": "a module's source for PyTorch, its weights beside it as .safetensors",
    ".safetensors": "the weights alone, called <layer>.<i>",
}
"""By ending what is written."""

CHUNK = 1 << 24

Progress = Callable[[int, int], None]


def _no_progress(done: int, whole: int) -> None:
    pass


@guarded
def save(
    net: Net,
    path: PathLike,
    *,
    outputs: Sequence[str] | None = None,
    opset: int | None = None,
    dynamic_batch: bool = False,
    fold: bool = False,
    recipe: PictureRecipe | None = None,
    external_data: bool | None = None,
    progress: Progress = _no_progress,
) -> None:
    """Write a net for other programs, in the form that the file's name says.

    Parameters
    ----------
    net : Net
        With its parameters; its inputs' shapes are the model's.
    path : path
        Ends in .onnx, .pt2, .py or .safetensors. The file is written whole or not at all.
    outputs : sequence of str, optional
        The blobs that are wanted; the net's outputs by default. Layers that these do not need
        (losses, say) are left out.
    opset : int, optional
        For ONNX: the version of its operators, from 17 on, which is the default.
    dynamic_batch : bool
        Leave the length of the inputs' first axis open; .py leaves it open anyhow where it can.
    fold : bool
        Take BatchNorm, Scale and Bias layers into the weights before them.
    recipe : PictureRecipe, optional
        For ONNX: the model takes pictures, RGB (or grey) and 0 to 255, of the net's own size, and
        does what the recipe says of channels, scales and mean itself.
    external_data : bool, optional
        For ONNX: keep the numbers in a file beside it (``<path>.data``); by default where they
        are more than 2 GB.
    progress : callable, optional
        Told how many bytes are written, and of how many.

    Raises
    ------
    ArgumentError
        The name has another ending, or the settings are none for that form.
    NetError
        A layer cannot be written in that form; the text names it and says why.
    WriteError
        The file cannot be written.
    MissingExtraError
        The extra `onnx` or `safetensors` is not installed.
    """
    net = checked_net(net)
    ending = Path(path_text(path)).suffix.lower()
    if ending not in FORMATS:
        raise ArgumentError(
            f"{path_text(path)}: the name must end in {', '.join(FORMATS)}, which say the form"
        )
    if ending != ".onnx" and (opset or recipe is not None or external_data is not None):
        raise ArgumentError(f"opset, recipe and external_data are for .onnx, not for {ending}")
    if ending == ".safetensors" and dynamic_batch:
        raise ArgumentError("weights alone have no batch: dynamic_batch is for the other forms")
    if fold:
        net = folded(net)
    if ending == ".onnx":
        model = onnx_model.build(
            net, outputs, opset or onnx_model.OLDEST_OPSET, dynamic_batch, recipe
        )
        onnx_file.write(model, path, external_data, progress)
    elif ending == ".pt2":
        stream = io.BytesIO()
        torch.export.save(record(module(net, outputs), dynamic_batch), stream)
        write_bytes(path, stream.getbuffer(), progress)
    elif ending == ".py":
        _write_source(net, path, outputs, dynamic_batch, progress)
    else:
        write_tensors(path, module(net, outputs).state_dict(), progress)


def _write_source(
    net: Net,
    path: PathLike,
    outputs: Sequence[str] | None,
    dynamic_batch: bool,
    progress: Progress,
) -> None:
    file = Path(path_text(path))
    source = Source(module(net, outputs), file.stem, net.name or file.stem, dynamic_batch)
    # Both are under way until both are whole.
    with atomic_write(path, "w") as stream:
        stream.write(source.text)
        write_tensors(file.with_suffix(".safetensors"), source.weights, progress)


def write_tensors(
    path: PathLike, tensors: dict[str, Tensor], progress: Progress = _no_progress
) -> None:
    """Write tensors as a .safetensors file, whole or not at all.

    Raises
    ------
    MissingExtraError
        The package safetensors is not installed.
    """
    form = require("safetensors.torch", "safetensors", ".safetensors files")
    # Parameters that several layers share stand there once for each.
    own = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    write_bytes(path, memoryview(form.save(own, {"format": "pt"})), progress)


def write_bytes(path: PathLike, data: memoryview, progress: Progress = _no_progress) -> None:
    """Write a file, whole or not at all, and tell how far it is."""
    with atomic_write(path) as stream:
        for start in range(0, len(data), CHUNK):
            stream.write(data[start : start + CHUNK])
            progress(min(start + CHUNK, len(data)), len(data))
