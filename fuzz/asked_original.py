"""What a build of the original Caffe makes of nets: run by its own Python, see `fuzz.original`.

    python asked_original.py FOLDER_OF_ITS_PACKAGE FOLDER_OF_NETS

Each net runs in a forked process, as the original ends the process where it refuses something.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import numpy as np

SECONDS = 20


def answer(question: Path) -> None:
    """Run one net, forward and backward, and write all of it beside the question."""
    import caffe

    signal.alarm(SECONDS)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    given = np.load(question)
    text = question.with_suffix(".prototxt")
    text.write_text(str(given["text"]))
    net = caffe.Net(str(text), caffe.TEST)
    for name in given:
        kind, _, rest = name.partition("/")
        if kind == "in":
            net.blobs[rest].data[...] = given[name]
        elif kind == "param":
            layer, _, number = rest.rpartition("/")
            net.params[layer][int(number)].data[...] = given[name]
    net.forward()
    held = {f"out/{name}": blob.data.copy() for name, blob in net.blobs.items()}
    write(question, held)
    for name in given:
        if name.startswith("topdiff/"):
            net.blobs[name.partition("/")[2]].diff[...] = given[name]
    for blobs in net.params.values():
        for blob in blobs:
            blob.diff[...] = 0
    net.backward()
    held.update({f"diff/{name}": net.blobs[name].diff.copy() for name in net.inputs})
    for name, blobs in net.params.items():
        held.update({f"paramdiff/{name}/{i}": blob.diff.copy() for i, blob in enumerate(blobs)})
    write(question, held)


def write(question: Path, held: dict[str, np.ndarray]) -> None:
    """Write an answer whole."""
    part = question.with_suffix(".part.npz")
    np.savez(part, **held)  # type: ignore[arg-type]
    part.rename(question.with_suffix(".answer.npz"))


def main() -> None:
    """Answer all questions of a folder."""
    sys.path.insert(0, sys.argv[1])
    os.environ.update(GLOG_minloglevel="3")
    import caffe

    # What a Caffe loads late, it loads once, before the processes part.
    caffe.set_random_seed(1)
    for question in sorted(Path(sys.argv[2]).glob("*.npz")):
        process = os.fork()
        if process == 0:
            try:
                answer(question)
            finally:
                os._exit(0)
        os.waitpid(process, 0)


if __name__ == "__main__":
    main()
