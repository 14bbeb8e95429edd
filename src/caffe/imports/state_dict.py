"""Tensors by their names, as PyTorch's modules keep them: from .safetensors, .pth and dicts."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import ArgumentError, ParseError
from ..paths import PathLike, is_path, path_text
from ..proto import contents
from ..pytorch import torch
from ..weights import safetensors_file
from ..weights.layer_weights import WeightBlob

State = dict[str, WeightBlob]

WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "weights", "params")
"""Under which names training scripts keep a module's tensors, beside other things."""

NOTHING = "it holds no tensors by name"

PARALLEL = "module."
"""What DataParallel puts before each name."""

_SIGNATURES = (b"PK\x03\x04", b"\x80\x02")


def is_torch_file(data: contents.Content) -> bool:
    """Whether content is what ``torch.save`` writes, in either form."""
    return bytes(data[:4]).startswith(_SIGNATURES)


def keeps_order(source: PathLike | Mapping[str, Any]) -> bool:
    """Whether tensors stand in the order in which a module has them: .safetensors sorts them."""
    return not is_path(source) or not safetensors_file.is_one(contents.open_bytes(source))


def read_state(source: PathLike | Mapping[str, Any]) -> State:
    """Return a module's tensors by name, in the order of the file or dict.

    Parameters
    ----------
    source : path or mapping
        A .safetensors file, one that ``torch.save(module.state_dict(), ...)`` wrote, or such a
        dict itself. Of a file nothing but tensors is taken; no code in it can run.

    Raises
    ------
    ParseError
        The file is damaged, or holds no tensors by name.
    ArgumentError
        It is neither a path nor a mapping.
    MissingExtraError
        safetensors is not installed.
    """
    if not is_path(source):
        if not isinstance(source, Mapping):
            raise ArgumentError(
                f"a file or a dict of tensors was expected, not {type(source).__name__}: give "
                "module.state_dict()"
            )
        return _named(source, "the dict")
    name = path_text(source)
    data = contents.open_bytes(source)
    if safetensors_file.is_one(data):
        tensors = dict(safetensors_file.read_tensors(name))
        if not tensors:
            raise ParseError(NOTHING, name)
        return _plain(tensors)
    if is_torch_file(data):
        return _named(_loaded(bytes(data[:]), name), name)
    raise ParseError(
        f"a module's tensors (.safetensors, or what torch.save writes) were expected, but this "
        f"is {contents.describe(data)}",
        name,
    )


def _loaded(data: bytes, name: str) -> Any:
    file = io.BytesIO(data)
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ParseError(
            "the file is damaged, or holds more than tensors, which is not read since it could "
            "run code; load it where you trust it, and save its tensors alone: "
            "torch.save(module.state_dict(), ...)",
            name,
        ) from error


def _named(found: Any, name: str) -> State:
    for wrapper in WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(wrapper), Mapping):
            found = found[wrapper]
            break
    if not isinstance(found, Mapping):
        raise ParseError(f"it holds a {type(found).__name__}, not tensors by name", name)
    for key, value in found.items():
        if isinstance(value, torch.Tensor) and value.is_meta:
            raise ParseError(
                f"the tensor '{key}' has a shape and no numbers (its device is 'meta'); load the "
                "module's weights first",
                name,
            )
    state = {str(key): _blob(value) for key, value in found.items() if _is_numbers(value)}
    if not state:
        raise ParseError(NOTHING, name)
    return _plain(state)


def _is_numbers(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "fiu"
    if not isinstance(value, torch.Tensor) or value.is_sparse or value.is_quantized:
        return False
    return not value.is_complex()


def _blob(value: Any) -> WeightBlob:
    if isinstance(value, np.ndarray):
        return WeightBlob(value.shape, lambda: np.asarray(value, np.float32).reshape(-1))
    shape = tuple(value.shape)
    return WeightBlob(shape, lambda: value.detach().cpu().float().reshape(-1).numpy())


def _plain(state: State) -> State:
    if all(name.startswith(PARALLEL) for name in state):
        return {name.removeprefix(PARALLEL): blob for name, blob in state.items()}
    return state
