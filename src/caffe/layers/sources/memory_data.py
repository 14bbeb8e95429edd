"""MemoryData: batches out of arrays that `Net.set_input_arrays` hands over."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import CaffeError, CaffeWarning, NetError, ShapeError
from ...memory.blob import Blob, Shape
from ...proto.caffe_pb2 import MemoryDataParameter
from ...pytorch import torch
from ..layer import Layer, register


@register("MemoryData")
class MemoryData(Layer[MemoryDataParameter]):
    """Each forward gives the next `batch_size` pictures and labels, after the last the first."""

    message = "memory_data_param"
    family = "source"
    bottoms = 0
    tops = 2
    on_blobs = True

    _data: np.ndarray | None = None
    _labels: np.ndarray
    _position: int

    def declared_shapes(self) -> Sequence[Shape] | None:
        param = self.param
        batch = (param.batch_size, param.channels, param.height, param.width)
        return [batch, batch[:1]] if math.prod(batch) else None

    def setup_blobs(self, bottoms: list[Blob], tops: list[Blob]) -> None:
        param = self.param
        self._batch = (param.batch_size, param.channels, param.height, param.width)
        if not math.prod(self._batch):
            raise NetError(
                "memory_data_param needs batch_size, channels, height and width, each above 0; "
                f"they are {', '.join(map(str, self._batch))}"
            )
        tops[0].reshape(*self._batch)
        tops[1].reshape(self._batch[0])

    def reset(self, data: np.ndarray, labels: np.ndarray) -> None:
        """Take the arrays that the next forwards go through, from their start.

        They are kept, not copied: what is written to them shows in the next forward.

        Parameters
        ----------
        data : array, float32, C-contiguous, (n, channels, height, width)
            n is a multiple of the batch size.
        labels : array, float32, C-contiguous, (n,) or (n, 1, 1, 1)
            One for each picture.

        Raises
        ------
        ShapeError
            The arrays are of another shape or type.
        """
        if isinstance(labels, np.ndarray) and labels.ndim == 1:
            labels = np.ascontiguousarray(labels[:, np.newaxis, np.newaxis, np.newaxis])
        _check_array("data", data, self._batch[1:])
        _check_array("labels", labels, (1, 1, 1))
        if len(data) != len(labels):
            raise ShapeError(f"there are {len(data)} pictures but {len(labels)} labels")
        if not len(data) or len(data) % self._batch[0]:
            raise ShapeError(
                f"{len(data)} pictures do not make batches of {self._batch[0]}: give a multiple"
            )
        if self.layer_param.HasField("transform_param"):
            warnings.warn(
                f"layer '{self.name}' (MemoryData): transform_param does nothing to these arrays",
                CaffeWarning,
                stacklevel=3,
            )
        self._data, self._labels, self._position = data, labels, 0

    def state(self) -> dict[str, Any]:
        return {} if self._data is None else {"position": self._position}

    def restore(self, state: dict[str, Any]) -> None:
        if self._data is not None:
            self._position = int(state.get("position", 0)) % len(self._data)

    def forward_blobs(self, bottoms: list[Blob], tops: list[Blob]) -> None:
        if self._data is None:
            raise CaffeError("no data yet: call net.set_input_arrays(data, labels) first")
        end = self._position + self._batch[0]
        for top, array in zip(tops, (self._data, self._labels), strict=True):
            # A copy, for the blob may be written to.
            top.put_data(torch.from_numpy(array[self._position : end].copy()))
        self._position = end % len(self._data)


def _check_array(name: str, array: np.ndarray, item: tuple[int, ...]) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != np.float32:
        kind = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise ShapeError(f"{name} must be a float32 array, not {kind}")
    if array.ndim != 4 or array.shape[1:] != item:
        raise ShapeError(
            f"{name} must have the shape (n, {', '.join(map(str, item))}), not {array.shape}"
        )
    if not array.flags.c_contiguous:
        raise ShapeError(f"{name} must be C-contiguous: use numpy.ascontiguousarray")
