"""How many pictures a second `caffe classify FOLDER` does, against the net alone."""

from __future__ import annotations

import os
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
from caffe.cli.classify import Recognizer

WIDTH, HEIGHT = 500, 375


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
    recognizer = Recognizer(classifier, classifier.labels, oversample=False)
    classifier.make_room(options.batch)
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        names = [str(name) for name in write_pictures(Path(folder), options.pictures)]
        size = sum(Path(name).stat().st_size for name in names) / len(names)
        command = ["classify", folder, "--json", "--model", options.model]
        command += ["--batch", str(options.batch)]
        samples: dict[str, list[float]] = {"classify": [], "forward": []}
        for _ in range(options.rounds):
            samples["classify"].append(classify(command, options.batch))
            samples["forward"].append(forward(classifier, options.batch, len(names)))
        start = time.thread_time()
        for name in names[:50]:
            recognizer.prepare(name)
        preparing = (time.thread_time() - start) / len(names[:50])
    rates = {name: statistics.median(values) for name, values in samples.items()}
    ratio = rates["classify"] / rates["forward"]
    rows = [
        ["classify, pictures/s", f"{rates['classify']:.1f}"],
        ["the net alone, pictures/s", f"{rates['forward']:.1f}"],
        ["ratio", f"{ratio:.3f}"],
        ["reading and transforming, ms of CPU per picture", f"{preparing * 1000:.2f}"],
    ]
    title = (
        f"{len(names)} JPEGs of {WIDTH} x {HEIGHT} ({size / 1e3:.0f} kB each), "
        f"{options.model}, batch {options.batch}"
    )
    figures = {**rates, "ratio": ratio, "prepare_cpu_ms": preparing * 1000}
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
