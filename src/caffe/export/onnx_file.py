"""ONNX models written to files: whole or not there, large ones with their numbers beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..atomic import atomic_write
from ..errors import ArgumentError
from ..guarded import guarded
from ..net.net import Net, checked_net
from ..paths import PathLike, path_text
from .onnx_model import MOST_IN_ONE, OLDEST_OPSET, Model, build, onnx_package

if TYPE_CHECKING:
    from ..io.recipe import PictureRecipe

ALIGNED = 4096
"""Where arrays begin in a file of numbers: so that it can be mapped."""

Progress = Callable[[int, int], None]
"""Told how many bytes are written, and of how many."""


def _no_progress(done: int, whole: int) -> None:
    pass


def write(
    model: Model,
    path: PathLike,
    external: bool | None = None,
    progress: Progress = _no_progress,
) -> None:
    """Write a model.

    Parameters
    ----------
    model : Model
        Its numbers are written as they stand.
    path : path
        The .onnx file.
    external : bool, optional
        Keep the numbers in a file of their own beside it, ``<path>.data``; by default where a
        file of protobuf's would be too large (2 GB).
    progress : callable
        Told how far the writing is.

    Raises
    ------
    WriteError
        It cannot be written there.
    """
    whole = sum(array.nbytes for array in model.large.values())
    if external is None:
        external = whole > MOST_IN_ONE
    proto = onnx_package().ModelProto()
    proto.CopyFrom(model.proto)
    tensors = [t for t in proto.graph.initializer if t.name in model.large]
    if external:
        data = Path(f"{path_text(path)}.data")
        # Both are under way until both are whole.
        with atomic_write(path) as stream, atomic_write(data) as numbers:
            done = 0
            for tensor in tensors:
                array = model.large[tensor.name]
                numbers.write(b"\0" * (-numbers.tell() % ALIGNED))
                _point_to(tensor, data.name, numbers.tell(), array.nbytes)
                numbers.write(array.reshape(-1).view(np.uint8).data)
                done += array.nbytes
                progress(done, whole)
            stream.write(proto.SerializeToString())
        return
    done = 0
    for tensor in tensors:
        array = model.large[tensor.name]
        tensor.raw_data = array.tobytes()
        done += array.nbytes
        progress(done, whole)
    with atomic_write(path) as stream:
        stream.write(proto.SerializeToString())


@guarded
def to_onnx(
    net: Net,
    outputs: Sequence[str] | None = None,
    *,
    opset: int = OLDEST_OPSET,
    dynamic_batch: bool = False,
    recipe: PictureRecipe | None = None,
) -> Any:
    """Return a net as a model of ONNX's; the arguments and errors are those of `save`.

    Raises
    ------
    ArgumentError
        It has more than 2 GB of numbers, which only files of their own can hold: see `save`.
    """
    model = build(checked_net(net), outputs, opset, dynamic_batch, recipe)
    if sum(array.nbytes for array in model.large.values()) > MOST_IN_ONE:
        raise ArgumentError("the net's numbers are too many for one message: write it by save()")
    return whole_proto(model)


def whole_proto(model: Model) -> Any:
    """Return the model as onnx.ModelProto, all its numbers in it."""
    proto = onnx_package().ModelProto()
    proto.CopyFrom(model.proto)
    for tensor in proto.graph.initializer:
        if tensor.name in model.large:
            tensor.raw_data = model.large[tensor.name].tobytes()
    return proto


def _point_to(tensor: Any, file: str, offset: int, length: int) -> None:
    tensor.data_location = onnx_package().TensorProto.EXTERNAL
    for key, value in {"location": file, "offset": offset, "length": length}.items():
        tensor.external_data.add(key=key, value=str(value))
