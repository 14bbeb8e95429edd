"""What Net's constructor is given: its arguments in either order, and the net's description."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

from ..errors import ArgumentError, CaffeError, NetError
from ..paths import PathLike, is_path, path_text
from ..phases import NAMES, check_phase
from ..proto import files
from ..proto.caffe_pb2 import NetParameter
from ..proto.lines import find_line
from ..proto.upgrade import upgrade_net

_LAYER = re.compile(r"layer '([^']+)' \(")


def sort_arguments(
    arguments: Sequence[Any],
    weights: PathLike | None,
    phase: int | None,
    level: int | None,
    stages: Sequence[str] | None,
    legacy: dict[str, Any],
) -> tuple[PathLike | None, int, int | None, Sequence[str] | None]:
    """Tell pycaffe's two constructors apart: (phase, level, stages, weights), (weights, phase)."""
    weights = legacy.pop("pretrained_param_file", legacy.pop("weights_file", weights))
    if legacy:
        raise ArgumentError(f"Net() got an unexpected keyword argument {next(iter(legacy))!r}")
    rest = list(arguments)
    if rest and is_path(rest[0]) and rest[0] not in NAMES:
        weights = rest.pop(0)
        names = ["phase"]
    else:
        if rest and rest[0] is None:
            rest.pop(0)
        names = ["phase", "level", "stages", "weights"]
    if len(rest) > len(names):
        raise ArgumentError(
            "Net() takes (network_file, phase, level, stages, weights) or "
            "(network_file, weights, phase)"
        )
    given = dict(zip(names, rest, strict=False))
    phase = given.get("phase", phase)
    if phase is None:
        raise ArgumentError(
            "Net() needs the phase: caffe.TEST to run a net, caffe.TRAIN to train it"
        )
    return (
        given.get("weights", weights),
        check_phase(phase),
        given.get("level", level),
        given.get("stages", stages),
    )


def read_model(model: PathLike | NetParameter | None) -> tuple[str | None, NetParameter]:
    """Return the net's upgraded description, and the file's path where it came from one."""
    if isinstance(model, NetParameter):
        return None, upgrade_net(model)
    if isinstance(model, str) and "{" in model and not os.path.exists(model):
        return None, files.parse_net(model)
    if not is_path(model):
        raise ArgumentError(
            f"Net() takes a prototxt's path, its text or a NetParameter, not {model!r:.80}"
        )
    return path_text(model), files.read_net(model)


def name_source(error: CaffeError, source: str | None) -> None:
    """Put the file, and the line where it can be found, before a net's error."""
    if source is None:
        return
    word = error.word if isinstance(error, NetError) else None
    if word is None and (layer := _LAYER.match(str(error))):
        word = layer[1]
    line = find_line(source, word) if word is not None else None
    place = source if line is None else f"{source}:{line}"
    error.args = (f"{place}: {error}", *error.args[1:])


class NamingSource:
    """Lets errors inside name the net's file, and the line; see `name_source`."""

    __slots__ = ("_source",)

    def __init__(self, source: str | None) -> None:
        self._source = source

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        """Name them."""
        if isinstance(error, CaffeError):
            name_source(error, self._source)
