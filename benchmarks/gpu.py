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
from gpu_engines import OURS, Cell
from nets import NETS
from report import arguments, best_memory, best_product, in_turn, machine, show, spread_text

BATCHES = (50, 1, 256)
MEASURED = ("resnet50", "caffenet", "googlenet", "vgg16")
TOLERANCE = {"float32": 1e-3, "tf32": 2e-2, "float16": 0.1}
"""Of the largest value. Deep nets of random weights enlarge what is rounded off."""

SECONDS = 440.0
"""When no more is begun. Figures are written after every part."""

SHARES = {"tests": 130.0, "forward": 280.0, "training": 330.0}
"""When a part must have ended, so that the next one has its time."""

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
    options = parser.parse_args()
    if not options.cpu and not torch.cuda.is_available():
        sys.exit("there is no GPU that PyTorch can use; --cpu tries this script without one")
    # One thread waits for nobody, however busy the machine is.
    options.threads = (os.cpu_count() or 2) if not options.quick else 1
    torch.set_num_threads(options.threads)
    run = Run(options)
    facts = machine(options.threads) | _card(options)
    run.note("machine", facts)
    run.note("tests", list(tests(run)))
    run.note("kernels", list(gpu_kernels.figures("cpu" if options.cpu else "cuda", options.quick)))
    run.note("forward", [])
    for figure in forward(run, facts):
        run.note("forward", [*run.found["forward"], figure])
    run.note("training", list(train(run)))
    for cell in _cells(run):
        if run.passed > SECONDS - SLOW or options.quick:
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
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
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
    """Run the tests for GPUs, and every golden with its nets there."""
    if importlib.util.find_spec("pytest") is None:
        print("pytest is not installed: no tests are run", flush=True)
        return
    where = "second" if run.options.cpu else "0"
    own = ["tests/whole/test_gpu.py", "tests/test_mode.py", "tests/test_devices.py"]
    goldens = ["tests/goldens/test_layers.py", "tests/goldens/test_nets.py"]
    goldens += ["tests/goldens/test_solvers.py", "tests/goldens/test_real.py"]
    if run.options.quick:
        own, goldens = own[-1:], ["tests/goldens/test_layers.py", "-k", "lrn"]
    yield _pytest("tests for GPUs", own, "", SHARES["tests"] / 3)
    yield _pytest("goldens on the GPU", goldens, where, SHARES["tests"] - run.passed)


def _pytest(name: str, what: list[str], where: str, seconds: float) -> dict[str, Any]:
    """Run some tests; what came of them, by their numbers."""
    has_xdist = importlib.util.find_spec("xdist") is not None
    several = ["-n", str(min(8, os.cpu_count() or 1))] if has_xdist and where == "0" else []
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "tests.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *several, *what]
        command.append(f"--junit-xml={report}")
        try:
            subprocess.run(
                command,
                env={**os.environ, "RECAFFE_TEST_STORE": where},
                stdout=subprocess.DEVNULL,
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
        if run.passed > SHARES["forward"]:
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
    for precision in _precisions(options):
        for batch in BATCHES:
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
    expected = cell.expected()
    for engine, make in engines.items():
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
    times = in_turn(runs, *((1, 0.0) if cell.device == "cpu" else (3, 0.1)))
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
    """Time steps of training, Recaffe's and PyTorch's."""
    device = "cpu" if run.options.cpu else "cuda"
    for name in ("LeNet",) if run.options.quick else ("CaffeNet", "ResNet-50", "GoogLeNet"):
        if run.passed > SHARES["training"]:
            print(f"no time to train {name}", flush=True)
            continue
        print(f"training {name}", flush=True)
        gpu_engines.use(device)
        runs = {e: training.make(e, training.ROWS[name], device) for e in training.ENGINES}
        losses = {engine: float(step()) for engine, step in runs.items()}
        times = in_turn(runs, *((1, 0.0) if run.options.cpu else (3, 0.3)))
        yield {
            "net": name,
            "batch": training.ROWS[name].batch,
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
        what = figure.get("precision", "a step of training")
        rows.append(
            [
                f"{figure['net']}, batch {figure['batch']}, {what}",
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
