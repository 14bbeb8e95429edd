"""HDF5 weight files in Caffe's layout: ``data/<layer>/<index>``, and ``diff`` likewise."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from ..atomic import atomic_write
from ..errors import CaffeError, ParseError, require
from ..paths import PathLike
from .datasets import Allowance, unpack
from .layer_weights import LayerWeights, WeightBlob

# Layer names with slashes make groups in groups; more than this is a file that goes in circles.
_MOST_LEVELS = 32
MOST_GROUPS = 100_000
"""The most groups in groups that are looked at; few of them can be linked into very many."""


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
        # Left open for the blobs, which are read when they are wanted.
        file = h5py.File(path, "r")
        data = file.get("data")
        if not isinstance(data, h5py.Group):
            hint = " (it is a solver's state)" if "history" in file else ""
            raise ParseError(f"the HDF5 file has no group 'data'{hint}", path)
        yield from _Reader(h5py, file, path).layers(data, file.get("diff"), "", 0)
    except CaffeError:
        raise
    except Exception as error:
        raise ParseError(f"the HDF5 file is damaged: {error}", path) from error


def write_groups(
    path: PathLike,
    groups: dict[str, Iterable[tuple[str, Sequence[np.ndarray | None]]]],
    half: bool = False,
) -> None:
    """Write each group's layers and their blobs, wholly or not at all; in 16 bits if `half`.

    Raises
    ------
    MissingExtraError
        h5py is not installed.
    """
    with written(_h5py(), path) as file:
        for group, layers in groups.items():
            root = file.create_group(group)
            for name, blobs in layers:
                folder = root.require_group(name)
                for index, blob in enumerate(blobs):
                    if blob is not None:
                        folder.create_dataset(
                            str(index), data=np.asarray(blob, "<f2" if half else "<f4")
                        )


@contextmanager
def written(h5py: ModuleType, path: PathLike) -> Iterator[Any]:
    """Open an HDF5 file to be written, wholly or not at all."""
    with (
        atomic_write(path) as stream,
        # HDF5 reads back what it wrote, so that the stream alone does not do.
        os.fdopen(os.dup(stream.fileno()), "r+b") as both,
        h5py.File(both, "w") as file,
    ):
        yield file


def _h5py() -> ModuleType:
    return require("h5py", "hdf5", "HDF5 weights (.caffemodel.h5)")


class _Reader:
    """An open file, and how much of it may still be looked at and unpacked."""

    def __init__(self, h5py: ModuleType, file: Any, path: str) -> None:
        self._h5py = h5py
        self._file = file
        self._path = path
        self._allowance = Allowance(path)
        self._groups = 0

    def layers(self, group: Any, diffs: Any, prefix: str, depth: int) -> Iterator[LayerWeights]:
        """Yield the layers in a group, and in the groups in it."""
        self._groups += 1
        if depth > _MOST_LEVELS or self._groups > MOST_GROUPS:
            raise ParseError(f"the HDF5 groups under {prefix!r} have no end", self._path)
        Group = self._h5py.Group
        for key, item in self._members(group).items():
            if not isinstance(item, Group):
                continue
            name = f"{prefix}{key}"
            diff = diffs.get(key) if isinstance(diffs, Group) else None
            members = self._members(item)
            inner = any(isinstance(member, Group) for member in members.values())
            blobs = {
                int(index): member
                for index, member in members.items()
                if index.isdecimal() and not isinstance(member, Group)
            }
            if blobs and max(blobs) > 1000:
                raise ParseError(f"layer {name!r} has a blob numbered {max(blobs)}", self._path)
            if blobs or not inner:
                gradients = self._members(diff) if isinstance(diff, Group) else {}
                yield LayerWeights(
                    name,
                    "",
                    [
                        self._blob(blobs.get(index), gradients.get(str(index)), name, index)
                        for index in range(max(blobs, default=-1) + 1)
                    ],
                )
            if inner:
                yield from self.layers(item, diff, f"{name}/", depth + 1)

    def _members(self, group: Any) -> dict[str, Any]:
        """What a group holds itself; links elsewhere, perhaps to other files, are not followed."""
        link = self._h5py.HardLink
        return {key: group[key] for key in group if isinstance(group.get(key, getlink=True), link)}

    def _blob(self, data: Any, gradient: Any, layer: str, index: int) -> WeightBlob | None:
        if data is None:
            return None
        where = f"layer {layer!r}, blob {index}"
        values = self._values(data, where)
        diff = None if gradient is None else self._values(gradient, where)
        return WeightBlob(data.shape, values, False, diff)

    def _values(self, dataset: Any, where: str) -> Callable[[], np.ndarray]:
        is_array = isinstance(dataset, self._h5py.Dataset) and dataset.dtype.kind == "f"
        if not is_array or dataset.shape is None:
            raise ParseError(f"{where}: this is no array of floating-point numbers", self._path)
        self._allowance.take(dataset, where)
        # With the last of these functions the file is closed.
        return partial(_read, self._file, dataset, where, self._path)


def _read(file: Any, dataset: Any, where: str, path: str) -> np.ndarray:
    try:
        return unpack(dataset).reshape(-1)
    except Exception as error:
        raise ParseError(f"{where}: the HDF5 file is damaged: {error}", path) from error
