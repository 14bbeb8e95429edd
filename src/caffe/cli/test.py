"""`caffe test`: the outputs of a net of the TEST phase over so many batches, and their averages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .nets import read_named_net
from .options import Gpus, Level, Stages, Threads, told_stages, use_gpus
from .terminal import progress

if TYPE_CHECKING:
    from ..net.net import Net
    from ..solver.testing import Averages, MeanPrecisions


def run_test(
    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", metavar="NAME|PROTOTXT", help="The net, whose data layers read."
        ),
    ],
    weights: Annotated[
        Path | None, typer.Option(metavar="CAFFEMODEL|HDF5", help="Its weights.")
    ] = None,
    iterations: Annotated[int, typer.Option(min=1, help="How many batches.")] = 50,
    gpu: Gpus = None,
    threads: Threads = None,
    level: Level = 0,
    stage: Stages = None,
    top_k: Annotated[
        str | None,
        typer.Option(metavar="K,K", help="Tell how often the label is among the best K (1,5)."),
    ] = None,
    miou: Annotated[
        bool, typer.Option("--miou", help="Tell the classes' mean overlap (segmentation).")
    ] = False,
    eval_type: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="What is told of DetectionEvaluate's outputs: mean average precision (detection, "
            "the default where there are any), or their numbers' means (classification).",
        ),
    ] = None,
    ap_version: Annotated[
        str, typer.Option(metavar="NAME", help="How it is counted: 11point, MaxIntegral, Integral.")
    ] = "Integral",
) -> None:
    """Run a net of the TEST phase, and tell its outputs of each batch and on average.

    The lines are those of the original Caffe, on stderr. What adds to the loss stands with its
    weight and what it adds. Shares by `--top-k` and `--miou` and mean average precision are over
    all batches together; the latter's classes stand before it.
    """
    ks = told_ks(top_k)
    from ..solver.average_precision import VERSIONS

    check_choice("--eval-type", eval_type, (None, "detection", "classification"))
    check_choice("--ap-version", ap_version, VERSIONS)
    from ..logs import init_log, say
    from ..net.net import Net
    from ..phases import TEST
    from .judging import Judge

    init_log()
    device = use_gpus(gpu)
    if device is None:
        say("caffe.cpp:275", "Use CPU.")
    else:
        say("caffe.cpp:267", f"Use GPU with device ID {device}")
    net = Net(
        read_named_net(model), phase=TEST, level=level, stages=told_stages(stage), weights=weights
    )
    judge = Judge(net, ks, miou) if ks or miou else None
    averages, precisions = told_outputs(net, eval_type, ap_version)
    adding = [scores.add for scores in (averages, precisions, judge) if scores is not None]
    say("caffe.cpp:281", f"Running for {iterations} iterations.")
    loss = 0.0
    with progress("Testing", iterations, "batches") as (_, advance):
        for batch in range(iterations):
            loss += float(net._forward(0, len(net.layers) - 1))
            for add in adding:
                add()
            for name, value, _ in averages.last():
                say("caffe.cpp:304", f"Batch {batch}, {name} = {value:g}")
            advance()
    say("caffe.cpp:309", f"Loss: {loss / iterations:g}")
    for line in told_lines(averages, precisions):
        say("caffe.cpp:321", line)
    for line in judge.lines() if judge is not None else ():
        say("caffe.cpp:321", line)


def check_choice(option: str, given: str | None, known: Sequence[str | None]) -> None:
    """Refuse what is none of an option's words.

    Raises
    ------
    typer.BadParameter
        The text has the words.
    """
    if given not in known:
        words = ", ".join(word for word in known if word is not None)
        raise typer.BadParameter(f"{option} takes one of {words}, not {given!r}")


def told_outputs(
    net: Net, eval_type: str | None, ap_version: str
) -> tuple[Averages, MeanPrecisions | None]:
    """Return of which outputs there are means, and of which mean average precisions.

    Raises
    ------
    CaffeError
        Detections are to be judged, and no output is of DetectionEvaluate.
    """
    from ..errors import CaffeError
    from ..solver.testing import Averages, MeanPrecisions

    steps = [s for s in net.inside.steps if s.layer.layer_param.type == "DetectionEvaluate"]
    tops = {top for step in steps for top in step.layer.layer_param.top}
    found = [name for name in net.outputs if name in tops]
    if eval_type == "detection" and not found:
        raise CaffeError(
            f"--eval-type detection: no output is of a DetectionEvaluate layer, but they are "
            f"{', '.join(net.outputs)}"
        )
    if not found or eval_type == "classification":
        return Averages(net), None
    rest = [name for name in net.outputs if name not in found]
    return Averages(net, rest), MeanPrecisions(net, ap_version, found)


def told_lines(averages: Averages, precisions: MeanPrecisions | None) -> Iterator[str]:
    """Yield the lines behind the last batch."""
    from ..solver.log import shown_output

    for output in averages.outputs():
        yield shown_output(*output)
    for name, mean, weight in precisions.outputs() if precisions is not None else ():
        assert precisions is not None
        yield from precisions.class_lines(name)
        yield shown_output(name, mean, weight)


def told_ks(text: str | None) -> list[int]:
    """Read ``--top-k``: whole numbers above 0 with commas between.

    Raises
    ------
    typer.BadParameter
        It is something else.
    """
    words = [word.strip() for word in (text or "").split(",")] if text else []
    if not all(word.isdecimal() and int(word) for word in words):
        raise typer.BadParameter(f"--top-k takes numbers above 0, as in 1,5, not {text!r}")
    return [int(word) for word in words]
