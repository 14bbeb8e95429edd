"""Weight files of every form, told apart by their content: the one door to reading and writing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ..atomic import atomic_write
from ..errors import ParseError
from ..paths import PathLike, path_text
from ..proto import contents
from ..proto.caffe_pb2 import LayerParameter
from ..proto.old_forms import OldForm
from . import caffemodel, hdf5, safetensors_file
from .layer_weights import LayerWeights
from .wire import WireError


def read_weights(path: PathLike, forms: set[OldForm] | None = None) -> list[LayerWeights]:
    """The layers of a .caffemodel (V0, V1 or V2), HDF5 or .safetensors file, in file order.

    Which of them it is is told by its content. Layers without blobs are listed too.

    Parameters
    ----------
    path : path-like
        The file.
    forms : set of OldForm, optional
        Is given the old forms that the file has.

    Raises
    ------
    ParseError
        The file is missing, damaged or no weight file, or a blob's values do not fill its shape.
    MissingExtraError
        It is an HDF5 file, and h5py is not installed, or one of safetensors likewise.
    """
    source = path_text(path)
    data = contents.open_bytes(path)
    if data[: len(contents.HDF5_SIGNATURE)] == contents.HDF5_SIGNATURE:
        return list(hdf5.read_layers(source))
    if safetensors_file.is_one(data):
        return list(safetensors_file.read_layers(source))
    if (what := contents.describe(data)) != contents.BINARY:
        raise ParseError(f"a .caffemodel was expected, but this is {what}", source)
    return list(caffemodel.read_layers(data, source, forms))


def read_blob(path: PathLike) -> np.ndarray:
    """The array of a blob's file, such as a mean picture's ``.binaryproto``.

    Returns
    -------
    ndarray
        float32, in the blob's shape: (1, channels, height, width) for a mean, in BGR order and
        the pixel range that it was computed in (0 to 255).

    Raises
    ------
    ParseError
        The file is missing, damaged, or holds no blob.
    """
    source = path_text(path)
    data = contents.open_bytes(path)
    try:
        blob = caffemodel.read_blob(data)
    except WireError as error:
        raise ParseError(
            f"a blob (.binaryproto) was expected, but this is {contents.describe(data)}: {error}",
            source,
        ) from None
    return np.array(blob.data, np.float32).reshape(blob.shape)


def write_weights(
    path: PathLike,
    net_name: str,
    layers: Iterable[tuple[LayerParameter, Sequence[np.ndarray]]],
    diffs: Iterable[Sequence[np.ndarray]] | None = None,
    half: bool = False,
) -> None:
    """Write a V2 .caffemodel, wholly or not at all.

    Parameters
    ----------
    path : path-like
        The file to write.
    net_name : str
        The net's name, which Caffe writes also where it is empty.
    layers : iterable of (LayerParameter, sequence of ndarray)
        Each layer's settings, whose own blobs are not looked at, and its parameter blobs.
    diffs : iterable of sequences of ndarray, optional
        The gradients of each layer's blobs, as ``snapshot_diff`` asks for.
    half : bool
        Write numbers of 16 bits, as OpenCV's tools do; the original Caffe does not read them.
    """
    with atomic_write(path) as stream:
        caffemodel.write_net(stream, net_name, layers, diffs, half)


def write_weights_hdf5(
    path: PathLike,
    layers: Iterable[tuple[str, Sequence[np.ndarray | None]]],
    diffs: Iterable[tuple[str, Sequence[np.ndarray | None]]] | None = None,
    half: bool = False,
) -> None:
    """Write weights as HDF5, in Caffe's layout (``data/<layer>/<index>``), wholly or not at all.

    Parameters
    ----------
    path : path-like
        The file to write.
    layers : iterable of (str, sequence of ndarray or None)
        Each layer's name and parameter blobs; None for one that another layer owns, which Caffe
        leaves out.
    diffs : iterable of (str, sequence of ndarray or None), optional
        The gradients, which Caffe writes for all blobs alike.
    half : bool
        Write numbers of 16 bits.

    Raises
    ------
    MissingExtraError
        h5py is not installed.
    """
    groups = {"data": layers} if diffs is None else {"data": layers, "diff": diffs}
    hdf5.write_groups(path, groups, half)
