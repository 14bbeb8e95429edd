"""`caffe import`: a net of ONNX's or PyTorch's as Caffe's two files."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer

from ..errors import CaffeError, as_caffe_error
from .export import LARGE
from .show import read_shapes
from .terminal import readable_size, share_shown

NODES = 200
"""From so many on it is shown how far the reading is."""


def import_model(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="An .onnx, a program of PyTorch's (.pt2, torch.export.save), or a module of "
            "PyTorch's, or what makes one, as PACKAGE.MODULE:NAME (torchvision.models:resnet18) "
            "or FILE.py:NAME; that code is run. A module needs --shape.",
        ),
    ],
    output: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PROTOTXT CAFFEMODEL",
            help="What is written: the net's text, and its weights (.caffemodel or .h5).",
        ),
    ] = None,
    target: Annotated[
        str,
        typer.Option(
            metavar="bvlc|opencv|mnn|rknn|sophon|ascend|nnie",
            help="Who will read them: it settles which layers and fields are used. bvlc is the "
            "original Caffe.",
        ),
    ] = "bvlc",
    outputs: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,NAME",
            help="The values that are wanted, by the model's names; else its outputs.",
        ),
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(
            metavar="INPUT=N,C,H,W",
            help="An input's shape, where the model leaves it open; a module's in order.",
        ),
    ] = None,
    fold: Annotated[
        bool,
        typer.Option("--fold", help="Take BatchNorm and Scale layers into the weights before."),
    ] = False,
) -> None:
    """Make a Caffe net of an ONNX model, or of PyTorch's.

    The net computes what the model computes; a node that has no form in the layers of whoever
    reads it is named, with what would help. Needs the extra 'onnx'.
    """
    if output is None:
        raise typer.BadParameter("-o PROTOTXT CAFFEMODEL says what is to be written, and where")
    from ..imports import load

    text, weights = output
    shapes = read_shapes(shape)
    source, examples = _module(model, shapes) if is_module(model) else (model, None)
    with share_shown(f"reading {Path(model).name}", NODES) as told:
        made = load(
            source,
            examples,
            target=target,
            outputs=None if outputs is None else outputs.split(","),
            shapes=shapes if examples is None else None,
            fold=fold,
            progress=told,
        )
    with share_shown(f"writing {weights.name}", LARGE) as told:
        made.save(text, weights, progress=told)
    size = readable_size(weights.stat().st_size)
    print(f"{text} ({len(made.text.layer)} layers) and {weights} ({size}) written.")


def is_module(name: str) -> bool:
    """Whether a module of PyTorch's is named, not a file of a model."""
    place, colon, attribute = name.rpartition(":")
    return bool(colon) and attribute.isidentifier() and not Path(name).exists() and bool(place)


def _module(name: str, shapes: Mapping[str, Sequence[int]]) -> tuple[object, tuple[object, ...]]:
    """The module that a name stands for, and example inputs of these shapes."""
    from ..pytorch import torch

    place, _, attribute = name.rpartition(":")
    if not shapes:
        raise typer.BadParameter("a module needs --shape input=1,3,224,224, once for each input")
    try:
        found = getattr(_imported(place), attribute)
        module = found if isinstance(found, torch.nn.Module) else found()
    except Exception as error:
        raise as_caffe_error(error, f"{name} gives no module") from error
    if not isinstance(module, torch.nn.Module):
        raise CaffeError(f"{name} is no torch.nn.Module, nor does it make one")
    return module, tuple(torch.zeros(*shape) for shape in shapes.values())


def _imported(place: str) -> ModuleType:
    if not place.endswith(".py"):
        return importlib.import_module(place)
    spec = importlib.util.spec_from_file_location(Path(place).stem, place)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made
