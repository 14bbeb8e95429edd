"""How many pictures a second `caffe classify FOLDER` does, and how soon the command answers.

It is held against reading and preparing alone, and against the net alone: whichever is slower is
the most that the command can do.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from report import arguments, machine, show

import caffe
from caffe import zoo
from caffe.cli.reading import prepare_for, read_all

WIDTH, HEIGHT = 500, 375

TRIALS = 200
"""After how many forwards it is known which engine is the quickest."""


def main() -> None:
    """Classify generated JPEGs, and run the net alone on as many."""
    parser = arguments(__doc__)
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--model", default=zoo.DEFAULT)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if options.quick:
        options.pictures, options.rounds = 4 * options.batch, 1
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    facts = machine(options.threads)
    classifier = zoo.load(options.model)
    classifier.make_room(options.batch)
    torch.set_num_threads(options.threads)
    # What is the quickest is remembered, for the command, too.
    for _ in range(4 if options.quick else TRIALS):
        classifier.forward()
    with tempfile.TemporaryDirectory() as folder:
        names = [str(name) for name in write_pictures(Path(folder), options.pictures)]
        size = sum(Path(name).stat().st_size for name in names) / len(names)
        command = ["classify", folder, "--json", "--model", options.model]
        command += ["--batch", str(options.batch)]
        samples: dict[str, list[float]] = {"classify": [], "forward": [], "read": []}
        for _ in range(options.rounds):
            samples["classify"].append(classify(command, options.batch))
            samples["forward"].append(forward(classifier, options.batch, len(names)))
            samples["read"].append(read(classifier, options.batch, names))
        prepare = prepare_for(classifier)
        start = time.thread_time()
        for name in names[:50]:
            prepare(name)
        preparing = (time.thread_time() - start) / len(names[:50])
        single = ["classify", names[0], "--model", options.model]
        answers = {
            "caffe classify one.jpg": [seconds(single) for _ in range(options.rounds)],
            "caffe --help": [seconds(["--help"]) for _ in range(options.rounds)],
        }
    rates = {name: statistics.median(values) for name, values in samples.items()}
    # Both need the same CPUs: together they take as long as one after the other.
    both = 1 / (1 / rates["forward"] + preparing / options.threads)
    slower = min(rates["forward"], rates["read"])
    ratio = rates["classify"] / slower
    rows = [
        ["classify, pictures/s", f"{rates['classify']:.1f}"],
        ["the net alone, pictures/s", f"{rates['forward']:.1f}"],
        ["reading and preparing alone, pictures/s", f"{rates['read']:.1f}"],
        ["classify by the slower of both", f"{ratio:.3f}"],
        ["the most that the CPUs can give, by the slower of both", f"{both / slower:.3f}"],
        ["reading and preparing, ms of CPU per picture", f"{preparing * 1000:.2f}"],
    ]
    first = {}
    for what, taken in answers.items():
        first[what] = {
            name: statistics.median(one[name] for one in taken) for name in ("wall", "cpu")
        }
        told = f"{first[what]['wall']:.2f} ({first[what]['cpu']:.2f} of CPU)"
        rows.append([f"{what}, seconds from start to end", told])
    title = (
        f"{len(names)} JPEGs of {WIDTH} x {HEIGHT} ({size / 1e3:.0f} kB each), "
        f"{options.model}, batch {options.batch}"
    )
    figures = {**rates, "ratio": ratio, "prepare_cpu_ms": preparing * 1000, "first": first}
    show(title, ["", ""], rows, facts, figures, options.json)


def classify(command: list[str], batch: int) -> float:
    """Run the command; return the pictures a second from its first batch's end to its end."""
    times = []
    with subprocess.Popen(
        [sys.executable, "-m", "caffe", *command], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        times = [time.perf_counter() for _ in process.stdout]
    if process.returncode:
        raise SystemExit(f"caffe classify ended with {process.returncode}")
    return (len(times) - batch) / (times[-1] - times[batch - 1])


def forward(classifier: caffe.Classifier, batch: int, pictures: int) -> float:
    """Run the net alone for as many pictures; return how many a second."""
    classifier.forward()
    runs = -(-pictures // batch)
    start = time.perf_counter()
    for _ in range(runs):
        classifier.forward()
    return runs * batch / (time.perf_counter() - start)


def read(classifier: caffe.Classifier, batch: int, names: list[str]) -> float:
    """Read and prepare pictures as the command does; return how many a second."""
    start = time.perf_counter()
    done = sum(1 for _ in read_all(names, prepare_for(classifier), 2 * batch, print, lambda: None))
    return done / (time.perf_counter() - start)


def seconds(command: list[str]) -> dict[str, float]:
    """Run the command in a process of its own; return how long it took, and of the CPUs."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    run = [sys.executable, "-m", "caffe", *command]
    # As it is installed: compiled to bytecode once.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(run, stdout=subprocess.DEVNULL, check=True, env=environment)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": wall, "cpu": cpu}


def write_pictures(folder: Path, count: int) -> list[Path]:
    """Write JPEGs with the grain of photographs."""
    rng = np.random.default_rng(3)
    paths = []
    for number in range(count):
        path = folder / f"{number:04}.jpg"
        coarse = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        grain = rng.normal(0, 8, (HEIGHT, WIDTH, 3))
        pixels = np.clip(np.asarray(smooth) + grain, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(path, quality=90)
        paths.append(path)
    return paths


if __name__ == "__main__":
    main()
