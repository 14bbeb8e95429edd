"""Runs over any number of pictures: what one costs here, and a simulation of a thousand million.

``throughput``
    Pictures a second of a run from a folder into Parquet files, against the same classifier on the
    same pictures in memory, in turn.
``memory``
    What listing a million keys takes at most, and what processes take on few and on many pictures.
``simulate``
    A thousand million pictures by many workers: listing, parts, requests, losses, cost. It takes
    seconds and asks nobody.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

# Amazon's S3, by its documentation: requests a second for each prefix.
MOST_PUTS, MOST_GETS = 3500, 5500
LISTED_AT_ONCE = 1000


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    through = commands.add_parser("throughput")
    through.add_argument("--pictures", type=int, default=512)
    through.add_argument("--rounds", type=int, default=5)
    through.add_argument("--batch", type=int, default=16)
    memory = commands.add_parser("memory")
    memory.add_argument("--keys", type=int, default=1_000_000)
    memory.add_argument("--pictures", type=int, default=40_000)
    memory.add_argument("--child", type=int, help=argparse.SUPPRESS)
    simulated = commands.add_parser("simulate")
    simulated.add_argument("--pictures", type=int, default=1_000_000_000)
    simulated.add_argument("--shard", type=int, default=4096)
    simulated.add_argument("--workers", type=int, default=1000)
    simulated.add_argument("--rate", type=float, required=True, help="pictures/s of one worker")
    simulated.add_argument("--listing", type=float, default=0.06, help="seconds for 1000 keys")
    simulated.add_argument("--size", type=float, default=100e3, help="bytes of a picture")
    simulated.add_argument("--row", type=float, default=60, help="bytes of a row in its file")
    simulated.add_argument("--lost", type=float, default=0.05, help="workers that die an hour")
    simulated.add_argument("--price", type=float, required=True, help="of a worker's hour")
    simulated.add_argument("--get", type=float, default=0.4e-6, help="price of a GET")
    simulated.add_argument("--put", type=float, default=5e-6, help="price of a PUT or a LIST")
    options = parser.parse_args()
    {"throughput": throughput, "memory": show_memory, "simulate": simulate}[options.command](
        options
    )


def throughput(options: argparse.Namespace) -> None:
    """Measure a run against `Classifier.run` on what is in memory."""
    from pictures import write_pictures

    from caffe import zoo
    from caffe.bulk.classifying import Classifying
    from caffe.bulk.job import Job
    from caffe.bulk.model_files import ModelFiles
    from caffe.bulk.run import State, run
    from caffe.mode import set_engine
    from caffe.predictions import Predictions

    set_engine("torch")
    model = zoo.load()
    files = zoo.fetch(model.record.name, quiet=True)
    whole = ModelFiles(str(files.net), str(files.weights))
    task = Classifying(whole, model.recipe, labels=tuple(model.labels), batch=options.batch)
    # One net for all turns, as the other has: what a new one prepares at first is not compared.
    opened = task.open()
    walls: dict[str, list[float]] = {"in memory": [], "run": []}
    works: dict[str, list[float]] = {"in memory": [], "run": []}
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder, "photos")
        photos.mkdir()
        names = write_pictures(photos, options.pictures)
        contents = [Path(name).read_bytes() for name in names]
        for turn in range(options.rounds + 1):
            begun, work = time.perf_counter(), _work()
            for rows in model.run(contents, batch=options.batch):
                for row in rows:
                    Predictions.of_scores(row.ravel(), model.labels, 5)
            taken = time.perf_counter() - begun, _work() - work
            state = State()

            def watch(now: State, state: State = state) -> None:
                state.seconds = now.seconds

            job = Job(task, (str(photos),), str(Path(folder, f"out-{turn}")), 128)
            work = _work()
            run(Job(_Opened(task, opened), job.sources, job.output, job.size), watch)
            if turn:
                walls["in memory"].append(taken[0])
                works["in memory"].append(taken[1])
                walls["run"].append(state.seconds)
                works["run"].append(_work() - work)
    rates = {name: options.pictures / median(values) for name, values in walls.items()}
    cpu = {name: median(values) / options.pictures * 1000 for name, values in works.items()}
    print(json.dumps({"pictures/s": rates, "CPU ms per picture": cpu}))
    print(f"run / in memory: {rates['run'] / rates['in memory']:.3f} of the pictures a second")


class _Opened:
    """A task whose net is loaded already."""

    def __init__(self, task: Any, opened: Any) -> None:
        self._task, self._opened = task, opened

    def facts(self) -> Any:
        return self._task.facts()

    def packed(self) -> Any:
        return self._task.packed()

    def open(self) -> Any:
        return self._opened


def _work() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def show_memory(options: argparse.Namespace) -> None:
    """Measure in processes of their own."""
    if options.child is not None:
        print(json.dumps(_list(options.child)))
        return
    for count in (1000, options.keys):
        command = [sys.executable, __file__, "memory", "--child", str(count)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        print("list", count, done.stdout.strip(), flush=True)
    for count, workers in ((200, 1), (options.pictures, 1), (options.pictures, 2)):
        print("work", count, "processes", workers, flush=True)
        for process in _work_on(count, workers):
            print("   ", json.dumps(process), flush=True)


def _list(count: int) -> dict[str, float]:
    """List so many keys that a table has, into a manifest."""
    import pyarrow
    import pyarrow.parquet

    from caffe.bulk.manifest import list_pictures
    from caffe.bulk.stores import open_store

    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder, "keys.parquet")
        schema = pyarrow.schema([("key", pyarrow.string())])
        with pyarrow.parquet.ParquetWriter(table, schema) as writer:
            for start in range(0, count, 10_000):
                some = range(start, min(start + 10_000, count))
                keys = [
                    f"s3://bucket/photos/{number // 1000:06}/{number:012}.jpg" for number in some
                ]
                writer.write_table(pyarrow.table({"key": keys}, schema=schema))
        before, begun = _memory()["peak_mb"], _work()
        out = open_store(str(Path(folder, "out")))
        list_pictures(out, [str(table)], 4096, lambda number, pictures: None, print)
    seconds = _work() - begun
    return {"before_mb": before, "peak_mb": _memory()["peak_mb"], "cpu_seconds": seconds}


def _work_on(count: int, workers: int) -> list[dict[str, float]]:
    """Let the command work on so many tiny pictures in tables; return what its processes took."""
    import pyarrow
    import pyarrow.parquet

    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tests.helpers.bulk import encoded, model_files

    with tempfile.TemporaryDirectory() as folder:
        pictures = [encoded(number) for number in range(3)]
        for start in range(0, count, 10_000):
            held = [pictures[n % 3] for n in range(start, min(start + 10_000, count))]
            table = pyarrow.table({"image": held})
            pyarrow.parquet.write_table(
                table, Path(folder, f"{start:09}.parquet"), row_group_size=2048
            )
        net = model_files(Path(folder, "net"))
        command = [sys.executable, "-W", "ignore", "-m", "recaffe", "classify"]
        command += [f"{folder}/*.parquet", "--net", net.net, "--weights", net.weights]
        command += ["--output", f"{folder}/out/", "--workers", str(workers)]
        command += ["--batch", "64", "--engine", "torch", "--verify"]
        return _watched(command)


def _watched(command: list[str]) -> list[dict[str, float]]:
    """Run a command; return what it and each process that it started took at most, in MB."""
    taken: dict[int, dict[str, float]] = {}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            found = [process.pid, *_children(process.pid)]
            for number in found:
                for name, value in _memory(number).items():
                    before = taken.setdefault(number, {})
                    before[name] = max(before.get(name, 0), value)
            time.sleep(0.2)
    if process.returncode:
        raise SystemExit(process.returncode)
    return list(taken.values())


def _children(process: int) -> list[int]:
    """The processes that a process started, and those that they did."""
    found = []
    for tasks in Path(f"/proc/{process}/task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, tasks.read_text().split()):
                found += [child, *_children(child)]
    return found


def _memory(process: int | str = "self") -> dict[str, float]:
    """What a process takes now, and has taken at most.

    The proportional size counts a page that n processes share as an n-th.
    """
    names = {"VmHWM": "peak_mb", "VmRSS": "resident_mb", "Pss": "proportional_mb"}
    told = {}
    # It may have ended by now.
    with suppress(OSError):
        for file in ("status", "smaps_rollup"):
            for line in Path(f"/proc/{process}/{file}").read_text().splitlines():
                name, _, value = line.partition(":")
                if name in names:
                    # What is called kB there has 1024 bytes.
                    told[names[name]] = round(int(value.split()[0]) * 1024 / 1e6, 1)
    return told


@dataclass
class Simulated:
    """What came of a simulated run."""

    seconds: float = 0.0
    parts: int = 0
    busy: float = 0.0
    """Seconds that all workers worked."""
    lost: int = 0
    """Pictures whose work was lost with a worker."""
    first: float = 0.0
    """Seconds until the first worker had something to do."""


def simulate(options: argparse.Namespace) -> None:
    """Simulate a run, event by event, and tell what it needs."""
    done = _simulated(options)
    hours = done.seconds / 3600
    rate = options.pictures / done.seconds
    shards = done.parts
    read = options.pictures + shards
    lists = options.pictures / LISTED_AT_ONCE
    # A manifest's shard and a part are created, a part is looked for before its shard is read.
    puts, gets = 2 * shards + lists, read + shards
    work, requests = done.busy / 3600 * options.price, puts * options.put + gets * options.get
    million = options.pictures / 1e6
    told = {
        "hours": round(hours, 2),
        "pictures/s": round(rate),
        "seconds to the first picture": round(done.first, 1),
        "hours that listing alone takes": round(lists * options.listing / 3600, 2),
        "parts": shards,
        "MB of a part": round(options.shard * options.row / 1e6, 2),
        "GB/s that are read": round(rate * options.size / 1e9, 2),
        "GET/s": round(rate + 2 * shards / done.seconds),
        "prefixes that these need": -(-round(rate) // MOST_GETS),
        "PUT/s": round(2 * shards / done.seconds, 2),
        "share of one prefix's PUT/s": round(2 * shards / done.seconds / MOST_PUTS, 5),
        "pictures done twice": done.lost,
        "cost of workers per million": round(work / million, 4),
        "cost of requests per million": round(requests / million, 4),
        "cost of all": round(work + requests),
    }
    for name, value in told.items():
        print(f"{name:34} {value}")


def _simulated(options: argparse.Namespace) -> Simulated:
    """Let workers take shards as they are listed; some die, and others take their place."""
    chance, done = random.Random(1), Simulated()
    listed = _listed(options)
    free = [0.0] * options.workers
    again: list[tuple[float, int]] = []
    fresh = next(listed, None)
    while fresh is not None or again:
        now = heapq.heappop(free)
        if again and (fresh is None or again[0][0] <= now or fresh[0] > now):
            known, size = heapq.heappop(again)
        else:
            assert fresh is not None
            known, size = fresh
            fresh = next(listed, None)
        begin = max(now, known)
        if not done.parts and not done.busy:
            done.first = begin
        # No two workers are equally quick.
        seconds = size / options.rate * chance.uniform(0.8, 1.25)
        until_death = chance.expovariate(options.lost / 3600) if options.lost else seconds + 1
        if until_death < seconds:
            done.busy += until_death
            done.lost += round(size * until_death / seconds)
            heapq.heappush(again, (begin + until_death, size))
            # Another machine is there after two minutes.
            heapq.heappush(free, begin + until_death + 120)
            continue
        done.busy += seconds
        done.parts += 1
        done.seconds = max(done.seconds, begin + seconds)
        heapq.heappush(free, begin + seconds)
    return done


def _listed(options: argparse.Namespace) -> Iterator[tuple[float, int]]:
    """When each shard is known, and how many pictures it has."""
    pages = options.shard / LISTED_AT_ONCE
    for number, start in enumerate(range(0, options.pictures, options.shard), start=1):
        # One shard is listed ahead, since a shard says whether it is the last.
        when = (number + 1) * pages * options.listing
        yield when, min(options.shard, options.pictures - start)


if __name__ == "__main__":
    main()
