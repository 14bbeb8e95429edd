"""Import nets of PyTorch's world, and compare what the files compute with what PyTorch did.

``python -m benchmarks.imports FOLDER [--READER=PYTHON ...] [--write] [NAME ...]``: FOLDER is where
`benchmarks/source_nets.py` has put models and values. A READER of `benchmarks/caffe_readers.py` is
run by the Python that is given for it; without one it is left out. ``--write`` keeps the figures in
docs/imports.json, of which docs/make_interop.py makes a table.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import caffe
from caffe.errors import CaffeError

HERE = Path(__file__).parent
FIGURES = HERE.parent / "docs" / "imports.json"
OURS = "recaffe"
ROUGH = "float32"
"""Under what the figures have PyTorch's own distance from double precision."""

LONGEST = 900
"""Seconds that a reader may take for a net."""

ROUNDING = 3
"""How many times that passes where it is larger."""

Arrays = list[NDArray[np.float32]]


@dataclass(frozen=True)
class Reader:
    """Who reads the files.

    Attributes
    ----------
    target : str
        For whom the files are written.
    most : float
        The largest difference that passes, as a part of the largest value.
    """

    target: str
    most: float = 1e-4


READERS = {
    OURS: Reader("bvlc"),
    "caffe": Reader("bvlc"),
    "opencv": Reader("opencv"),
    "mnn": Reader("mnn"),
    # It computes in 16 bits.
    "rknn": Reader("rknn", 3e-2),
    "tpu_mlir": Reader("sophon"),
}


def difference(found: Arrays, wanted: Arrays) -> float:
    """How far the outputs are from what they should be, as a part of each one's largest value.

    Names and order are the readers' own, so that each output is taken for the nearest of its size.
    """
    return max(min((one_difference(f, w) for f in found), default=np.inf) for w in wanted)


def one_difference(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    """How far one output is from what it should be, likewise."""
    if found.size != wanted.size:
        return np.inf
    off = np.abs(found.reshape(-1) - wanted.reshape(-1)).max()
    return float(off / max(np.abs(wanted).max(), np.finfo(np.float32).tiny))


def ours(text: Path, weights: Path, values: Path) -> Arrays:
    """Run the files by this project."""
    net = caffe.Net(text, caffe.TEST, weights=weights)
    found = net.forward(**{net.inputs[0]: np.load(values)["input"]})
    return [array.copy() for array in found.values()]


def read_by(reader: str, python: str, text: Path, weights: Path, values: Path) -> Arrays:
    """Run the files by another program.

    Raises
    ------
    RuntimeError
        It refuses them; the last that it said.
    """
    out = text.parent / f"{reader}.npz"
    script = [python, HERE / "caffe_readers.py", reader]
    with subprocess.Popen(
        [*script, text, weights, values, out],
        cwd=text.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as running:
        try:
            said, _ = running.communicate(timeout=LONGEST)
        finally:
            # What it has started goes with it.
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
    if running.returncode or not out.is_file():
        (Path(tempfile.gettempdir()) / f"{reader}-{values.stem}.log").write_text(said)
        raise RuntimeError(last_complaint(said))
    return list(np.load(out).values())


def last_complaint(said: str) -> str:
    """What a program said last of what it did not like, in a few words."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    complaints = [line for line in lines if re.search(r"error|assert|not support|^E ", line, re.I)]
    line = (complaints or lines or ["nothing"])[-1]
    return re.sub(r"[|`]", "", line)[:100]


def refusal(error: Exception) -> str:
    """Why there is no figure, as a cell of the table has it."""
    if isinstance(error, subprocess.TimeoutExpired):
        return f"takes longer than {LONGEST // 60} min"
    if isinstance(error, CaffeError):
        # Neither the model's place nor what would help.
        told = re.sub(r"^.*?(?=node ')", "", str(error)).split("; ")[0]
        return f"not imported: {told}"
    return f"refuses: {error}"


def measure(model: Path, pythons: dict[str, str]) -> dict[str, float | str]:
    """Every reader's largest difference for one net, or why there is none."""
    values = model.with_suffix(".npz")
    held = np.load(values)
    wanted = [held[name] for name in held if name.startswith("output")]
    found: dict[str, float | str] = {}
    if "rough" in held:
        found[ROUGH] = float(f"{float(held['rough']):.1e}")
    with tempfile.TemporaryDirectory() as folder:
        for reader, about in READERS.items():
            if reader != OURS and reader not in pythons:
                continue
            text = Path(folder) / f"{about.target}.prototxt"
            weights = text.with_suffix(".caffemodel")
            try:
                if not text.is_file():
                    caffe.imports.load(model, target=about.target).save(text, weights)
                if reader == OURS:
                    arrays = ours(text, weights, values)
                else:
                    arrays = read_by(reader, pythons[reader], text, weights, values)
                off = difference(arrays, wanted)
                found[reader] = float(f"{off:.1e}") if np.isfinite(off) else "of another size"
            except (CaffeError, RuntimeError, subprocess.TimeoutExpired) as error:
                found[reader] = refusal(error)
    return found


def is_good(reader: str, figure: float | str, rough: float = 0.0) -> bool:
    """Whether it computes what the model does, as well as float32 can (`rough` is its error)."""
    return not isinstance(figure, str) and figure <= max(READERS[reader].most, ROUNDING * rough)


def main() -> None:
    """Measure all nets, or those whose names hold a word."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    options = [word for word in sys.argv[1:] if word.startswith("--")]
    pythons = dict(word[2:].split("=", 1) for word in options if "=" in word)
    folder, *words = (word for word in sys.argv[1:] if not word.startswith("--"))
    bad = []
    for model in sorted(Path(folder).glob("*.onnx"), key=lambda path: path.stat().st_size):
        name = model.stem
        if not model.with_suffix(".npz").is_file() or (words and not any(w in name for w in words)):
            continue
        found = measure(model, pythons)
        print(name, found, flush=True)
        rough = float(found.get(ROUGH, 0))
        bad += [
            f"{name} by {who}"
            for who in found
            if who != ROUGH and not is_good(who, found[who], rough)
        ]
        if "--write" in options:
            # Others may be writing, too.
            figures = json.loads(FIGURES.read_text()) if FIGURES.is_file() else {}
            figures[name] = {**figures.get(name, {}), **found}
            FIGURES.write_text(json.dumps(dict(sorted(figures.items())), indent=1) + "\n")
    sys.exit("\n".join(["these differ:", *bad]) if bad else 0)


if __name__ == "__main__":
    main()
