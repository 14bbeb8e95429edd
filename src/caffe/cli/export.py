"""`caffe export`: a net as ONNX, for PyTorch, as source, or its weights alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import CaffeError
from ..phases import check_phase
from .nets import Phase, read_named_net
from .options import Stages, Threads, stages_of
from .own_net import ChannelSwap, InputScale, Mean, RawScale, own_recipe
from .show import read_shapes
from .terminal import complain, readable_size, share_shown

if TYPE_CHECKING:
    from ..io.recipe import PictureRecipe
    from ..net.net import Net

ONNX = "ONNX"
LARGE = 1 << 26
"""From so many bytes on it is shown how far the writing is."""


def export(
    net: Annotated[
        str, typer.Argument(metavar="NET", help="A net's file, or a model that `caffe zoo` lists.")
    ],
    weights: Annotated[
        Path | None,
        typer.Argument(metavar="WEIGHTS", help="Its weights; models of the zoo have their own."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="What is written: .onnx, .pt2 (a program of PyTorch's), .py (a module's source, "
            "and its weights beside it) or .safetensors (the weights alone).",
        ),
    ] = None,
    outputs: Annotated[
        str | None,
        typer.Option(
            metavar="BLOB,BLOB",
            help="The blobs that are wanted; the net's outputs if nothing is said.",
        ),
    ] = None,
    dynamic_batch: Annotated[
        bool, typer.Option("--dynamic-batch", help="Leave the length of the batch open.")
    ] = False,
    fold: Annotated[
        bool,
        typer.Option(
            "--fold", help="Take BatchNorm, Scale and Bias layers into the weights before them."
        ),
    ] = False,
    shape: Annotated[
        list[str] | None, typer.Option(metavar="BLOB=N,C,H,W", help="An input's shape.")
    ] = None,
    phase: Annotated[Phase, typer.Option(help="Which of the net's phases.")] = Phase.TEST,
    stage: Stages = None,
    threads: Threads = None,
    opset: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="The version of ONNX's operators.",
            show_default="17",
            rich_help_panel=ONNX,
        ),
    ] = None,
    external_data: Annotated[
        bool,
        typer.Option(
            "--external-data",
            help="Keep the numbers in FILE.data, as is done anyhow from 2 GB on.",
            rich_help_panel=ONNX,
        ),
    ] = False,
    pictures: Annotated[
        bool,
        typer.Option(
            "--pictures",
            help="The model takes pictures, RGB and 0 to 255, of the net's own size: order of "
            "channels, scales and mean are in it. The zoo's models know theirs; the options "
            "below say a net's of your own.",
            rich_help_panel=ONNX,
        ),
    ] = False,
    mean: Mean = None,
    raw_scale: RawScale = None,
    input_scale: InputScale = None,
    channel_swap: ChannelSwap = None,
) -> None:
    """Write a net for other programs: as ONNX, for PyTorch, as source, or its weights alone.

    What is written computes what the net computes; a layer that cannot be written is named, with
    the reason. Needs the extra 'onnx' for .onnx, 'safetensors' for .py and .safetensors.
    """
    if output is None:
        raise typer.BadParameter("-o FILE says what is to be written, and where")
    own = {
        "--mean": mean,
        "--raw-scale": raw_scale,
        "--input-scale": input_scale,
        "--channel-swap": channel_swap,
    }
    given = ", ".join(name for name, value in own.items() if value is not None)
    if given and not pictures:
        raise typer.BadParameter(f"{given}: only with --pictures")
    from ..export import save

    model, recipe = _load(net, weights, phase, stages_of(stage))
    if pictures and (recipe is None or given):
        recipe = own_recipe(mean, raw_scale, input_scale, channel_swap)
    _reshape(model, read_shapes(shape))
    with share_shown(f"writing {output.name}", LARGE) as progressed:
        save(
            model,
            output,
            outputs=None if outputs is None else outputs.split(","),
            opset=opset,
            dynamic_batch=dynamic_batch,
            fold=fold,
            recipe=recipe if pictures else None,
            external_data=True if external_data else None,
            progress=progressed,
        )
    print(f"{output} written ({readable_size(output.stat().st_size)}).")


def _load(
    name: str, weights: Path | None, phase: Phase, stages: Sequence[str]
) -> tuple[Net, PictureRecipe | None]:
    """The net, and how pictures go in where that is known."""
    from .. import zoo
    from ..net.net import Net

    if weights is None and not Path(name).exists() and name in zoo.names():
        model = zoo.load(name)
        return model, model.recipe
    source = name if Path(name).is_file() else read_named_net(name)
    net = Net(source, check_phase(phase.value), stages=list(stages))
    if weights is None:
        if any(net.params.values()):
            complain("note: no weights were given; the fillers' values are written")
    else:
        net.copy_from(weights)
    return net, None


def _reshape(net: Net, shapes: Mapping[str, Sequence[int]]) -> None:
    for name, dims in shapes.items():
        if name not in net.inputs:
            raise CaffeError(f"--shape: {name!r} is no input; there are {', '.join(net.inputs)}")
        net.blobs[name].reshape(*dims)
    if shapes:
        net.reshape()
