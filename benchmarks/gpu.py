"""What only a GPU can show, within a time: tests, goldens, forward and training beside others.

`gpu.sh` beside it runs it. With `--cpu` a second store in CPU memory stands in the GPU's place,
with `--quick` little is measured: so the script itself can be tried where there is no GPU.
"""

from __future__ import annotations

import argparse
import functools
import gc
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gpu_engines
import gpu_kernels
import torch
import training
from forward import limit
from gpu_engines import OURS, Cell, expected_of
from nets import NETS
from report import arguments, best_memory, best_product, in_turn, machine, show, spread_text

import caffe
from caffe.tf32 import rounding

BATCHES = (50, 1, 256)
MEASURED = ("resnet50", "caffenet", "googlenet", "vgg16")
TOLERANCE = {"float32": 1e-3, "tf32": 2e-2, "float16": 0.1}
"""Of the largest value. Deep nets of random weights enlarge what is rounded off."""

SECONDS = 440.0
"""When no more is begun, unless it is said. Figures are written after every part."""

SHARES = {"tests": 0.3, "forward": 0.64, "training": 0.75}
"""When a part must have ended, of all the time, so that the next one has its own."""

PARTS = ("tests", "kernels", "forward", "training")

ROOMS = ("goldens", "layers", "net", "memory", "solver", "detect", "attribution")
"""The rooms whose tests run with their nets on the GPU."""

SLOW = 45.0
"""How long an engine may take that searches for the quickest kernels: it is not begun later."""


@dataclass
class Run:
    """What is measured, until when, and what has been found.

    Attributes
    ----------
    options : argparse.Namespace
        Of the command line.
    began : float
        When, by `time.monotonic`.
    found : dict of str to object
        What the file of figures holds.
    """

    options: argparse.Namespace
    began: float = field(default_factory=time.monotonic)
    found: dict[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> float:
        """How many seconds have passed."""
        return time.monotonic() - self.began

    def share(self, part: str) -> float:
        """When a part must have ended."""
        return SHARES[part] * float(self.options.seconds)

    def note(self, part: str, figures: Any) -> None:
        """Write a part's figures into the file, beside those that it holds."""
        self.found[part] = figures
        self.found["seconds"] = self.passed
        if self.options.json is not None:
            self.options.json.write_text(json.dumps(self.found, indent=1) + "\n")


def main() -> None:
    """Run all parts, one after the other."""
    parser = arguments(__doc__)
    parser.add_argument("--cpu", action="store_true", help="a second store in the GPU's place")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="not all of it")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for all, about")
    options = parser.parse_args()
    if not options.cpu and not torch.cuda.is_available():
        sys.exit("there is no GPU that PyTorch can use; --cpu tries this script without one")
    # One thread waits for nobody, however busy the machine is.
    options.threads = (os.cpu_count() or 2) if not options.quick else 1
    torch.set_num_threads(options.threads)
    run = Run(options)
    facts = machine(options.threads) | _card(options)
    run.note("machine", facts)
    device = "cpu" if options.cpu else "cuda"
    made = {
        "tests": lambda: tests(run),
        "kernels": lambda: gpu_kernels.figures(device, options.quick),
        "forward": lambda: forward(run, facts),
        "training": lambda: train(run),
    }
    for part, figures in made.items():
        run.note(part, [])
        for figure in figures() if part in options.parts else ():
            run.note(part, [*run.found[part], figure])
    for cell in _cells(run):
        if run.passed > options.seconds - SLOW or options.quick:
            break
        run.note("forward", [*run.found["forward"], *_measured(cell, gpu_engines.SLOW, facts)])
    _show_kernels(run, facts)
    _show(run, facts)
    if any(part["failed"] for part in run.found["tests"]):
        sys.exit(1)


def _card(options: argparse.Namespace) -> dict[str, Any]:
    """The card and what it can do at most, by the kinds of numbers."""
    device = "cpu" if options.cpu else "cuda"
    size = 512 if options.cpu else 8192
    rates = {}
    for precision in _precisions(options):
        kind = torch.float16 if precision == "float16" else torch.float32
        with rounding.allowed(precision == "tf32"):
            rates[precision] = best_product(options.threads, device, kind, size) / 1e9
    facts: dict[str, Any] = {
        "card": "a second store on the CPU",
        "card_gflops": rates,
        "card_gbytes": best_memory(options.threads, device, 2**22 if options.cpu else 2**28) / 1e9,
    }
    if not options.cpu:
        card = torch.cuda.get_device_properties(0)
        facts["card"] = (
            f"{card.name}, {card.total_memory / 2**30:.0f} GiB, sm_{card.major}{card.minor}"
        )
        facts["cuda"], facts["cudnn"] = torch.version.cuda, torch.backends.cudnn.version()
    return facts


def _precisions(options: argparse.Namespace) -> tuple[str, ...]:
    return ("float32", "tf32") if options.cpu else ("float16", "tf32", "float32")


# Tests.


def tests(run: Run) -> Iterator[dict[str, Any]]:
    """Run the tests for GPUs, and with all nets there what does not ask for the CPU."""
    if importlib.util.find_spec("pytest") is None:
        print("pytest is not installed: no tests are run", flush=True)
        return
    where = "second" if run.options.cpu else "0"
    own = ["tests/whole/test_gpu.py", "tests/gpu", "tests/test_devices.py"]
    everywhere = [f"tests/{room}" for room in ROOMS]
    if run.options.quick:
        own, everywhere = own[-1:], ["tests/goldens/test_layers.py", "-k", "lrn"]
    yield _pytest(run, "tests for GPUs", own, "", run.share("tests") / 3)
    left = run.share("tests") - run.passed
    yield _pytest(run, "everything on the GPU", everywhere, where, left)


def _pytest(run: Run, name: str, what: list[str], where: str, seconds: float) -> dict[str, Any]:
    """Run some tests; what came of them, by their numbers. What they say is kept beside it."""
    has_xdist = importlib.util.find_spec("xdist") is not None
    count = max(1, (os.cpu_count() or 1) - 3)
    several = ["-n", str(count)] if has_xdist and where == "0" else []
    out = run.options.json.parent if run.options.json is not None else None
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "tests.xml"
        # Its warnings about other plugins would be errors here.
        without = ["-p", "no:cacheprovider", "-p", "no:benchmark"]
        command = [sys.executable, "-m", "pytest", "-q", "--tb=short", *without, *several, *what]
        command.append(f"--junit-xml={report}")
        said = (out or Path(folder)) / f"{name.replace(' ', '-')}.txt"
        try:
            with said.open("w") as file:
                subprocess.run(
                    command,
                    env={**os.environ, "RECAFFE_TEST_STORE": where},
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    timeout=seconds,
                    check=False,
                )
        except subprocess.TimeoutExpired:
            return {
                "what": name,
                "tests": 0,
                "skipped": 0,
                "failed": [f"no end in {seconds:.0f} s"],
            }
        if not report.exists():
            return {"what": name, "tests": 0, "skipped": 0, "failed": ["pytest did not run"]}
        cases = list(ElementTree.parse(report).iter("testcase"))
    bad = [
        case for case in cases if case.find("failure") is not None or case.find("error") is not None
    ]
    skipped = sum(case.find("skipped") is not None for case in cases)
    failed = [f"{case.get('classname')}::{case.get('name')}" for case in bad]
    print(f"{name}: {len(cases)}, {skipped} skipped, {len(failed)} failed", flush=True)
    return {"what": name, "tests": len(cases), "skipped": skipped, "failed": failed}


# Forward.


def forward(run: Run, facts: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Time every net by every engine that is made ready soon, as long as there is time."""
    for cell in _cells(run):
        if run.passed > run.share("forward"):
            print(f"no time for {cell.name}", flush=True)
            continue
        yield from _measured(cell, gpu_engines.QUICK, facts)


def _cells(run: Run) -> Iterable[Cell]:
    """What is measured, the most telling first."""
    options = run.options
    folder = Path(_folder().name)
    if options.quick:
        yield Cell("mobilenet", 1, "tf32", "cpu" if options.cpu else "cuda", folder)
        return
    for batch in BATCHES:
        for precision in _precisions(options):
            for net in MEASURED:
                yield Cell(net, batch, precision, "cpu" if options.cpu else "cuda", folder)


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Where the nets are written."""
    return tempfile.TemporaryDirectory()


def _measured(
    cell: Cell, engines: dict[str, Callable[[Cell], gpu_engines.Run]], facts: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Time one net in one precision at one batch by each engine, Recaffe among them."""
    print(cell.name, flush=True)
    gc.collect()
    runs: dict[str, gpu_engines.Run] = {}
    errors: dict[str, float] = {}
    refused: dict[str, str] = {}
    expected = expected_of(cell.net, min(gpu_engines.COMPARED, cell.batch), cell.folder)
    for engine, make in engines.items():
        if cell.device == "cpu" and engine == gpu_engines.RECORDED:
            continue
        if cell.device != "cpu" and cell.batch == 1 and engine == gpu_engines.SENT:
            continue
        try:
            run = make(cell)
            found = run()[: len(expected)]
            # Until a recording is made, or kernels are chosen.
            for _ in range(8):
                run()
        except Exception as error:
            refused[engine] = " ".join(str(error).split())[:200]
            print(f"  {engine} cannot run it: {refused[engine]}", flush=True)
            continue
        errors[engine] = float(abs(found - expected).max() / abs(expected).max())
        if not errors[engine] <= TOLERANCE[cell.precision]:
            refused[engine] = f"its output differs by {errors[engine]:.2g}"
            print(f"  {engine} is left out: {refused[engine]}", flush=True)
            continue
        runs[engine] = run
    times = in_turn(runs, *((1, 0.0) if cell.device == "cpu" else (3, 0.05)))
    rates = {
        "gflops": facts["card_gflops"][cell.precision],
        "gbytes": facts["card_gbytes"] * (2 if cell.precision == "float16" else 1),
    }
    yield {
        "net": cell.net,
        "batch": cell.batch,
        "precision": cell.precision,
        "ms": {engine: taken.median for engine, taken in times.items()},
        "spread": {engine: taken.spread for engine, taken in times.items()},
        "errors": errors,
        "refused": refused,
        "limit_ms": limit(NETS[cell.net](cell.batch), rates),
    }


# Training.


def train(run: Run) -> Iterator[dict[str, Any]]:
    """Time steps of training, Recaffe's and PyTorch's, in the same arithmetic."""
    device = "cpu" if run.options.cpu else "cuda"
    names = ("LeNet",) if run.options.quick else ("ResNet-50", "CaffeNet", "LeNet", "GoogLeNet")
    for precision in ("tf32", "float32"):
        for name in names:
            if run.passed > run.share("training"):
                print(f"no time to train {name}, {precision}", flush=True)
                continue
            print(f"training {name}, {precision}", flush=True)
            yield _trained(name, precision, device)


def _trained(name: str, precision: str, device: str) -> dict[str, Any]:
    gc.collect()
    gpu_engines.use(device)
    caffe.set_precision(precision)
    runs = {e: training.make(e, training.ROWS[name], device) for e in training.ENGINES}
    with rounding.allowed(precision == "tf32"):
        losses = {engine: float(step()) for engine, step in runs.items()}
        for step in runs.values():
            # Until a recording is made.
            for _ in range(6):
                step()
        times = in_turn(runs, *((1, 0.0) if device == "cpu" else (3, 0.2)))
    caffe.set_precision("float32")
    return {
        "net": name,
        "batch": training.ROWS[name].batch,
        "precision": f"{precision}, a step of training",
        "ms": {engine: taken.median for engine, taken in times.items()},
        "spread": {engine: taken.spread for engine, taken in times.items()},
        "losses": losses,
    }


def _show_kernels(run: Run, facts: dict[str, Any]) -> None:
    """Print what is done in one go beside what that replaces."""
    ways = (gpu_kernels.OURS, gpu_kernels.APART)
    rows = []
    for figure in run.found["kernels"]:
        taken = (f"{figure['ms'][way]:.3f}" if way in figure["ms"] else "" for way in ways)
        rows.append([figure["what"], *taken, figure["refused"]])
    columns = ["milliseconds", "in one go", "apart", "why not"]
    show("What has a kernel or a call of its own", columns, rows, facts, None, None)


def _show(run: Run, facts: dict[str, Any]) -> None:
    """Print one table of everything."""
    engines = list(dict.fromkeys([*gpu_engines.QUICK, *gpu_engines.SLOW, *training.ENGINES]))
    columns = ["milliseconds", *engines, "limit", "ours / best", "spread"]
    rows = []
    for figure in (*run.found["forward"], *run.found["training"]):
        taken = figure["ms"]
        rivals = [ms for engine, ms in taken.items() if engine not in (OURS, gpu_engines.SENT)]
        ratio = f"{taken[OURS] / min(rivals):.2f}" if rivals and OURS in taken else ""
        rows.append(
            [
                f"{figure['net']}, batch {figure['batch']}, {figure['precision']}",
                *(f"{taken[engine]:.2f}" if engine in taken else "" for engine in engines),
                f"{figure['limit_ms']:.2f}" if "limit_ms" in figure else "",
                ratio,
                spread_text(figure["spread"]),
            ]
        )
    title = f"{facts['card']}, inputs there, medians; {run.passed:.0f} s in all"
    show(title, columns, rows, facts, None, None)
    for part in run.found["tests"]:
        print(f"{part['what']}: {part['tests']}, {part['skipped']} skipped")
        for name in part["failed"]:
            print(f"  failed: {name}")


if __name__ == "__main__":
    main()
