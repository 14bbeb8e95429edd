"""What the original's snapshots lose, in a file beside them.

Where each data layer stood, the random numbers, what layers remember, and the smoothed loss: with
these a training that goes on from a snapshot computes, on the CPU, bit for bit what it would have
computed without a stop.
"""

from __future__ import annotations

import base64
import json
import os
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import mode, parallel
from ..atomic import atomic_write
from ..errors import CaffeError, CaffeWarning
from ..net.net import Net
from ..pytorch import torch

VERSION = 1


def path_of(state_file: str) -> str:
    """Return where what a snapshot leaves out is kept; each solver's of several is its own."""
    rank = parallel.solver_rank()
    return f"{state_file}.rank{rank}.json" if rank else f"{state_file}.json"


def save(state_file: str, nets: Sequence[Net], more: dict[str, Any]) -> str:
    """Write what a snapshot leaves out; return the path.

    Parameters
    ----------
    state_file : str
        The snapshot's .solverstate.
    nets : sequence of Net
        The net that is trained, and those that test it.
    more : dict
        What else is to be kept, in JSON's types.
    """
    states = [{layer.name: layer.state() for layer in net.inside.layers} for net in nets]
    content = {
        "version": VERSION,
        "nets": [{name: state for name, state in net.items() if state} for net in states],
        "random": mode.generator().get_state().numpy(),
        **more,
    }
    path = path_of(state_file)
    with atomic_write(path, "w") as stream:
        json.dump(content, stream, default=_encoded)
    return path


def read(state_file: str) -> dict[str, Any]:
    """Return what a snapshot leaves out; nothing where the original wrote it, without such a file.

    Raises
    ------
    CaffeError
        The file is damaged.

    Warns
    -----
    CaffeWarning
        It is of a newer version.
    """
    path = path_of(state_file)
    if not os.path.exists(path):
        return {}
    try:
        with open(path, encoding="utf-8") as stream:
            content: dict[str, Any] = json.load(stream, object_hook=_decoded)
        if content["version"] > VERSION:
            warnings.warn(f"{path} is of a newer version, and not read", CaffeWarning, stacklevel=3)
            return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path, error) from error
    return content


def bring_back(state_file: str, content: dict[str, Any], nets: Sequence[Net]) -> None:
    """Bring nets and random numbers to where they stood.

    Raises
    ------
    CaffeError
        The file was of other nets.
    """
    path = path_of(state_file)
    try:
        for net, states in zip(nets, content["nets"], strict=True):
            for layer in net.inside.layers:
                if layer.name in states:
                    layer.restore(states[layer.name])
        mode.generator().set_state(torch.from_numpy(content["random"]))
    except CaffeError as error:
        raise CaffeError(f"{path}: {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise _damaged(path, error) from error


def _damaged(path: str, error: Exception) -> CaffeError:
    return CaffeError(
        f"{path}: the file is damaged, or of other nets ({error!r}); without it the training "
        "goes on as the original's would, its data from the beginning"
    )


def _encoded(value: Any) -> Any:
    """Return what JSON does not know as what it knows."""
    if isinstance(value, np.ndarray):
        array = np.ascontiguousarray(value)
        text = base64.b85encode(array.tobytes()).decode("ascii")
        return {"array": text, "type": array.dtype.str, "shape": array.shape}
    if isinstance(value, np.integer | np.floating):
        return value.item()
    raise TypeError(f"{value!r} cannot be kept")


def _decoded(found: dict[str, Any]) -> Any:
    if found.keys() != {"array", "type", "shape"}:
        return found
    array = np.frombuffer(base64.b85decode(found["array"]), np.dtype(found["type"]))
    return array.reshape(found["shape"]).copy()
