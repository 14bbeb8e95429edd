"""Solver states: what a solver needs beside the weights to go on, binary or HDF5."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from ..atomic import atomic_write
from ..errors import CaffeError, ParseError, require, unreadable
from ..paths import PathLike, path_text
from ..proto import contents
from ..proto.caffe_pb2 import SolverState
from .datasets import Allowance, unpack
from .hdf5 import written

Array = NDArray[np.float32]


@dataclass
class State:
    """How far a solver has come.

    Attributes
    ----------
    iteration : int
        Steps done.
    learned_net : str
        The weights' file; empty where the state names none.
    current_step : int
        Steps of the learning rate done (policy "multistep").
    history : list of ndarray
        The method's memory, in the order of the learnable parameters; methods with two of them
        have all of the first, then all of the second.
    plateau : (float, int) or None
        SSD's and Intel's policy "plateau": the least smoothed loss, and the step at which it was
        found or the rate fell.
    """

    iteration: int
    learned_net: str
    current_step: int = 0
    history: list[Array] = field(default_factory=list)
    plateau: tuple[float, int] | None = None


def read_state(path: PathLike) -> State:
    """Read a .solverstate or .solverstate.h5; which of them it is is told by its content.

    Raises
    ------
    ParseError
        The file is missing, damaged, or no solver's state.
    MissingExtraError
        It is an HDF5 file, and h5py is not installed.
    """
    source = path_text(path)
    data = contents.open_bytes(path)
    if data[: len(contents.HDF5_SIGNATURE)] == contents.HDF5_SIGNATURE:
        return _read_hdf5(source)
    if (what := contents.describe(data)) != contents.BINARY:
        raise ParseError(f"a solver's state was expected, but this is {what}", source)
    message = SolverState()
    try:
        message.ParseFromString(data[:])
    except DecodeError as error:
        raise ParseError(f"a solver's state was expected: {error}", source) from error
    if not message.HasField("iter"):
        raise ParseError("a solver's state was expected, but this has no iter", source)
    history = []
    for number, blob in enumerate(message.history):
        values = np.array(blob.data or blob.double_data, np.float32)
        shape = tuple(blob.shape.dim)
        if not blob.HasField("shape"):
            shape = (blob.num, blob.channels, blob.height, blob.width)
        if min(shape, default=0) < 0 or np.prod(shape, dtype=object) != values.size:
            raise ParseError(
                f"history blob {number} holds {values.size} numbers, which do not fill its shape "
                f"{shape}",
                source,
            )
        history.append(values.reshape(shape))
    plateau = None
    if message.HasField("minimum_loss"):
        plateau = (message.minimum_loss, message.iter_last_event)
    return State(message.iter, message.learned_net, message.current_step, history, plateau)


def _read_hdf5(source: str) -> State:
    h5py = _h5py()
    try:
        with h5py.File(source, "r") as file:
            learned = file["learned_net"][()] if "learned_net" in file else b""
            group = file["history"]
            blobs = [group[str(number)] for number in range(len(group))]
            allowance = Allowance(source)
            for number, blob in enumerate(blobs):
                allowance.take(blob, f"history blob {number}")
            plateau = None
            if "minimum_loss" in file and "iter_last_event" in file:
                least = float(np.ravel(file["minimum_loss"][()])[0])
                plateau = (least, _number(file["iter_last_event"]))
            return State(
                _number(file["iter"]),
                learned.decode() if isinstance(learned, bytes) else str(learned),
                _number(file["current_step"]) if "current_step" in file else 0,
                [unpack(blob) for blob in blobs],
                plateau,
            )
    except CaffeError:
        raise
    except Exception as error:
        # What h5py raises on a damaged file is of every kind.
        what = f"a solver's state was expected: {error}"
        raise unreadable(what, source, error) from error


def _number(dataset: Any) -> int:
    return int(np.ravel(dataset[()])[0])


def write_state(path: PathLike, state: State) -> None:
    """Write a .solverstate, wholly or not at all."""
    message = SolverState(
        iter=state.iteration, learned_net=state.learned_net, current_step=state.current_step
    )
    if state.plateau is not None:
        message.minimum_loss, message.iter_last_event = state.plateau
    for array in state.history:
        blob = message.history.add()
        blob.shape.dim.extend(array.shape)
        blob.data.extend(array.ravel())
    with atomic_write(path) as stream:
        stream.write(message.SerializeToString())


def write_state_hdf5(path: PathLike, state: State) -> None:
    """Write a .solverstate.h5, wholly or not at all.

    Raises
    ------
    MissingExtraError
        h5py is not installed.
    """
    with written(_h5py(), path) as file:
        file["iter"] = np.array([state.iteration], np.int32)
        # As the original writes text: of fixed length, with a zero behind it.
        text = state.learned_net.encode() + b"\0"
        file.create_dataset("learned_net", data=np.array(text, f"S{len(text)}"))
        file["current_step"] = np.array([state.current_step], np.int32)
        if state.plateau is not None:
            file["minimum_loss"] = np.array([state.plateau[0]], np.float32)
            file["iter_last_event"] = np.array([state.plateau[1]], np.int32)
        group = file.create_group("history")
        for number, array in enumerate(state.history):
            group.create_dataset(str(number), data=np.asarray(array, "<f4"))


def _h5py() -> ModuleType:
    return require("h5py", "hdf5", "HDF5 solver states (.solverstate.h5)")
