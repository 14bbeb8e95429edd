"""Weights as .safetensors files: tensors called <layer>.<i>, as exports have them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from ..atomic import atomic_write
from ..errors import CaffeError, ParseError, require
from ..paths import PathLike
from ..proto.contents import Content
from .layer_weights import LayerWeights, WeightBlob

_LENGTH = 8
_SHORT = ("BF16", "F8_E4M3", "F8_E5M2")
"""Kinds of numbers that numpy has not, and PyTorch has."""

_MOST_HEADER = 100_000_000
"""How long the library lets a file's header be."""


def is_one(data: Content) -> bool:
    """Whether content is a .safetensors file: a header's length, and the header, which is JSON."""
    head = bytes(data[: _LENGTH + 2])
    length = int.from_bytes(head[:_LENGTH], "little")
    return head[_LENGTH:] in (b'{"', b"{}", b"{ ") and length <= min(len(data), _MOST_HEADER)


def read_layers(path: str) -> Iterator[LayerWeights]:
    """Yield the layers in the order of their names' first tensors.

    Raises
    ------
    ParseError
        The file is damaged, or a tensor's name is not <layer>.<i>.
    MissingExtraError
        safetensors is not installed.
    """
    tensors = read_tensors(path)
    layers: dict[str, dict[int, WeightBlob]] = {}
    for name in sorted(tensors, key=_in_order):
        layer, _, index = name.rpartition(".")
        if not layer or not index.isdecimal() or len(index) > 3:
            raise ParseError(
                f"the tensor '{name}' is not called <layer>.<i>, as a Caffe net's parameters are; "
                "a PyTorch module's go into a net by: caffe convert --net PROTOTXT --by name",
                path,
            )
        layers.setdefault(layer, {})[int(index)] = tensors[name]
    for layer, blobs in layers.items():
        yield LayerWeights(layer, "", [blobs.get(i) for i in range(max(blobs) + 1)])


def read_tensors(path: str) -> dict[str, WeightBlob]:
    """Return all tensors by their names; raises as `read_layers` does."""
    library = _library()
    try:
        with library.safe_open(path, framework="numpy") as file:
            found = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            shapes = {name: tuple(part.get_shape()) for name, part in found.items()}
    except Exception as error:
        raise ParseError(f"the .safetensors file is damaged: {error}", path) from error
    return {
        name: WeightBlob(shape, partial(_read, library, path, name))
        for name, shape in shapes.items()
    }


def write(path: PathLike, layers: Iterable[tuple[str, Sequence[np.ndarray]]], half: bool) -> None:
    """Write layers' names and blobs, wholly or not at all.

    Raises
    ------
    MissingExtraError
        safetensors is not installed.
    """
    _library()
    form = require("safetensors.numpy", "safetensors", ".safetensors files")
    kind = np.float16 if half else np.float32
    tensors = {
        f"{name}.{index}": np.asarray(blob, kind, order="C")
        for name, blobs in layers
        for index, blob in enumerate(blobs)
    }
    data: bytes = form.save(tensors, {"format": "pt"})
    with atomic_write(path) as stream:
        stream.write(data)


def _in_order(name: str) -> tuple[str, int]:
    layer, _, index = name.rpartition(".")
    return layer, int(index) if index.isdecimal() else -1


def _library() -> ModuleType:
    return require("safetensors", "safetensors", ".safetensors files")


def _read(library: Any, path: str, name: str) -> np.ndarray:
    try:
        with library.safe_open(path, framework="numpy") as file:
            if file.get_slice(name).get_dtype() not in _SHORT:
                values: np.ndarray = np.asarray(file.get_tensor(name), np.float32).reshape(-1)
                return values
        with library.safe_open(path, framework="pt") as file:
            values = file.get_tensor(name).float().reshape(-1).numpy()
    except CaffeError:
        raise
    except Exception as error:
        raise ParseError(f"tensor '{name}' cannot be read: {error}", path) from error
    return values
