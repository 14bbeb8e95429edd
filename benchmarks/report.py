"""What the benchmarks share: measuring in turn, the machine's description, tables and JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

import caffe

PAUSE = 0.05
"""Seconds between two engines, in which the threads of the first fall asleep."""


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    parser.add_argument("--quick", action="store_true", help="few runs: does it work at all?")
    parser.add_argument("--threads", type=int, default=2, help="for every engine (default: 2)")
    return parser


def in_turn(
    runs: Mapping[str, Callable[[], Any]], rounds: int, seconds: float
) -> dict[str, list[float]]:
    """Time functions, one after the other and again, so that a slow moment hits them all.

    Parameters
    ----------
    runs : mapping of str to callable
        What to time; called once before, which does not count.
    rounds : int
        How often each has its turn.
    seconds : float
        How long a turn lasts at least; its first call does not count.

    Returns
    -------
    dict of str to list of float
        The seconds of each call.
    """
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            time.sleep(PAUSE)
            run()
            end = time.perf_counter() + seconds
            while True:
                start = time.perf_counter()
                run()
                times[name].append(time.perf_counter() - start)
                if start + times[name][-1] > end:
                    break
    return times


def median(times: Sequence[float]) -> float:
    """The median in milliseconds."""
    return statistics.median(times) * 1000


def machine(threads: int) -> dict[str, Any]:
    """Where the figures were made."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        model = next((s.split(":")[1].strip() for s in lines if s.startswith("model name")), model)
    return {
        "processor": model,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0,
        "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "threads": threads,
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "recaffe": caffe.__version__,
    }


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
    console.print(
        f"{facts['processor']} ({facts['capability']}), {facts['cpus']} CPUs, "
        f"{facts['threads']} threads, torch {facts['torch']}, recaffe {facts['recaffe']}",
        highlight=False,
    )
    if path is not None:
        path.write_text(json.dumps({"machine": dict(facts), "figures": figures}, indent=1) + "\n")
