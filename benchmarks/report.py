"""What the benchmarks share: measuring in turn, what the machine is and can do, tables and JSON."""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

import caffe
from caffe.compiled import llvm, processor
from caffe.layers.inner_product import product

# What an earlier run has found out would spare this one the trial that is to be seen, too.
os.environ["RECAFFE_REMEMBER"] = "0"
# ONNX Runtime is to measure, and not to report to its makers.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

PAUSE = 0.05
"""Seconds between two engines, in which the threads of the first fall asleep."""

STEADY = 0.03
"""Of the median: how wide the interval may be in which it lies, for a figure to count as steady."""

DOUBT = 0.15
"""The probability, at most, that the median lies outside that interval."""

MOST_TURNS = 3
"""How many times the turns that were asked for are taken where figures are not steady."""


@dataclass
class Times:
    """How long the calls of one function took.

    Attributes
    ----------
    turns : list of list of float
        The seconds of each call, by turn.
    """

    turns: list[list[float]] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The median in milliseconds."""
        return 1000 * statistics.median(taken for turn in self.turns for taken in turn)

    @property
    def calls(self) -> int:
        """How many there were."""
        return sum(map(len, self.turns))

    @property
    def spread(self) -> float:
        """How wide the interval is in which the turns' median lies, by the median.

        Between the k-th least and the k-th largest of n turns' medians, with the largest k for
        which it holds the true one with a probability of 1 - DOUBT at least. NaN for few turns.
        """
        medians = sorted(statistics.median(turn) for turn in self.turns)
        n, k, outside = len(medians), 0, 0.0
        while k < n:
            outside += 2 * math.comb(n, k) / 2**n
            if outside > DOUBT:
                break
            k += 1
        if not k:
            return math.nan
        return (medians[n - k] - medians[k - 1]) / statistics.median(medians)


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    parser.add_argument("--quick", action="store_true", help="few runs: does it work at all?")
    parser.add_argument("--threads", type=int, default=2, help="for every engine (default: 2)")
    return parser


def in_turn(runs: Mapping[str, Callable[[], Any]], rounds: int, seconds: float) -> dict[str, Times]:
    """Time functions of this process in turn; each is called once before, which does not count."""
    for run in runs.values():
        run()
    return take_turns({name: partial(timed, run) for name, run in runs.items()}, rounds, seconds)


def take_turns(
    turns: Mapping[str, Callable[[float], list[float]]], rounds: int, seconds: float
) -> dict[str, Times]:
    """Let engines take turns, one after the other and again, so that a slow moment hits them all.

    Parameters
    ----------
    turns : mapping of str to callable
        Takes a turn of so many seconds, and returns those of each call. Who returns nothing is
        lost, and left out.
    rounds : int
        How often each has its turn; up to three times as often, until the medians are steady.
    seconds : float
        How long a turn lasts at least.
    """
    times = {name: Times() for name in turns}
    for number in range(1, MOST_TURNS * rounds + 1):
        for name in list(times):
            time.sleep(PAUSE)
            if taken := turns[name](seconds):
                times[name].turns.append(taken)
            else:
                del times[name]
        if number >= rounds and all(not found.spread > STEADY for found in times.values()):
            break
    return times


def timed(run: Callable[[], Any], seconds: float) -> list[float]:
    """The seconds that each call of a function took; the first does not count."""
    run()
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while True:
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
        if start + taken[-1] > end:
            return taken


def spread_text(times: Mapping[str, float]) -> str:
    """The widest spread of some figures, in per cent, for a table's cell."""
    known = [spread for spread in times.values() if not math.isnan(spread)]
    if not known:
        return "?"
    return f"{100 * max(known):.0f} %" + ("" if max(known) <= STEADY else " (unsteady)")


def machine(threads: int) -> dict[str, Any]:
    """Where the figures were made."""
    model = platform.processor() or platform.machine()
    return {
        "processor": processor.described().get("model name", model),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "caches": caches(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0,
        "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "threads": threads,
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "recaffe": caffe.__version__,
        "commit": commit(),
        "gflops": best_product(threads) / 1e9,
        "gbytes": best_memory(threads) / 1e9,
        "meeting_ns": meeting(threads),
    }


def caches() -> str:
    """The first CPU's caches, as Linux tells them: "L1d 32K, L2 512K, L3 32768K"."""
    found = []
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = (
            (folder / name).read_text().strip() for name in ("level", "type", "size")
        )
        if kind != "Instruction":
            found.append(f"L{level}{'d' if kind == 'Data' else ''} {size}")
    return ", ".join(found)


def commit() -> str:
    """The commit that is measured, with a plus where files differ from it; empty without git."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--exclude=*"]
    try:
        done = subprocess.run([*command, "--dirty=+"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip()


def best_product(
    threads: int, device: str = "cpu", kind: torch.dtype = torch.float32, size: int = 1536
) -> float:
    """The most floating-point operations a second that a product of two matrices reaches."""
    torch.set_num_threads(threads)
    a, b = (torch.randn(size, size, device=device).to(kind) for _ in range(2))
    out = torch.empty_like(a)
    seconds = _least(lambda: torch.mm(a, b, out=out), device)
    if device == "cpu" and kind == torch.float32:
        # Where there are two libraries: the quicker one. oneDNN has no gradients.
        with torch.no_grad():
            seconds = min(seconds, _least(lambda: product(a, b), device))
    return 2 * size**3 / seconds


def best_memory(threads: int, device: str = "cpu", count: int = 2**25) -> float:
    """The most bytes a second that a large array is read with, or copied (read and written)."""
    torch.set_num_threads(threads)
    array = torch.zeros(count, device=device)
    into = torch.zeros_like(array)
    copied = 2 * 4 * count / _least(lambda: into.copy_(array), device)
    matrix, vector = array.view(-1, 2**12), array[: 2**12]
    return max(copied, 4 * count / _least(lambda: torch.mv(matrix, vector), device))


def meeting(threads: int, times: int = 2000) -> float:
    """How many ns all threads take to meet, as between two kernels; NaN where none are compiled.

    A virtual machine's CPUs may share a cache now, and none in a minute: then it is four times as
    long, and so is reading what another thread has written.
    """
    torch.set_num_threads(threads)
    if not llvm.width():
        return math.nan
    nothing = llvm.Kernel("define void @kernel(ptr %given) {\n  ret void\n}").job()
    return _least(llvm.Program([nothing] * times).run, "cpu") / times * 1e9


def _least(run: Callable[[], object], device: str) -> float:
    """The least seconds that some calls took."""
    found = math.inf
    for _ in range(12):
        start = time.perf_counter()
        run()
        if device != "cpu":
            torch.cuda.synchronize()
        found = min(found, time.perf_counter() - start)
    return found


def show(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    facts: Mapping[str, Any],
    figures: Any,
    path: Path | None,
) -> None:
    """Print a table and the machine below it; write the figures where `path` says."""
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    for row in rows:
        table.add_row(*map(str, row))
    console = Console()
    # In a pipe or a file a table must not be cut to 80 columns.
    console = console if console.is_terminal else Console(width=200)
    console.print(table)
    meetings = facts["meeting_ns"], meeting(facts["threads"])
    console.print(
        f"{facts['processor']} ({facts['capability']}; {facts['caches'] or 'caches unknown'}), "
        f"{facts['cpus']} CPUs, {facts['threads']} threads, {facts['gflops']:.0f} GFLOP/s in a "
        f"product, {facts['gbytes']:.1f} GB/s of memory, threads meet in "
        f"{meetings[0]:.0f} ns before and {meetings[1]:.0f} behind, torch {facts['torch']}, "
        f"recaffe {facts['recaffe']} {facts['commit']}",
        highlight=False,
    )
    if path is not None:
        path.write_text(json.dumps({"machine": dict(facts), "figures": figures}, indent=1) + "\n")
