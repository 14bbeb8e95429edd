"""`caffe time`: how long a net takes, layer by layer and as a whole."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import CaffeError
from . import completion
from .nets import Phase, read_named_net
from .options import (
    Engine,
    Gpus,
    Level,
    Precision,
    Stages,
    Threads,
    set_arithmetic,
    stages_of,
    use_gpus,
)
from .terminal import bar, print_columns, progress

if TYPE_CHECKING:
    from ..net.net import Net

RUNS_TO_SETTLE = 90
"""How often the net is run before it counts: it tries what is quickest in its first runs."""


RUNS = 50
"""How often it is timed where nobody says how often, unless the time is up before."""


@dataclass
class LayerTime:
    """One layer's times in each run, in milliseconds."""

    name: str
    type: str
    forwards: list[float] = field(default_factory=list)
    backwards: list[float] = field(default_factory=list)

    @property
    def forward(self) -> float:
        """The median."""
        return _median(self.forwards)

    @property
    def backward(self) -> float:
        """The median; 0 for a layer that has no gradient to compute."""
        return _median(self.backwards)


@dataclass
class Times:
    """A net's times in each run, in milliseconds."""

    layers: list[LayerTime]
    net_forwards: list[float] = field(default_factory=list)
    net_backwards: list[float] = field(default_factory=list)

    @property
    def forward(self) -> float:
        """The sum of the layers' medians."""
        return sum(layer.forward for layer in self.layers)

    @property
    def backward(self) -> float:
        """The sum of the layers' medians."""
        return sum(layer.backward for layer in self.layers)

    @property
    def net_forward(self) -> float:
        """The median."""
        return _median(self.net_forwards)

    @property
    def net_backward(self) -> float:
        """The median."""
        return _median(self.net_backwards)

    def share(self, layer: LayerTime) -> float:
        """The part that a layer has of the layers' sum."""
        return (layer.forward + layer.backward) / ((self.forward + self.backward) or 1.0)


def time_net(
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME|PROTOTXT",
            help="A model that `caffe zoo` lists, or a net's file; efficientnet_lite0 if nothing "
            "is said.",
            autocompletion=completion.nets,
        ),
    ] = None,
    net: Annotated[
        Path | None, typer.Option(metavar="PROTOTXT", help="The net's file, as `--model` takes it.")
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="CAFFEMODEL",
            help="Its weights; without them the fillers' values, which take as long.",
        ),
    ] = None,
    iterations: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="How many times to run it, however long that takes.",
            show_default=f"at most {RUNS}",
        ),
    ] = None,
    seconds: Annotated[
        float,
        typer.Option(min=0, help="About how long to take, where no number of runs is said."),
    ] = 10,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Pictures at once.", show_default="the net's own")
    ] = None,
    phase: Annotated[Phase, typer.Option(help="Which of the net's phases.")] = Phase.TEST,
    gpu: Gpus = None,
    threads: Threads = None,
    precision: Precision = None,
    engine: Engine = None,
    backward: Annotated[
        bool, typer.Option("--backward", help="Time the gradients too, as with force_backward.")
    ] = False,
    why: Annotated[
        bool,
        typer.Option(
            "--why",
            help="Tell what runs each layer, what it is joined with, and why not otherwise.",
        ),
    ] = False,
    level: Level = 0,
    stage: Stages = None,
    as_log: Annotated[
        bool,
        typer.Option("--log", help="The original's lines, on stderr; the gradients are timed too."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Time a net: each layer on its own, and `net.forward()` as a whole.

    The whole is quicker than the sum of the layers where layers are run as one. What is shown
    are medians, in milliseconds, after runs that do not count, in which the engine is chosen.
    """
    if net is not None and model is not None:
        raise typer.BadParameter("--net and --model are two ways to name one net")
    device = use_gpus(gpu)
    set_arithmetic(precision, engine)
    backward = backward or as_log
    timed = _open(
        model if net is None else str(net), weights, phase, backward, level, stages_of(stage)
    )
    if batch is not None:
        _set_batch(timed, batch)
    total = None if iterations is None else 2 * iterations
    with progress("Timing", total, "runs") as (_, advance):
        times = measure(timed, iterations, seconds, backward, advance)
    facts = _facts(timed, len(times.net_forwards), device, precision)
    reasons = timed.explain() if why else []
    if as_log:
        log_times(times, device)
    elif as_json:
        print(json.dumps({**facts, **_as_dict(times, backward, reasons)}))
    else:
        _show(facts, times, backward)
        _show_reasons(times, reasons)


def measure(
    net: Net,
    iterations: int | None,
    seconds: float,
    backward: bool,
    advance: Callable[[], None] = lambda: None,
) -> Times:
    """Return a net's times, after runs that do not count.

    Parameters
    ----------
    net : caffe.Net
        Its inputs hold what is to be run.
    iterations : int or None
        How many runs are timed, of the layers one by one and of the net as a whole.
    seconds : float
        About how long all of it may take where no number of runs is given. Each kind of run is
        done at least once.
    backward : bool
        Whether to time the gradients too.
    advance : callable
        Called after each run that is timed.
    """

    def runs(most: int) -> Iterator[int]:
        """The numbers of the runs of one of the three parts, until its time is up."""
        end = time.monotonic() + seconds / 3
        for number in range(most):
            yield number
            if iterations is None and time.monotonic() >= end:
                return

    times = Times(
        [
            LayerTime(name, step.layer.type)
            for name, step in zip(net._layer_names, net.inside.steps, strict=True)
        ]
    )
    _run_layers(net, [LayerTime(layer.name, layer.type) for layer in times.layers], backward)
    for _ in runs(iterations or RUNS):
        _run_layers(net, times.layers, backward)
        advance()
    for _ in runs(RUNS_TO_SETTLE):
        net.forward()
    for _ in runs(iterations or RUNS):
        times.net_forwards.append(_milliseconds(net.forward))
        if backward:
            times.net_backwards.append(_milliseconds(net.backward))
        advance()
    return times


def log_times(times: Times, device: int | None) -> None:
    """Tell the times in the original's lines, of the layers one by one: averages, as it does."""
    from ..logs import init_log, log

    both = [(layer.forwards, layer.backwards) for layer in times.layers]
    runs = len(both[0][0]) if both else 0
    sums = [sum(way[run] for ways in both for way in ways if way) for run in range(runs)]
    init_log()
    log("Use CPU." if device is None else f"Use GPU with device ID {device}")
    log("*** Benchmark begins ***")
    log(f"Testing for {runs} iterations.")
    for number, run in enumerate(sums, 1):
        log(f"Iteration: {number} forward-backward time: {run:g} ms.")
    log("Average time per layer: ")
    for layer in times.layers:
        log(f"{layer.name:>10}\tforward: {_mean(layer.forwards):g} ms.")
        log(f"{layer.name:>10}\tbackward: {_mean(layer.backwards):g} ms.")
    log(f"Average Forward pass: {sum(_mean(ways[0]) for ways in both):g} ms.")
    log(f"Average Backward pass: {sum(_mean(ways[1]) for ways in both):g} ms.")
    log(f"Average Forward-Backward: {_mean(sums):g} ms.")
    log(f"Total Time: {sum(sums):g} ms.")
    log("*** Benchmark ends ***")


def _mean(values: Sequence[float]) -> float:
    return fmean(values) if values else 0.0


def _median(values: Sequence[float]) -> float:
    return median(values) if values else 0.0


def _run_layers(net: Net, layers: Sequence[LayerTime], backward: bool) -> None:
    """Run the layers once, and note how long each one took."""
    from ..mode import current_store, gpu_arithmetic
    from ..pytorch import torch

    store, steps = current_store(), net.inside.steps
    with gpu_arithmetic(), torch.no_grad():
        for step, layer in zip(steps, layers, strict=True):
            layer.forwards.append(_milliseconds(step.forward, store))
        if backward:
            for step, layer in zip(reversed(steps), reversed(layers), strict=True):
                if step.need_backward:
                    layer.backwards.append(_milliseconds(step.backward, store))


def _milliseconds(function: Callable[..., Any], *arguments: Any) -> float:
    from ..timer import Timer

    timer = Timer()
    timer.start()
    function(*arguments)
    return timer.ms


def _open(
    model: str | None,
    weights: Path | None,
    phase: Phase,
    backward: bool,
    level: int,
    stages: Sequence[str],
) -> Net:
    from .. import zoo
    from ..net.net import Net
    from ..phases import check_phase

    param = read_named_net(model or zoo.DEFAULT)
    # A net without a loss would compute no gradients.
    param.force_backward = param.force_backward or backward
    return Net(param, phase=check_phase(phase.value), weights=weights, level=level, stages=stages)


def _set_batch(net: Net, batch: int) -> None:
    from ..net.batch import set_batch

    if not net.inputs:
        raise CaffeError("--batch: the net has no input; its data layer sets the batch")
    set_batch([net.blobs[name] for name in net.inputs], batch)
    net.reshape()


def _facts(net: Net, iterations: int, gpu: int | None, precision: str | None) -> dict[str, Any]:
    from ..mode import engine
    from ..pytorch import torch

    device = f"CPU, {torch.get_num_threads()} threads"
    return {
        "net": net.name,
        "batch": net.blobs[net.inputs[0]].shape[0] if net.inputs else None,
        "device": device if gpu is None else f"GPU {gpu}",
        "precision": precision or "float32",
        "engine": engine(),
        "iterations": iterations,
    }


def _as_dict(times: Times, backward: bool, reasons: Sequence[str]) -> dict[str, Any]:
    layers: list[dict[str, Any]] = []
    for layer in times.layers:
        entry = {"name": layer.name, "type": layer.type, "forward_ms": round(layer.forward, 4)}
        if backward:
            entry["backward_ms"] = round(layer.backward, 4)
        layers.append({**entry, "share": round(times.share(layer), 4)})
    for entry, reason in zip(layers, reasons, strict=False):
        entry["how"] = reason
    found: dict[str, Any] = {
        "layers": layers,
        "layers_forward_ms": round(times.forward, 4),
        "net_forward_ms": round(times.net_forward, 4),
    }
    if backward:
        found["layers_backward_ms"] = round(times.backward, 4)
        found["net_backward_ms"] = round(times.net_backward, 4)
    return found


def _show(facts: dict[str, Any], times: Times, backward: bool) -> None:
    batch = "" if facts["batch"] is None else f"batch {facts['batch']}, "
    print(
        f"{facts['net'] or 'net'}: {batch}{facts['device']}, {facts['precision']}, "
        f"median of {facts['iterations']} runs\n"
    )
    bars = (sys.stdout.encoding or "").lower().startswith("utf")
    rows = [["LAYER", "TYPE", "FORWARD ms", *(["BACKWARD ms"] if backward else []), "SHARE", ""]]
    largest = max(map(times.share, times.layers), default=0) or 1.0
    for layer in times.layers:
        numbers = [layer.forward, *([layer.backward] if backward else [])]
        share = times.share(layer)
        cells = [*(f"{number:.3f}" for number in numbers), f"{share:.1%}"]
        # The longest bar fills its column: of a hundred layers none has much of the whole.
        rows.append([layer.name, layer.type, *cells, bar(share / largest) if bars else ""])
    print_columns(_right(rows, range(2, len(rows[0]) - 1)))
    print()
    totals = [["", "FORWARD ms", *(["BACKWARD ms"] if backward else []), ""]]
    for name, forward, back in (
        ("sum of the layers", times.forward, times.backward),
        ("net.forward()", times.net_forward, times.net_backward),
    ):
        rate = f"{1000 * facts['batch'] / forward:.1f} pictures/s" if facts["batch"] else ""
        totals.append([name, f"{forward:.3f}", *([f"{back:.3f}"] if backward else []), rate])
    if backward:
        totals[-1][0] += ", net.backward()"
    print_columns(_right(totals, range(1, len(totals[0]) - 1)))


def _show_reasons(times: Times, reasons: Sequence[str]) -> None:
    """Show what runs each layer, if that was asked for."""
    if not reasons:
        return
    print()
    rows = [[layer.name, layer.type, how] for layer, how in zip(times.layers, reasons, strict=True)]
    print_columns([["LAYER", "TYPE", "HOW IT RUNS"], *rows])


def _right(rows: Sequence[Sequence[str]], columns: range) -> list[list[str]]:
    """The rows with some columns set to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        [cell.rjust(widths[i]) if i in columns else cell for i, cell in enumerate(row)]
        for row in rows
    ]
