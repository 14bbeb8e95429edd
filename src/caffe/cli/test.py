"""`caffe test`: the outputs of a net of the TEST phase over so many batches, and their averages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .nets import read_named_net
from .options import Gpus, Level, Stages, told_stages, use_gpus
from .terminal import progress

if TYPE_CHECKING:
    from ..net.net import Net
    from .judging import Judge


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
    level: Level = 0,
    stage: Stages = None,
    top_k: Annotated[
        str | None,
        typer.Option(metavar="K,K", help="Tell how often the label is among the best K (1,5)."),
    ] = None,
    miou: Annotated[
        bool, typer.Option("--miou", help="Tell the classes' mean overlap (segmentation).")
    ] = False,
) -> None:
    """Run a net of the TEST phase, and tell its outputs of each batch and on average.

    The lines are those of the original Caffe, on stderr. What adds to the loss stands with its
    weight and what it adds. Shares by `--top-k` and `--miou` are over all batches together.
    """
    ks = told_ks(top_k)
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
    say("caffe.cpp:281", f"Running for {iterations} iterations.")
    tell = partial(say, "caffe.cpp:304")
    with progress("Testing", iterations, "batches") as (_, advance):
        scores = run_batches(net, iterations, tell, advance, judge)
    loss, *outputs = scores.lines()
    say("caffe.cpp:309", loss)
    for line in outputs:
        say("caffe.cpp:321", line)
    for line in judge.lines() if judge is not None else ():
        say("caffe.cpp:321", line)


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


@dataclass
class Scores:
    """What a net's outputs came to, summed over the batches.

    Attributes
    ----------
    weights : dict of str to float
        What each output adds to the loss.
    """

    weights: dict[str, float]
    batches: int = 0
    loss: float = 0.0
    sums: dict[str, list[float]] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        """The lines of the averages: the loss, and each value of each output."""
        yield f"Loss: {self.loss / self.batches:g}"
        for name, values in self.sums.items():
            for value in values:
                mean = value / self.batches
                weight = self.weights[name]
                added = f" (* {weight:g} = {weight * mean:g} loss)" if weight else ""
                yield f"{name} = {mean:g}{added}"


def run_batches(
    net: Net,
    iterations: int,
    tell: Callable[[str], None],
    advance: Callable[[], None] = lambda: None,
    judge: Judge | None = None,
) -> Scores:
    """Run a net so many times, and tell each output of each batch."""
    scores = Scores({name: net.blob_loss_weights[name] for name in net.outputs})
    for batch in range(iterations):
        scores.loss += net._forward(0, len(net.layers) - 1)
        scores.batches += 1
        if judge is not None:
            judge.add()
        for name in net.outputs:
            values = net.blobs[name].data.ravel().tolist()
            for value in values:
                tell(f"Batch {batch}, {name} = {value:g}")
            before = scores.sums.get(name, [0.0] * len(values))
            scores.sums[name] = [sum(pair) for pair in zip(before, values, strict=True)]
        advance()
    return scores
