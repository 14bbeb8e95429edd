"""HDF5 weight files in Caffe's layout: ``data/<layer>/<index>``, and ``diff`` likewise."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from ..atomic import atomic_write
from ..errors import CaffeError, ParseError, require
from ..paths import PathLike
from .layer_weights import LayerWeights, WeightBlob

# Layer names with slashes make groups in groups; more than this is a file that goes in circles.
_MAX_DEPTH = 32


def read_layers(path: str) -> Iterator[LayerWeights]:
    """Yield each layer with the values and gradients of its blobs, by name.

    Raises
    ------
    ParseError
        The file is damaged or holds no weights.
    MissingExtraError
        h5py is not installed.
    """
    h5py = _h5py()
    try:
        with h5py.File(path, "r") as file:
            data = file.get("data")
            if not isinstance(data, h5py.Group):
                hint = " (it is a solver's state)" if "history" in file else ""
                raise ParseError(f"the HDF5 file has no group 'data'{hint}", path)
            yield from _layers(h5py, data, file.get("diff"), "", path, 0)
    except CaffeError:
        raise
    except Exception as error:
        raise ParseError(f"the HDF5 file is damaged: {error}", path) from error


def write_groups(
    path: PathLike,
    groups: dict[str, Iterable[tuple[str, Sequence[np.ndarray | None]]]],
) -> None:
    """Write each group's layers and their blobs, wholly or not at all.

    Raises
    ------
    MissingExtraError
        h5py is not installed.
    """
    h5py = _h5py()
    with (
        atomic_write(path) as stream,
        # HDF5 reads back what it wrote, so that the stream alone does not do.
        os.fdopen(os.dup(stream.fileno()), "r+b") as both,
        h5py.File(both, "w") as file,
    ):
        for group, layers in groups.items():
            root = file.create_group(group)
            for name, blobs in layers:
                folder = root.require_group(name)
                for index, blob in enumerate(blobs):
                    if blob is not None:
                        folder.create_dataset(str(index), data=np.asarray(blob, "<f4"))


def _h5py() -> ModuleType:
    return require("h5py", "hdf5", "HDF5 weights (.caffemodel.h5)")


def _layers(
    h5py: ModuleType, group: Any, diffs: Any, prefix: str, path: str, depth: int
) -> Iterator[LayerWeights]:
    if depth > _MAX_DEPTH:
        raise ParseError(f"the HDF5 groups under {prefix!r} have no end", path)
    for key, item in _members(h5py, group).items():
        if not isinstance(item, h5py.Group):
            continue
        name = f"{prefix}{key}"
        diff = diffs.get(key) if isinstance(diffs, h5py.Group) else None
        members = _members(h5py, item)
        inner = any(isinstance(member, h5py.Group) for member in members.values())
        blobs = {
            int(index): member
            for index, member in members.items()
            if index.isdecimal() and not isinstance(member, h5py.Group)
        }
        if blobs and max(blobs) > 1000:
            raise ParseError(f"layer {name!r} has a blob numbered {max(blobs)}", path)
        if blobs or not inner:
            arrays = [
                (
                    _array(h5py, blobs.get(index), name, index, path),
                    _array(h5py, _dataset(h5py, diff, index), name, index, path),
                )
                for index in range(max(blobs, default=-1) + 1)
            ]
            yield LayerWeights(name, "", [_blob(*pair) for pair in arrays])
        if inner:
            yield from _layers(h5py, item, diff, f"{name}/", path, depth + 1)


def _blob(array: np.ndarray | None, diff: np.ndarray | None) -> WeightBlob | None:
    if array is None:
        return None
    return WeightBlob(array.shape, array.reshape(-1), False, None if diff is None else diff.ravel())


def _members(h5py: ModuleType, group: Any) -> dict[str, Any]:
    """What a group holds itself; links elsewhere, perhaps to other files, are not followed."""
    return {
        key: group[key] for key in group if isinstance(group.get(key, getlink=True), h5py.HardLink)
    }


def _dataset(h5py: ModuleType, group: Any, index: int) -> Any:
    return group.get(str(index)) if isinstance(group, h5py.Group) else None


def _array(h5py: ModuleType, dataset: Any, name: str, index: int, path: str) -> np.ndarray | None:
    if dataset is None:
        return None
    where = f"layer {name!r}, blob {index}"
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind != "f" or dataset.shape is None:
        raise ParseError(f"{where}: this is no array of floating-point numbers", path)
    # A damaged shape would ask for memory that no machine has.
    if math.prod(dataset.shape) > 1024 * os.path.getsize(path):
        raise ParseError(f"{where}: its shape {dataset.shape} is impossible", path)
    return np.asarray(dataset, np.float32)
