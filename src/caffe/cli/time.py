"""`caffe time`: how long a net takes, layer by layer and as a whole."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
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

RUNS_TO_SETTLE = 10
"""How often the net is run before it counts: it tries what is quickest in its first runs."""


@dataclass
class LayerTime:
    """One layer's average times, in milliseconds."""

    name: str
    type: str
    forward: float = 0.0
    backward: float = 0.0


@dataclass
class Times:
    """A net's average times, in milliseconds."""

    layers: list[LayerTime]
    net_forward: float
    net_backward: float
    runs: list[float] = field(default_factory=list)
    """Of the layers one by one, forward and backward."""

    @property
    def forward(self) -> float:
        """The layers' sum."""
        return sum(layer.forward for layer in self.layers)

    @property
    def backward(self) -> float:
        """The layers' sum."""
        return sum(layer.backward for layer in self.layers)

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
    iterations: Annotated[int, typer.Option(min=1, help="How many times to run it.")] = 50,
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
    are averages, in milliseconds, after runs that do not count, in which the engine is chosen.
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
    with progress("Timing", 2 * iterations, "runs") as (_, advance):
        times = measure(timed, iterations, backward, advance)
    facts = _facts(timed, iterations, device, precision)
    reasons = timed.explain() if why else []
    if as_log:
        log_times(times, device)
    elif as_json:
        print(json.dumps({**facts, **_as_dict(times, backward, reasons)}))
    else:
        _show(facts, times, backward)
        _show_reasons(times, reasons)


def measure(
    net: Net, iterations: int, backward: bool, advance: Callable[[], None] = lambda: None
) -> Times:
    """Return a net's average times over so many runs.

    Parameters
    ----------
    net : caffe.Net
        Its inputs hold what is to be run.
    iterations : int
        How many runs are averaged; one more goes before them.
    backward : bool
        Whether to time the gradients too.
    advance : callable
        Called after each run, of the layers one by one and of the net as a whole.
    """
    layers = [
        LayerTime(name, step.layer.type)
        for name, step in zip(net._layer_names, net.inside.steps, strict=True)
    ]
    _run_layers(net, layers, backward)
    for layer in layers:
        layer.forward = layer.backward = 0.0
    runs: list[float] = []
    for _ in range(iterations):
        before = sum(layer.forward + layer.backward for layer in layers)
        _run_layers(net, layers, backward)
        runs.append(sum(layer.forward + layer.backward for layer in layers) - before)
        advance()
    for _ in range(RUNS_TO_SETTLE):
        net.forward()
    wholes = [0.0, 0.0]
    for _ in range(iterations):
        wholes[0] += _milliseconds(net.forward)
        wholes[1] += _milliseconds(net.backward) if backward else 0.0
        advance()
    for layer in layers:
        layer.forward /= iterations
        layer.backward /= iterations
    return Times(layers, wholes[0] / iterations, wholes[1] / iterations, runs)


def log_times(times: Times, device: int | None) -> None:
    """Tell the times in the original's lines, of the layers one by one."""
    from ..logs import init_log, log

    init_log()
    log("Use CPU." if device is None else f"Use GPU with device ID {device}")
    log("*** Benchmark begins ***")
    log(f"Testing for {len(times.runs)} iterations.")
    for number, run in enumerate(times.runs, 1):
        log(f"Iteration: {number} forward-backward time: {run:g} ms.")
    log("Average time per layer: ")
    for layer in times.layers:
        log(f"{layer.name:>10}\tforward: {layer.forward:g} ms.")
        log(f"{layer.name:>10}\tbackward: {layer.backward:g} ms.")
    log(f"Average Forward pass: {times.forward:g} ms.")
    log(f"Average Backward pass: {times.backward:g} ms.")
    log(f"Average Forward-Backward: {times.forward + times.backward:g} ms.")
    log(f"Total Time: {sum(times.runs):g} ms.")
    log("*** Benchmark ends ***")


def _run_layers(net: Net, layers: Sequence[LayerTime], backward: bool) -> None:
    """Run the layers once, and add to each one's times."""
    from ..mode import current_store
    from ..pytorch import torch

    store, steps = current_store(), net.inside.steps
    with torch.no_grad():
        for step, layer in zip(steps, layers, strict=True):
            layer.forward += _milliseconds(step.forward, store)
        if backward:
            for step, layer in zip(reversed(steps), reversed(layers), strict=True):
                if step.need_backward:
                    layer.backward += _milliseconds(step.backward, store)


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
        f"average of {facts['iterations']} runs\n"
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
