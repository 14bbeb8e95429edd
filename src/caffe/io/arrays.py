"""Arrays to and from Caffe's messages: BlobProto, BlobProtoVector and Datum; mean files."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import ArrayLike, NDArray

from ..errors import ParseError, ShapeError
from ..guarded import guarded
from ..paths import PathLike, path_text
from ..proto import caffe_pb2
from ..proto.contents import open_bytes
from ..weights.files import read_blob
from .npy import MAGIC, NpyError, parse_npy


@guarded
def blobproto_to_array(blob: caffe_pb2.BlobProto, return_diff: bool = False) -> NDArray[Any]:
    """The values of a BlobProto as an array of its shape.

    Parameters
    ----------
    blob : BlobProto
        With a `shape`, or the old num, channels, height and width.
    return_diff : bool
        Hand over `diff` rather than `data`.

    Returns
    -------
    numpy.ndarray
        Float64, as pycaffe has it. Four axes for a blob of the old form; no axes for a single
        value without a shape.

    Raises
    ------
    ShapeError
        The count of values is not that of the shape. Also a `ValueError`.
    """
    if return_diff:
        values = np.array(blob.diff or blob.double_diff, dtype=np.float64)
    else:
        values = np.array(blob.data or blob.double_data, dtype=np.float64)
    legacy = ("num", "channels", "height", "width")
    if any(blob.HasField(name) for name in legacy):
        shape = tuple(getattr(blob, name) for name in legacy)
    else:
        shape = tuple(blob.shape.dim)
    if min(shape, default=0) < 0 or values.size != np.prod(shape, dtype=object):
        raise ShapeError(
            f"the BlobProto holds {values.size} {'diff' if return_diff else 'data'} values, "
            f"which do not fill its shape {shape}"
        )
    return values.reshape(shape)


@guarded
def array_to_blobproto(arr: ArrayLike, diff: ArrayLike | None = None) -> caffe_pb2.BlobProto:
    """A BlobProto with the shape and values of an array.

    Parameters
    ----------
    arr : array
        Any number of axes; stored as float32.
    diff : array, optional
        The diff to store beside it, of the same shape.

    Raises
    ------
    ShapeError
        `diff` has another shape than `arr`. Also a `ValueError`.
    """
    data = np.asarray(arr, dtype=np.float32)
    blob = caffe_pb2.BlobProto()
    blob.shape.dim.extend(data.shape)
    blob.data.extend(data.ravel().tolist())
    if diff is not None:
        gradient = np.asarray(diff, dtype=np.float32)
        if gradient.shape != data.shape:
            raise ShapeError(f"diff has shape {gradient.shape}, the array has {data.shape}")
        blob.diff.extend(gradient.ravel().tolist())
    return blob


@guarded
def arraylist_to_blobprotovector_str(arraylist: Iterable[ArrayLike]) -> bytes:
    """Arrays as the bytes of one BlobProtoVector."""
    vector = caffe_pb2.BlobProtoVector()
    vector.blobs.extend([array_to_blobproto(arr) for arr in arraylist])
    return vector.SerializeToString()


@guarded
def blobprotovector_str_to_arraylist(str: bytes) -> list[NDArray[Any]]:
    """The arrays in the bytes of a BlobProtoVector.

    Raises
    ------
    ParseError
        The bytes are no BlobProtoVector.
    ShapeError
        One of its blobs has a count of values that is not its shape's.
    """
    vector = caffe_pb2.BlobProtoVector()
    try:
        vector.ParseFromString(str)
    except DecodeError as error:
        raise ParseError(f"the bytes are no BlobProtoVector: {error}") from error
    return [blobproto_to_array(blob) for blob in vector.blobs]


@guarded
def array_to_datum(arr: NDArray[Any], label: int | None = None) -> caffe_pb2.Datum:
    """A Datum with the values of an array: bytes if they are uint8, else floats.

    Parameters
    ----------
    arr : numpy.ndarray
        Channels x height x width. Data layers expect BGR order and 0 to 255.
    label : int, optional
        Left unset if None.

    Raises
    ------
    ShapeError
        The array does not have three axes. Also a `ValueError`.
    """
    arr = np.asarray(arr)
    if arr.ndim != 3:
        raise ShapeError(f"a Datum takes channels x height x width, not shape {arr.shape}")
    datum = caffe_pb2.Datum()
    datum.channels, datum.height, datum.width = arr.shape
    if arr.dtype == np.uint8:
        datum.data = arr.tobytes()
    else:
        datum.float_data.extend(arr.astype(np.float32).ravel().tolist())
    if label is not None:
        datum.label = label
    return datum


@guarded
def datum_to_array(datum: caffe_pb2.Datum) -> NDArray[Any]:
    """The values of a Datum: uint8 if it holds bytes, else float64.

    Returns
    -------
    numpy.ndarray
        Channels x height x width. The label is in ``datum.label``.

    Raises
    ------
    ShapeError
        The count of values is not channels x height x width, or the Datum holds an encoded
        picture (read that with ``load_image(datum.data)``). Also a `ValueError`.
    """
    if datum.encoded:
        raise ShapeError(
            "the Datum holds an encoded picture; read it with caffe.io.load_image(datum.data)"
        )
    values: NDArray[Any]
    if datum.data:
        values = np.frombuffer(datum.data, dtype=np.uint8).copy()
    else:
        values = np.array(datum.float_data, dtype=np.float64)
    shape = (datum.channels, datum.height, datum.width)
    if min(shape) < 0 or values.size != np.prod(shape, dtype=object):
        raise ShapeError(f"the Datum holds {values.size} values, its shape is {shape}")
    return values.reshape(shape)


@guarded
def load_mean(path: PathLike) -> NDArray[np.float32]:
    """Read a mean file: NumPy's .npy or Caffe's .binaryproto, told apart by content.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    numpy.ndarray
        Float32: channels x height x width, or one value per channel where a .npy holds that.
        ImageNet means are BGR, 0 to 255; ``mean.mean((1, 2))`` gives them by channel.

    Raises
    ------
    ParseError
        The file cannot be read, is neither, or does not hold one mean.
    """
    name = path_text(path)
    content = open_bytes(name)
    if content[: len(MAGIC)] == MAGIC:
        try:
            with np.errstate(over="ignore"):
                mean = parse_npy(content[:]).astype(np.float32)
        except NpyError as error:
            raise ParseError(f"not one array in .npy form: {error}", name) from error
    else:
        mean = read_blob(name)
    if mean.ndim == 4 and mean.shape[0] == 1:
        mean = mean[0]
    if mean.ndim not in (1, 2, 3) or mean.size == 0:
        raise ParseError(f"an array of shape {mean.shape} is not one picture's mean", name)
    return mean
