"""MatRead and MatWrite: blobs from and to MATLAB's files (extra ``mat``), as DeepLab has them."""

from __future__ import annotations

import io
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...atomic import atomic_write
from ...errors import CaffeError, NetError, ParseError, ShapeError, require, unreadable
from ...memory.blob import Blob
from ...pages import MOST_TIMES_UNPACKED
from ...proto.caffe_pb2 import MatReadParameter, MatWriteParameter
from ...proto.contents import open_lines
from ...pytorch import torch
from ..layer import Layer, register

VARIABLE = "data"


class OfMatFiles:
    """The files PREFIX NAME _blob_i.mat, NAME from the lines of `source`, or iter_0, iter_1, ..."""

    def __init__(self, param: MatReadParameter | MatWriteParameter) -> None:
        if not param.prefix:
            raise NetError("prefix must be given")
        if param.strip < 0:
            raise NetError(f"strip must not be negative, but is {param.strip}")
        self._prefix = param.prefix
        self.names = _read_names(param.source, param.strip) if param.source else None

    def path(self, number: int, blob: int) -> str:
        """Return the path for one of a batch's blobs."""
        name = f"iter_{number}" if self.names is None else self.names[number]
        return f"{self._prefix}{name}_blob_{blob}.mat"


def _read_names(source: str, strip: int) -> list[str]:
    try:
        with open_lines(source) as file:
            words = [line.split()[0] for line in file if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(f"a list of names was expected: {error}", source, error) from error
    for word in words:
        if len(word) <= strip:
            raise ParseError(f"strip {strip} leaves nothing of {word!r}", source)
    if not words:
        raise ParseError("the list holds no names", source)
    return [word[: len(word) - strip] for word in words]


def read_mat(path: str) -> NDArray[np.float32]:
    """Read the variable "data" of a MATLAB file as a blob of 4 axes.

    Parameters
    ----------
    path : str
        A file of MATLAB 4 to 7.2; of its axes the first is the blob's last.

    Raises
    ------
    ParseError
        It is damaged, or has no such variable of single or double numbers.
    """
    scipy = require("scipy.io", "mat", "MatRead layers")
    try:
        found = {name: (shape, kind) for name, shape, kind in scipy.whosmat(path)}
        shape, kind = found.get(VARIABLE, ((), "no variable of that name"))
        if kind not in ("single", "double") or len(shape) > 4:
            raise ParseError(
                f"variable '{VARIABLE}' must hold single or double numbers along at most 4 axes, "
                f"but there is {kind}{' of shape ' + str(shape) if shape else ''}",
                path,
            )
        if torch.Size(shape).numel() > MOST_TIMES_UNPACKED * os.path.getsize(path):
            raise ParseError(f"variable '{VARIABLE}' claims more numbers than the file has", path)
        array = scipy.loadmat(path, variable_names=[VARIABLE])[VARIABLE]
        if array.shape != tuple(shape) or array.dtype.kind != "f":
            raise ParseError(f"variable '{VARIABLE}' is not what the file says of it", path)
    except CaffeError:
        raise
    except Exception as error:
        # What scipy raises on a damaged file is of every kind.
        raise unreadable(f"a MATLAB file was expected: {error}", path, error) from error
    blob: NDArray[np.float32] = np.ascontiguousarray(array.T, np.float32)
    return blob.reshape((1,) * (4 - blob.ndim) + blob.shape)


@register("MatRead")
class MatRead(Layer[MatReadParameter]):
    """The variable "data" of PREFIX NAME _blob_i.mat for top i, batch_size names at a time.

    NAME comes from the lines of `source`, `strip` letters shorter; after the last the first
    follows. Without `source` it is iter_0, iter_1 and so on. The files' first axis is the width.
    """

    message = "mat_read_param"
    family = "source"
    bottoms = 0
    tops = (1, None)
    on_blobs = True
    differences = "of the forks"

    def setup_blobs(self, bottoms: list[Blob], tops: list[Blob]) -> None:
        if self.param.batch_size < 1:
            raise NetError(f"batch_size must be positive, not {self.param.batch_size}")
        self._files = OfMatFiles(self.param)
        self._number = 0
        for i, top in enumerate(tops):
            first = self._read(0, i)
            top.reshape(self.param.batch_size, *first.shape[1:])

    def state(self) -> dict[str, Any]:
        return {"number": self._number}

    def restore(self, state: dict[str, Any]) -> None:
        self._number = int(state["number"])

    def forward_blobs(self, bottoms: list[Blob], tops: list[Blob]) -> None:
        rows: list[list[NDArray[np.float32]]] = [[] for _ in tops]
        for _ in range(self.param.batch_size):
            for i, top in enumerate(tops):
                row = self._read(self._number, i)
                if row.shape[1:] != top.shape[1:]:
                    raise ShapeError(
                        f"{self._files.path(self._number, i)} holds the shape {row.shape}, the "
                        f"first file {(1, *top.shape[1:])}"
                    )
                rows[i].append(row)
            self._number += 1
            if self._files.names is not None:
                self._number %= len(self._files.names)
        for top, read in zip(tops, rows, strict=True):
            top.put_data(torch.from_numpy(np.concatenate(read)))

    def _read(self, number: int, blob: int) -> NDArray[np.float32]:
        path = self._files.path(number, blob)
        array = read_mat(path)
        if len(array) != 1:
            raise ShapeError(f"{path} must hold one picture, but its shape is {array.shape}")
        return array


@register("MatWrite")
class MatWrite(Layer[MatWriteParameter]):
    """Writes each bottom as the variable "data" of PREFIX NAME _blob_i.mat, each `period`th time.

    NAME is that of the batch's number, as for MatRead.
    """

    message = "mat_write_param"
    bottoms = (1, None)
    tops = 0
    has_gradient = False
    on_blobs = True
    differences = "of the forks"

    def setup_blobs(self, bottoms: list[Blob], tops: list[Blob]) -> None:
        if self.param.period < 1:
            raise NetError(f"period must be positive, not {self.param.period}")
        require("scipy.io", "mat", "MatWrite layers")
        self._files = OfMatFiles(self.param)
        self._number = 0
        folder = os.path.dirname(os.path.abspath(self._files.path(0, 0)))
        if not os.path.isdir(folder):
            raise NetError(f"mat_write_param.prefix: there is no folder {folder}")

    def state(self) -> dict[str, Any]:
        return {"number": self._number}

    def restore(self, state: dict[str, Any]) -> None:
        self._number = int(state["number"])

    def forward_blobs(self, bottoms: list[Blob], tops: list[Blob]) -> None:
        number = self._number
        self._number += 1
        if number % self.param.period:
            return
        names = self._files.names
        if names is not None and number >= len(names):
            raise CaffeError(
                f"{self.param.source} has {len(names)} names, but this is batch {number + 1}"
            )
        for i, bottom in enumerate(bottoms):
            shape = (bottom.num, bottom.channels, bottom.height, bottom.width)
            array = bottom.data_tensor().numpy().reshape(shape)
            content = io.BytesIO()
            require("scipy.io", "mat", "MatWrite layers").savemat(content, {VARIABLE: array.T})
            with atomic_write(self._files.path(number, i)) as stream:
                stream.write(content.getbuffer())
