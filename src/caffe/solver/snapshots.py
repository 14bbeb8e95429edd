"""The files from which a solver goes on: the weights, and beside them its state."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import NetError, WeightsError
from ..net.net import Net
from ..net.trained import save_caffemodel, save_hdf5
from ..proto.caffe_pb2 import SolverParameter
from ..pytorch import torch
from ..weights.solver_state import State, read_state, write_state, write_state_hdf5
from . import sidecar
from .methods import are_squares

BEST = "best"
"""What the best snapshot has in its name instead of ``iter_N``."""


def name_of(param: SolverParameter, which: int | str, kind: str) -> str:
    """Return a snapshot's path, ``PREFIX_iter_N.KIND``, with ``.h5`` behind it for HDF5.

    Parameters
    ----------
    param : SolverParameter
        What the solver's text says.
    which : int or str
        N, or what stands instead of ``iter_N``.
    kind : str
        Its ending.
    """
    ending = ".h5" if param.snapshot_format == SolverParameter.HDF5 else ""
    label = f"iter_{which}" if isinstance(which, int) else which
    return f"{param.snapshot_prefix}_{label}.{kind}{ending}"


def remove(param: SolverParameter, iteration: int) -> None:
    """Remove a snapshot, as far as it is there."""
    state = name_of(param, iteration, "solverstate")
    # The state goes first: what is left if this ends in between is no snapshot.
    for path in (state, sidecar.path_of(state), name_of(param, iteration, "caffemodel")):
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)


def check_prefix(param: SolverParameter) -> None:
    """Refuse, before any step, a prefix at which nothing can be written.

    Raises
    ------
    NetError
        There is no prefix, or its folder is not there, or takes no files.
    """
    if not param.snapshot_prefix:
        raise NetError("snapshot_prefix is missing: it says where snapshots are kept")
    path = os.path.abspath(name_of(param, 0, "tempfile"))
    folder = os.path.dirname(path)
    try:
        # One without a name, that is gone once it is closed.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        is_there = os.path.isdir(folder)
        reason = "no files can be written there" if is_there else "there is no such folder"
        raise NetError(
            f"snapshot_prefix '{param.snapshot_prefix}': {reason}: {folder}", word="snapshot_prefix"
        ) from error


def save(
    param: SolverParameter, net: Net, state: State, which: int | str | None = None
) -> tuple[str, str]:
    """Write a snapshot; the state's file takes its name last.

    Parameters
    ----------
    param : SolverParameter
        Where, and in which form.
    net : Net
        What is trained.
    state : State
        The solver's.
    which : int or str, optional
        What `name_of` takes; the iteration by default.

    Returns
    -------
    weights, state : str
        Their paths.
    """
    which = state.iteration if which is None else which
    weights = state.learned_net = name_of(param, which, "caffemodel")
    path = name_of(param, which, "solverstate")
    if param.snapshot_format == SolverParameter.HDF5:
        save_hdf5(net.inside, weights, param.snapshot_diff)
        write_state_hdf5(path, state)
    else:
        save_caffemodel(net.name, net.inside, weights, param.snapshot_diff)
        write_state(path, state)
    return weights, path


def load(
    path: str, shapes: list[tuple[int, ...]], remembers: Sequence[str]
) -> tuple[State, str | None]:
    """Read a state, and find its weights.

    Parameters
    ----------
    path : str
        The state's file.
    shapes : list of shape
        Those of the solver's history.
    remembers : sequence of str
        What the arrays of each part of it are.

    Returns
    -------
    State
    str or None
        The weights' path; beside the state where it was moved together with them.

    Raises
    ------
    WeightsError
        The state is another solver's, or its weights are not to be found.
    """
    state = read_state(path)
    found = [array.shape for array in state.history]
    if len(found) != len(shapes):
        raise WeightsError(
            f"{path}: the state has {len(found)} history blobs, but this solver keeps "
            f"{len(shapes)}: it is of another net or another type of solver"
        )
    for number, (own, other) in enumerate(zip(shapes, found, strict=True)):
        # Older states have four axes whatever the parameter has.
        if torch.Size(own) != torch.Size(other) and (1,) * (4 - len(own)) + own != other:
            raise WeightsError(
                f"{path}: history blob {number} has the shape {other}, but this solver's is {own}"
            )
    for number, values in enumerate(state.history):
        what = remembers[number * len(remembers) // len(shapes)]
        if are_squares(what) and values.size and values.min() < 0:
            raise WeightsError(
                f"{path}: history blob {number} has negative numbers, but this solver keeps "
                f"{what}: it is of another type of solver"
            )
    return state, _weights(path, state.learned_net)


def check_method(path: str, more: Mapping[str, Any], name: str, remembers: Sequence[str]) -> None:
    """Refuse a state of a solver that remembers something else.

    Parameters
    ----------
    path : str
        The state's file.
    more : mapping
        What stands in the file beside it, if anything does.
    name : str
        The solver's method.
    remembers : sequence of str
        What the method keeps of the gradients.

    Raises
    ------
    WeightsError
        The state is another solver's.
    """
    kept = more.get("remembers", remembers)
    # Squares of one kind or another do for each other, as in Caffe.
    if list(map(are_squares, kept)) != list(map(are_squares, remembers)):
        raise WeightsError(
            f"{path}: its solver kept {' and '.join(kept)} of the gradients, this one "
            f"({name}) keeps {' and '.join(remembers)}: it is of another type of solver"
        )


def _weights(path: str, learned: str) -> str | None:
    if not learned:
        return None
    beside = os.path.join(os.path.dirname(path), os.path.basename(learned))
    for candidate in (learned, beside):
        if os.path.exists(candidate):
            return candidate
    raise WeightsError(
        f"{path}: the weights that belong to this state are neither {learned} nor beside it"
    )
