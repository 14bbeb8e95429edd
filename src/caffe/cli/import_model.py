"""`caffe import`: a net of ONNX's or PyTorch's as Caffe's two files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .export import LARGE
from .show import read_shapes
from .terminal import readable_size, share_shown

NODES = 200
"""From so many on it is shown how far the reading is."""


def import_model(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL", help="An .onnx, or a program of PyTorch's (.pt2, torch.export.save)."
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
            metavar="INPUT=N,C,H,W", help="An input's shape, where the model leaves it open."
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
    with share_shown(f"reading {model.name}", NODES) as told:
        made = load(
            model,
            target=target,
            outputs=None if outputs is None else outputs.split(","),
            shapes=read_shapes(shape),
            fold=fold,
            progress=told,
        )
    with share_shown(f"writing {weights.name}", LARGE) as told:
        made.save(text, weights, progress=told)
    size = readable_size(weights.stat().st_size)
    print(f"{text} ({len(made.text.layer)} layers) and {weights} ({size}) written.")
