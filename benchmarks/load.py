"""How long it takes to load CaffeNet's 244 MB into a net, from a file that is in memory."""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from nets import write
from report import arguments, in_turn, machine, show

import caffe

# Seconds on the machine of the project's design, where both were measured together.
ORIGINAL, OPENCV = 0.57, 0.63


def main() -> None:
    """Load it again and again."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    facts = machine(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        files = write("caffenet", 1, Path(folder))
        size = files.caffemodel.stat().st_size
        content = np.fromfile(files.caffemodel, np.uint8)

        runs: dict[str, Any] = {
            "Recaffe": lambda: caffe.Net(files.prototxt, caffe.TEST, weights=files.caffemodel),
            "memory copy": content.copy,
        }
        if importlib.util.find_spec("cv2") is not None:
            import cv2

            runs["OpenCV"] = lambda: cv2.dnn.readNetFromCaffe(
                str(files.prototxt), str(files.caffemodel)
            )
        times = in_turn(runs, 1 if options.quick else options.rounds, 0.0)
    figures: dict[str, Any] = {name: taken.median for name, taken in times.items()}
    ours, copy = figures["Recaffe"], figures["memory copy"]
    rows = [
        [name, f"{value:.0f}", f"{value / copy:.1f}", f"{ours / value:.2f}"]
        for name, value in figures.items()
    ]
    if "OpenCV" in figures:
        original = ORIGINAL * figures["OpenCV"] / OPENCV
        figures["original Caffe, by OpenCV's speed"] = original
        rows.append(
            [
                "original Caffe (as much quicker than OpenCV as on the design's machine)",
                f"{original:.0f}",
                f"{original / copy:.1f}",
                f"{ours / original:.2f}",
            ]
        )
    figures["bytes"] = size
    columns = ["loading", "ms", "by memory copy", "ours / it"]
    show(f"CaffeNet, {size / 1e6:.0f} MB", columns, rows, facts, figures, options.json)


if __name__ == "__main__":
    main()
