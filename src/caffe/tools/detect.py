"""`detect`: a net's answers for windows of pictures, saved as CSV or HDF5.

The original's ``python/detect.py``.
"""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ..atomic import atomic_write
from ..cli.options import Threads
from ..errors import CaffeError, ParseError, require, unreadable
from ..proto.contents import open_lines
from .command import run_tool
from .own_net import (
    ChannelSwap,
    Gpu,
    InputScale,
    MeanFile,
    ModelDef,
    Pretrained,
    RawScale,
    net_files,
    preprocessing,
    use_first_gpu,
)

COORDINATES = ("ymin", "xmin", "ymax", "xmax")
CSV, HDF5 = ".csv", (".h5", ".hdf5", ".hdf")
Window = tuple[str, tuple[int, ...]]


def detect(
    input_file: Annotated[
        Path, typer.Argument(help="A .csv with filename, ymin, xmin, ymax and xmax.")
    ],
    output_file: Annotated[Path, typer.Argument(help="A .csv or .h5 for the answers.")],
    model_def: ModelDef = None,
    pretrained_model: Pretrained = None,
    crop_mode: Annotated[
        str, typer.Option(metavar="list", help="How windows are found: those of the list.")
    ] = "selective_search",
    gpu: Gpu = False,
    threads: Threads = None,
    mean_file: MeanFile = None,
    input_scale: InputScale = None,
    raw_scale: RawScale = 255.0,
    channel_swap: ChannelSwap = "2,1,0",
    context_pad: Annotated[
        int, typer.Option(min=0, help="Pixels of surroundings that are shown, in the net's input.")
    ] = 16,
) -> None:
    """Save a net's answers for windows: one row for each, with its picture and its corners."""
    from ..detector import Detector

    if output_file.suffix.lower() not in (CSV, *HDF5):
        raise typer.BadParameter("OUTPUT_FILE ends in .csv or .h5")
    files = net_files(model_def, pretrained_model)
    settings = preprocessing(mean_file, input_scale, raw_scale, channel_swap)
    use_first_gpu(gpu)
    detector = Detector(*files, context_pad=context_pad, **settings)
    print("Loading input...")
    if crop_mode != "list":
        # Which tells why it is not to be had.
        detector.detect_selective_search([os.fspath(input_file)])
    windows = read_windows(input_file)
    by_picture: dict[str, list[tuple[int, ...]]] = {}
    for name, window in windows:
        by_picture.setdefault(name, []).append(window)
    start = time.monotonic()
    detections = detector.detect_windows(by_picture.items())
    print(f"Processed {len(detections)} windows in {time.monotonic() - start:.3f} s.")
    start = time.monotonic()
    if output_file.suffix.lower() == CSV:
        write_csv(output_file, detections)
    else:
        write_hdf5(output_file, detections)
    print(f"Saved to {output_file} in {time.monotonic() - start:.3f} s.")


def read_windows(path: Path) -> list[Window]:
    """Read a list of windows: pictures' names and (ymin, xmin, ymax, xmax).

    Raises
    ------
    ParseError
        The file cannot be read, or lacks a column.
    """
    try:
        with open_lines(path, errors="surrogateescape", newline="") as file:
            rows = csv.reader(file, skipinitialspace=True)
            head = [name.strip() for name in next(rows, [])]
            missing = [name for name in ("filename", *COORDINATES) if name not in head]
            if missing:
                raise ParseError(f"the first line names no {', '.join(missing)}", os.fspath(path))
            return [_window(head, row, path, rows.line_num) for row in rows if row]
    except OSError as error:
        if isinstance(error, CaffeError):
            raise
        what = f"the list cannot be read: {error.strerror}"
        raise unreadable(what, os.fspath(path), error) from error


def _window(head: Sequence[str], row: Sequence[str], path: Path, line: int) -> Window:
    found = dict(zip(head, row, strict=False))
    try:
        return found["filename"], tuple(int(float(found[name])) for name in COORDINATES)
    except (KeyError, ValueError, OverflowError) as error:
        raise ParseError(
            "a picture's name and four numbers are expected", os.fspath(path), line
        ) from error


def write_csv(path: Path, detections: Sequence[dict[str, Any]]) -> None:
    """Write windows and predictions, a column for each class."""
    classes = len(detections[0]["prediction"].ravel()) if detections else 0
    with atomic_write(path, "w") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(["filename", *COORDINATES, *(f"class{i}" for i in range(classes))])
        for one in detections:
            values = one["prediction"].ravel().tolist()
            table.writerow([one["filename"], *one["window"], *values])


def write_hdf5(path: Path, detections: Sequence[dict[str, Any]]) -> None:
    """Write data sets ``filename``, ``prediction`` and the four corners, a row for each window."""
    import numpy as np

    from ..weights.hdf5 import written

    h5py = require("h5py", "hdf5", "detections in HDF5")
    with written(h5py, path) as file:
        group = file.create_group("df")
        names = [one["filename"] for one in detections]
        group.create_dataset("filename", data=names, dtype=h5py.string_dtype())
        if detections:
            predictions = np.stack([one["prediction"].ravel() for one in detections])
            group.create_dataset("prediction", data=predictions)
            windows = np.array([one["window"] for one in detections])
            for name, column in zip(COORDINATES, windows.T, strict=True):
                group.create_dataset(name, data=column)


def run() -> None:
    """Run the tool."""
    run_tool(detect)


if __name__ == "__main__":
    run()
