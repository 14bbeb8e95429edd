"""What an import gives: a net's text and its weights, to run or to write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..atomic import atomic_write
from ..errors import ArgumentError, CaffeError
from ..guarded import guarded
from ..net.net import Net
from ..paths import PathLike, path_text
from ..phases import TEST
from ..proto.caffe_pb2 import LayerParameter, NetParameter
from ..proto.text import format_text
from ..weights import caffemodel
from ..weights.hdf5 import write_groups
from ..weights.layer_weights import LayerWeights, WeightBlob
from .caffe_graph import Array, Blob, Written

MOST_IN_ONE = 2**31 - 1
"""How many bytes the original reads of a .caffemodel."""

Progress = Callable[[int, int], None]


def _no_progress(done: int, whole: int) -> None:
    pass


@dataclass
class Imported:
    """A net that was made of somebody else's.

    Attributes
    ----------
    text : NetParameter
        The net, without weights.
    weights : dict of str to list of ndarray
        The parameters by the layers' names, float32.
    outputs : list of str
        The blobs that the model gives, in its order.
    """

    text: NetParameter
    weights: dict[str, list[Array]]
    outputs: list[str]

    @classmethod
    def of(cls, name: str, layers: Sequence[Written], outputs: Sequence[Blob]) -> Imported:
        """Return what is made of layers that have their names."""
        text = NetParameter(name=name)
        text.layer.extend(layer.param for layer in layers)
        for written, layer in zip(text.layer, layers, strict=True):
            # As Caffe's own texts have it: what a layer is, before how it is set.
            written.CopyFrom(layer.param)
        weights = {layer.param.name: layer.arrays for layer in layers if layer.arrays}
        return cls(text, weights, [blob.name for blob in outputs])

    @property
    def size(self) -> int:
        """How many bytes the weights have."""
        return sum(array.nbytes for arrays in self.weights.values() for array in arrays)

    def to_proto(self) -> NetParameter:
        """Return the net as one message, its weights in it as in a .caffemodel."""
        whole = NetParameter()
        whole.CopyFrom(self.text)
        for layer in whole.layer:
            for array in self.weights.get(layer.name, ()):
                blob = layer.blobs.add()
                blob.shape.dim.extend(array.shape)
                blob.data.extend(array.reshape(-1).tolist())
        return whole

    def layer_weights(self) -> list[LayerWeights]:
        """Return the parameters as a weight file has them, layer by layer."""
        return [
            LayerWeights(
                layer.name,
                layer.type,
                [WeightBlob(a.shape, a.reshape(-1)) for a in self.weights.get(layer.name, ())],
            )
            for layer in self.text.layer
        ]

    def to_net(self) -> Net:
        """Return the net, ready to run."""
        net = Net(self.text, TEST)
        for name, arrays in self.weights.items():
            for blob, array in zip(net.params[name], arrays, strict=True):
                blob.data[...] = array
        return net

    @guarded
    def save(self, text: PathLike, weights: PathLike, progress: Progress = _no_progress) -> None:
        """Write the net's text and its weights; both are whole, or neither is there.

        Parameters
        ----------
        text : path
            The .prototxt.
        weights : path
            The .caffemodel, or .h5 (HDF5) for weights of more than 2 GB.
        progress : callable, optional
            Told how many bytes are written, and of how many.

        Raises
        ------
        WriteError
            A file cannot be written.
        CaffeError
            A .caffemodel would be larger than Caffe reads.
        """
        name = path_text(weights)
        is_hdf5 = name.lower().endswith((".h5", ".hdf5"))
        if not is_hdf5 and not name.lower().endswith(".caffemodel"):
            raise ArgumentError(f"{name}: the weights' name must end in .caffemodel or .h5")
        if not is_hdf5 and self.size >= MOST_IN_ONE:
            raise CaffeError(
                f"{name}: weights of {self.size / 1e9:.1f} GB are more than the 2 GB that a "
                ".caffemodel can hold; name a file that ends in .h5"
            )
        with atomic_write(text) as stream:
            stream.write(format_text(self.text).encode())
            if is_hdf5:
                write_groups(name, {"data": list(self.weights.items())}, False)
                return
            with atomic_write(weights) as numbers:
                caffemodel.write_net(numbers, self.text.name, self._layers(progress))

    def _layers(self, progress: Progress):  # type: ignore[no-untyped-def]
        done = 0
        for layer in self.text.layer:
            plain = LayerParameter(name=layer.name, type=layer.type)
            plain.bottom.extend(layer.bottom)
            plain.top.extend(layer.top)
            arrays: list[np.ndarray] = self.weights.get(layer.name, [])
            yield plain, arrays
            done += sum(array.nbytes for array in arrays)
            progress(done, self.size)
