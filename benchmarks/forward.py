"""How long a forward pass takes: Recaffe and every other engine at hand, in turn.

Every engine has a process of its own, the same net, weights and input, and must give the same
output before any is timed.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import peers
from nets import NETS, Files, picture_batch, write
from own_process import Child, Turn
from report import arguments, machine, show, spread_text, take_turns, timed

import caffe
from caffe.structure.summary import summarize

BATCHES = {"caffenet": (1, 50), "vgg16": (8,), "mobilenet_ssd": (1,)}
USUAL = (1, 16)
WARMING = 5
"""Calls before an engine is timed."""

MOST_WARMING = 1000
"""Calls of ours, at most, in which it chooses and prepares."""

TOLERANCE = {"float32": 1e-3, "bfloat16": 0.5, "float16": 0.1}
"""Of the largest value. A deep net of random weights enlarges what half precision rounds off."""


def main() -> None:
    """Measure what the command line asks for."""
    parser = arguments(__doc__)
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--batches", nargs="+", type=int, help="instead of each net's usual ones")
    parser.add_argument("--precisions", nargs="+", choices=TOLERANCE, default=["float32"])
    parser.add_argument("--peers", nargs="+", choices=peers.NAMES, default=list(peers.NAMES))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each turn, at least")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 1, 0.0
    facts = machine(options.threads)
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.nets:
            for batch in options.batches or BATCHES.get(name, USUAL):
                for precision in options.precisions:
                    print(f"{name}, batch {batch}, {precision}", flush=True)
                    figure = measure(name, batch, precision, options, Path(folder))
                    figure["limit_ms"] = limit(NETS[name](batch), facts)
                    figures.append(figure)
    _show(figures, facts, options.json)


@dataclass
class Task:
    """What every engine is to run, and how it is to be compared.

    Attributes
    ----------
    shape, output : tuple of int
        Of the input, and of what is compared.
    in_order : callable
        Makes of an output what is compared.
    """

    files: Files
    precision: str
    threads: int
    is_warm: bool
    shape: tuple[int, ...]
    output: tuple[int, ...]
    in_order: Callable[[Any], np.ndarray]


def measure(name: str, batch: int, precision: str, options: Any, folder: Path) -> dict[str, Any]:
    """Time one net at one batch in one precision with every engine."""
    files = write(name, batch, folder)
    shape = tuple(NETS[name](batch).layer[0].input_param.shape[0].dim)
    in_order = _in_order if name == "mobilenet_ssd" else np.asarray
    expected = in_order(peers.layer_by_layer(files)(picture_batch(shape)))
    task = Task(
        files, precision, options.threads, not options.quick, shape, expected.shape, in_order
    )
    turns, errors, chosen = {}, {}, {}
    with ExitStack() as children:
        for peer in peers.installed(precision):
            if peer not in options.peers:
                continue
            child = Child(peer, prepare, peer, task)
            children.callback(child.end)
            # The next one is started when this one has nothing more to do.
            answer = child.answer()
            if answer is None:
                continue
            output, chosen[peer] = answer
            errors[peer] = float(abs(output - expected).max() / abs(expected).max())
            # One detection more or less moves the others' places. A NaN counts as wrong, too.
            allowed = TOLERANCE[precision] * (10 if name == "mobilenet_ssd" else 1)
            if not errors[peer] <= allowed:
                print(f"  {peer} is left out: its output differs by {errors[peer]:.2g}")
                child.end()
                continue
            turns[peer] = child.turn
        times = take_turns(turns, options.rounds, options.seconds)
    return {
        "net": name,
        "batch": batch,
        "precision": precision,
        "ms": {peer: taken.median for peer, taken in times.items()},
        "runs": {peer: taken.calls for peer, taken in times.items()},
        "spread": {peer: taken.spread for peer, taken in times.items()},
        "errors": errors,
        "chosen": {peer: chosen[peer] for peer in times if chosen[peer] is not None},
    }


def prepare(peer: str, task: Task) -> tuple[Turn, tuple[np.ndarray, list[str] | None]]:
    """Make an engine ready; return its turns, its output, and what it has chosen if it is ours."""
    data = picture_batch(task.shape)
    run = peers.make(peer, task.files, task.threads, task.precision)
    if task.is_warm:
        _warm(run, data)
    output = task.in_order(run(data)).reshape(task.output)
    chosen = run.chosen if isinstance(run, peers.Recaffe) else None
    return partial(timed, partial(run, data)), (output, chosen)


def _warm(run: peers.Run, data: np.ndarray) -> None:
    """Call an engine until it has prepared all that it will."""
    for number in range(MOST_WARMING):
        is_settled = not isinstance(run, peers.Recaffe) or run.is_settled
        if number >= WARMING and is_settled:
            return
        run(data)


def limit(net: Any, facts: dict[str, Any]) -> float:
    """The least milliseconds in float32 for who computes each layer directly, one by one.

    A layer takes its multiply-adds at the rate of a large product, or its parameters, and the net's
    input, at that of memory: whichever takes longer. Everything else lies in caches and is free.
    Winograd's algorithm needs fewer multiplications, and may come out below it.
    """
    rows = summarize(caffe.Net(net, caffe.TEST)).rows
    seconds = 0.0
    for row in rows:
        moved = sum(math.prod(shape) for shape in row.parameter_shapes or ())
        if row.type == "Input":
            moved += sum(math.prod(shape) for shape in row.shapes if shape is not None)
        products = 2 * (row.multiply_adds or 0)
        seconds += max(products / facts["gflops"], 4 * moved / facts["gbytes"]) / 1e9
    return 1000 * seconds


def _in_order(detections: np.ndarray) -> np.ndarray:
    """The detections' scores, falling: those of nearly equal score may come in any order."""
    found = detections.reshape(-1, detections.shape[-1])
    # Caffe's rows begin with the picture, MNN's do not, and end in rows of nothing.
    scores = -np.sort(-found[:, found.shape[1] - 5])
    return scores[scores > 0]


def ratio(figure: dict[str, Any], rivals: tuple[str, ...], engine: str = peers.OURS) -> float:
    """Ours by the best of the rivals; NaN if there is none."""
    times = [value for peer, value in figure["ms"].items() if peer in rivals]
    ours = figure["ms"].get(engine, math.nan)
    return ours / min(times) if times else math.nan


def _show(figures: list[dict[str, Any]], facts: dict[str, Any], path: Path | None) -> None:
    others = tuple(p for p in peers.NAMES if p not in (peers.OURS, peers.DEFAULT_INSTALL))
    rows = []
    for figure in figures:
        figure["ratios"] = {
            "ours / best of ORT, OV": ratio(figure, peers.BEST_OF),
            "ours / best": ratio(figure, others),
            "default / best of ORT, OV": ratio(figure, peers.BEST_OF, peers.DEFAULT_INSTALL),
        }
        cells = [f"{figure['ms'][p]:.1f}" if p in figure["ms"] else "" for p in peers.NAMES]
        precision = "" if figure["precision"] == "float32" else f", {figure['precision']}"
        rows.append(
            [
                f"{figure['net']}, batch {figure['batch']}{precision}",
                *cells,
                f"{figure['limit_ms']:.1f}",
                *(f"{value:.2f}" for value in figure["ratios"].values()),
                spread_text(figure["spread"]),
            ]
        )
    ratios = np.array([list(figure["ratios"].values()) for figure in figures])
    # A row without rivals says nothing.
    means = [math.exp(np.log(column[column > 0]).mean()) for column in ratios.T if any(column > 0)]
    blank = [""] * (len(peers.NAMES) + 1)
    rows.append(["geometric mean", *blank, *(f"{mean:.2f}" for mean in means), ""])
    columns = ["milliseconds", *peers.NAMES, "limit", *figures[0]["ratios"], "spread"]
    show("Forward, medians", columns, rows, facts, figures, path)


if __name__ == "__main__":
    main()
