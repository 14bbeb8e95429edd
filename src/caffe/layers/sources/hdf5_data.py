"""HDF5Data and HDF5Output: arrays from and to HDF5 files (extra ``hdf5``)."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import parallel
from ...atomic import atomic_write
from ...errors import CaffeError, NetError, ParseError, ShapeError, require, unreadable
from ...logs import Line
from ...memory.blob import Blob, Shape
from ...phases import TRAIN
from ...proto.caffe_pb2 import HDF5DataParameter, HDF5OutputParameter
from ...proto.contents import open_lines
from ...pytorch import torch
from ...weights.datasets import Allowance, unpack
from ..layer import Layer, register
from .data_transformer import common_random_source


@register("HDF5Data")
class HDF5Data(Layer[HDF5DataParameter]):
    """Rows of the data sets called like the tops, from the files that `source` lists.

    With `shuffle` the files and the rows in each go in random order.
    """

    message = "hdf5_data_param"
    family = "source"
    bottoms = 0
    tops = (1, None)
    on_blobs = True

    def setup_blobs(self, bottoms: list[Blob], tops: list[Blob]) -> None:
        if self.layer_param.HasField("transform_param"):
            raise NetError("HDF5Data does not transform its data: take out transform_param")
        if not self.param.batch_size:
            raise NetError("hdf5_data_param.batch_size must be above 0")
        # Solvers that train together shuffle alike, and each takes every so-manieth row.
        self._random = common_random_source()
        is_training = self.phase == TRAIN
        self._count = parallel.solver_count() if is_training else 1
        self._offset = 0
        self._files = _read_file_list(self.param.source)
        self._file = 0
        self._shapes: list[Shape] = []
        if self.param.shuffle:
            self._random.shuffle(self._files)
        self._load()
        self._shapes = [array.shape[1:] for array in self._arrays]
        for top, shape in zip(tops, self._shapes, strict=True):
            top.reshape(self.param.batch_size, *shape)

    def lines_at_setup(self, tops: Sequence[Blob]) -> Iterable[Line]:
        source = self.param.source
        yield "hdf5_data_layer.cpp:94", f"Loading list of HDF5 filenames from: {source}"
        yield "hdf5_data_layer.cpp:108", f"Number of HDF5 files: {len(self._files)}"

    def forward_blobs(self, bottoms: list[Blob], tops: list[Blob]) -> None:
        rows: list[list[NDArray[np.float32]]] = [[] for _ in tops]
        for _ in range(self.param.batch_size):
            while self._offset % self._count != parallel.solver_rank() % self._count:
                self._advance()
            for row, array in zip(rows, self._arrays, strict=True):
                row.append(array[self._order[self._row]])
            self._advance()
        for top, row in zip(tops, rows, strict=True):
            top.put_data(torch.from_numpy(np.stack(row)))

    def state(self) -> dict[str, Any]:
        return {
            "files": list(self._files),
            "file": self._file,
            "row": self._row,
            "offset": self._offset,
            "order": self._order.tolist() if self.param.shuffle else None,
            "random": self._random.bit_generator.state,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self._files, self._file = list(state["files"]), int(state["file"])
        self._load()
        self._row, self._offset = int(state["row"]), int(state["offset"])
        if state["order"] is not None:
            self._order = np.array(state["order"])
        if len(self._order) != len(self._arrays[0]) or self._row >= len(self._order):
            raise CaffeError(f"{self._files[self._file]} has not as many rows as it had")
        self._random.bit_generator.state = state["random"]

    def _advance(self) -> None:
        self._offset += 1
        self._row += 1
        if self._row < len(self._order):
            return
        if len(self._files) > 1:
            self._file += 1
            if self._file == len(self._files):
                self._file = 0
                if self.param.shuffle:
                    self._random.shuffle(self._files)
            self._load()
        else:
            self._start()

    def _load(self) -> None:
        path = self._files[self._file]
        try:
            arrays = self._read(path)
        except CaffeError:
            raise
        # h5py names damage in as many ways: OSError, KeyError, RuntimeError, MemoryError ...
        except Exception as error:
            raise unreadable(f"an HDF5 file was expected: {error}", path, error) from error
        counts = [len(array) for array in arrays]
        if len(set(counts)) > 1 or not counts[0]:
            raise ParseError(
                f"the data sets {', '.join(self.layer_param.top)} must have as many rows, and at "
                f"least one, but they have {', '.join(map(str, counts))}",
                path,
            )
        for name, array, shape in zip(self.layer_param.top, arrays, self._shapes, strict=False):
            if array.shape[1:] != shape:
                raise ParseError(
                    f"the rows of data set '{name}' have the shape {array.shape[1:]}, those of "
                    f"the first file {shape}",
                    path,
                )
        self._arrays = arrays
        self._start()

    def _read(self, path: str) -> list[NDArray[np.float32]]:
        h5py: Any = require("h5py", "hdf5", "HDF5Data layers")
        with h5py.File(path, "r") as file:
            found = [_find(h5py, file, path, name) for name in self.layer_param.top]
            # A link may lead to another file.
            homes = {dataset.file.filename for dataset in found}
            allowances = {home: Allowance(home) for home in homes}
            for dataset in found:
                allowances[dataset.file.filename].take(dataset, f"data set '{dataset.name}'")
            return [unpack(dataset) for dataset in found]

    def _start(self) -> None:
        count = len(self._arrays[0])
        self._row = 0
        self._order = self._random.permutation(count) if self.param.shuffle else np.arange(count)


def _read_file_list(path: str) -> list[str]:
    try:
        with open_lines(path) as file:
            files = file.read().split()
    except (OSError, UnicodeDecodeError) as error:
        what = f"a text that lists HDF5 files was expected: {error}"
        raise unreadable(what, path, error) from error
    if not files:
        raise ParseError("the list holds no HDF5 files", path)
    return files


def _find(h5py: Any, file: Any, path: str, name: str) -> Any:
    found = file.get(name)
    if not isinstance(found, h5py.Dataset):
        there = ", ".join(key for key in file if file.get(key, getclass=True) is h5py.Dataset)
        raise ParseError(
            f"there is no data set '{name}' for the top of that name; there is {there or 'none'}",
            path,
        )
    if found.dtype.kind not in "iuf" or not found.shape:
        raise ParseError(
            f"data set '{name}' must hold rows of numbers, but it has the type {found.dtype} and "
            f"the shape {found.shape}",
            path,
        )
    return found


@register("HDF5Output")
class HDF5Output(Layer[HDF5OutputParameter]):
    """Writes its bottoms to the file `file_name`, as data sets "data" and "label" of four axes.

    As in Caffe the file has room for one forward.
    """

    message = "hdf5_output_param"
    bottoms = 2
    has_gradient = False
    tops = 0
    on_blobs = True

    def setup_blobs(self, bottoms: list[Blob], tops: list[Blob]) -> None:
        require("h5py", "hdf5", "HDF5Output layers")
        self._written = False
        name = self.param.file_name
        if not name:
            raise NetError("hdf5_output_param needs file_name")
        folder = os.path.dirname(os.path.abspath(name))
        if not os.path.isdir(folder):
            raise NetError(f"hdf5_output_param.file_name: there is no folder {folder}")

    def forward_blobs(self, bottoms: list[Blob], tops: list[Blob]) -> None:
        if self._written:
            raise CaffeError(
                f"{self.param.file_name} already holds a batch of this net, and HDF5Output "
                "writes one: collect net.blobs in Python instead, or make the net anew"
            )
        if bottoms[0].num != bottoms[1].num:
            raise ShapeError(
                f"both bottoms must have as many rows, but their shapes are {bottoms[0].shape} "
                f"and {bottoms[1].shape}"
            )
        content = io.BytesIO()
        h5py = require("h5py", "hdf5", "HDF5Output layers")
        with h5py.File(content, "w") as file:
            for name, blob in zip(("data", "label"), bottoms, strict=True):
                shape = (blob.num, blob.channels, blob.height, blob.width)
                file.create_dataset(name, data=blob.data_tensor().numpy().reshape(shape))
        with atomic_write(self.param.file_name) as stream:
            stream.write(content.getbuffer())
        self._written = True
