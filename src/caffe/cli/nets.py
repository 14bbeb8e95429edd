"""Which net a command line means: a file's or a published one, and in which phase."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import CaffeError, NetError
from ..phases import TEST, TRAIN, check_phase

if TYPE_CHECKING:
    from ..proto.caffe_pb2 import NetParameter
    from ..structure.outline import Outline

RunPython = Annotated[
    bool,
    typer.Option(
        "--run-python",
        help="Import the modules that Python layers name (from PYTHONPATH), to know their shapes. "
        "That runs their code: only for nets whose authors you trust.",
    ),
]

TEXT_ENDINGS = (".prototxt", ".txt", ".pbtxt")


class Phase(str, Enum):
    """Which layers there are, and how those that differ run."""

    TEST = "TEST"
    TRAIN = "TRAIN"


def is_onnx(name: str) -> bool:
    """Whether a name means an ONNX model."""
    return name.lower().endswith(".onnx")


def read_named_net(model: str) -> NetParameter:
    """The net of a file, or one that `caffe zoo` lists, in today's form; of ONNX what it becomes.

    Raises
    ------
    CaffeError
        There is no such file or model, or it holds no net.
    """
    from .. import zoo
    from ..proto.files import read_net
    from ..zoo.files import published_text

    if is_onnx(model):
        from ..imports import load

        return load(model).text
    # A folder may well be called like a model.
    is_path = Path(model).exists() and (Path(model).is_file() or model not in zoo.names())
    if is_path or model.endswith(TEXT_ENDINGS):
        return read_net(model)
    try:
        record = zoo.record(model)
    except CaffeError as error:
        raise CaffeError(f"there is no such file, and {error}") from None
    if record.net is not None:
        net: NetParameter = record.net()
        return net
    if not record.is_model:
        raise CaffeError(f"{model} is no model but an archive; `caffe zoo` lists the models")
    text = published_text(record)
    if not text.is_file():
        raise CaffeError(f"the net of {model} is not here yet: caffe fetch {model}")
    return read_net(text)


def outline_named_net(
    model: str,
    phase: Phase | None,
    stages: Sequence[str] = (),
    batch: int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    run_python: bool = False,
) -> Outline:
    """Outline a net; without a phase in TEST, or in TRAIN where it is whole only there.

    Raises
    ------
    CaffeError
        The net cannot be read, or does not connect; the text names file and line.
    """
    from ..net.construction import name_source
    from ..structure.outline import outline

    param = read_named_net(model)
    first_error: CaffeError | None = None
    for number in (TEST, TRAIN) if phase is None else (check_phase(phase.value),):
        try:
            return outline(param, number, 0, stages, batch, shapes, run_python)
        except NetError as error:
            first_error = first_error or error
    assert first_error is not None
    name_source(first_error, model if Path(model).exists() else None)
    raise first_error
