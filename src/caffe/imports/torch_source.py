"""PyTorch's modules and programs, by way of ONNX."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from typing import Any

from ..errors import ArgumentError, CaffeError, ParseError, as_caffe_error, require, unreadable
from ..paths import PathLike, path_text
from ..pytorch import torch
from .onnx_source import Source, of_proto

OPSET = 20
"""In which GELU is one operator."""


def read(path: PathLike) -> Source:
    """Read a program of PyTorch's (.pt2).

    Raises
    ------
    ParseError
        The file holds none.
    """
    text = path_text(path)
    try:
        with open(text, "rb") as stream:
            data = io.BytesIO(stream.read())
    except OSError as error:
        raise unreadable(f"cannot be read: {error.strerror}", text, error) from error
    try:
        with _quietly():
            program = torch.export.load(data)
    except Exception as error:
        raise ParseError("this is no program of PyTorch's, or it is damaged", text) from error
    return traced(program, None, text)


def traced(source: Any, example_inputs: Any, name: str = "") -> Source:
    """Return a module or program as an ONNX model.

    Raises
    ------
    ArgumentError
        It is neither, or its example inputs are missing.
    CaffeError
        PyTorch cannot trace it, or has no form in ONNX for it.
    """
    program = isinstance(source, torch.export.ExportedProgram)
    if not program and not isinstance(source, torch.nn.Module):
        raise ArgumentError(
            "a file's path, an ONNX model, a torch.nn.Module or a torch.export program is wanted, "
            f"not {type(source).__name__}"
        )
    if not program and example_inputs is None:
        raise ArgumentError(
            "a module needs example inputs, whose shapes the net will have: "
            "load(module, torch.zeros(1, 3, 224, 224))"
        )
    require("onnxscript", "onnx", "importing PyTorch's modules")
    require("onnx", "onnx", "importing PyTorch's modules")
    inputs = example_inputs
    if inputs is not None and not isinstance(inputs, (tuple, list)):
        inputs = (inputs,)
    was_training = not program and source.training
    name = name or type(source).__name__
    try:
        if not program:
            source.eval()
        with _quietly(), torch.no_grad():
            made = torch.onnx.export(
                source,
                () if inputs is None else tuple(inputs),
                dynamo=True,
                opset_version=OPSET,
                verbose=False,
            )
            assert made is not None
            proto = made.model_proto
    except Exception as error:
        if isinstance(error, CaffeError):
            raise
        raise as_caffe_error(error, f"{name}: PyTorch does not write it as ONNX") from error
    finally:
        if was_training:
            source.train()
    return of_proto(proto, name)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep PyTorch's own remarks to itself."""
    told = logging.getLogger("torch.onnx")
    level = told.level
    told.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        told.setLevel(level)
