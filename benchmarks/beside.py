"""How much slower Recaffe is beside one busy process, by how its threads wait for work.

A busy process takes one CPU of those that there are. Whoever computes by as many threads as CPUs
then has all but one: so much longer may it take, and the last column holds what comes on top. Idle
and busy turns follow each other, each in a process of its own, since OpenMP reads when it is loaded
how its threads are to wait.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

AIM = 1.3
WAITING = {
    "as is better (ours)": {},
    "briefly, then asleep": {"GOMP_SPINCOUNT": "1000"},
    "turning (OpenMP's own)": {"GOMP_SPINCOUNT": "300000"},
}
ENGINES = ("torch", "auto")
BUSY = "import os, sys\nwhile os.getppid() == int(sys.argv[1]): pass"
"""Ends with whoever has started it, however that ends."""


def main() -> None:
    """Run the turns, or be one of them."""
    if sys.argv[1:2] == ["--turn"]:
        print(json.dumps(measure(float(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])))
        return
    from report import arguments, machine, show

    parser = arguments(__doc__)
    parser.add_argument("--nets", nargs="+", default=["googlenet", "mobilenet"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each net and engine")
    parser.add_argument(
        "--spins", type=int, action="append", default=[], help="try GOMP_SPINCOUNT at this, too"
    )
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds, options.nets = 1, 0.2, ["mobilenet"]
    facts = machine(options.threads)
    ways = {**WAITING, **{f"{n} turns": {"GOMP_SPINCOUNT": str(n)} for n in options.spins}}
    figures = compare(ways, options)
    free = (facts["cpus"] - 1) / facts["cpus"]
    rows = []
    for what, by_way in figures.items():
        for way, (idle, busy) in by_way.items():
            ratio = busy / idle
            fair = ratio * free if options.threads == facts["cpus"] else ratio
            verdict = "" if fair <= AIM else f"more than {AIM}"
            rows.append(
                [what, way, f"{idle:.1f}", f"{busy:.1f}", f"{ratio:.2f}", f"{fair:.2f}", verdict]
            )
    columns = ["", "threads wait", "idle ms", "beside ms", "ratio", "per free CPU", ""]
    show("Beside one busy process", columns, rows, facts, figures, options.json)


def compare(
    ways: dict[str, dict[str, str]], options: argparse.Namespace
) -> dict[str, dict[str, tuple[float, float]]]:
    """Return what is measured, by way of waiting: the medians idle and beside a busy process."""
    samples: dict[tuple[str, str, bool], list[float]] = {}
    for _ in range(options.rounds):
        for way, environment in ways.items():
            for busy in (False, True):
                with busy_process(busy):
                    found = turn(environment, options)
                for what, milliseconds in found.items():
                    samples.setdefault((what, way, busy), []).append(milliseconds)
    kinds = dict.fromkeys(what for what, _, _ in samples)
    return {
        what: {
            way: (
                statistics.median(samples[what, way, False]),
                statistics.median(samples[what, way, True]),
            )
            for way in ways
        }
        for what in kinds
    }


@contextmanager
def busy_process(is_there: bool) -> Iterator[None]:
    """Let a process of the same priority compute without end, if it is wanted."""
    if not is_there:
        yield
        return
    with subprocess.Popen([sys.executable, "-c", BUSY, str(os.getpid())]) as process:
        try:
            yield
        finally:
            process.kill()


def turn(environment: dict[str, str], options: argparse.Namespace) -> dict[str, float]:
    """Measure in a new process, whose OpenMP is told how to wait."""
    known = ("GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_WAIT_POLICY")
    rest = {name: value for name, value in os.environ.items() if name not in known}
    command = [sys.executable, __file__, "--turn", str(options.seconds)]
    command += [str(options.threads), *options.nets]
    done = subprocess.run(
        command, env={**rest, **environment}, stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def measure(seconds: float, threads: int, names: Sequence[str]) -> dict[str, float]:
    """Return medians in milliseconds of nets' forwards, and of layers one by one."""
    import caffe

    start = time.perf_counter()
    # The first of all, as a person meets it, with what it still has to load.
    classifier = caffe.zoo.load()
    import torch

    torch.set_num_threads(threads)
    loaded = time.perf_counter()
    classifier.forward()
    found = {
        "loading the default model": 1000 * (loaded - start),
        "its first forward": 1000 * (time.perf_counter() - loaded),
    }
    import nets

    from caffe.cli.time import measure as layer_times

    for name in names:
        text = nets.NETS[name](1)
        for engine in ENGINES:
            caffe.set_engine(engine)
            net = caffe.Net(text, caffe.TEST)
            found[f"{name}, {engine}"] = forward(net, seconds)
        caffe.set_engine("torch")
        found[f"{name}, sum of its layers"] = layer_times(net, 2, seconds, False).forward
    return found


def forward(net: object, seconds: float) -> float:
    """Return the median of a net's forwards, once the engine is chosen."""
    for _ in range(10):
        net.forward()
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        net.forward()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


if __name__ == "__main__":
    main()
