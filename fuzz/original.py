"""Nets by chance, in Recaffe and in a build of the original Caffe; see docs/fuzzing.md.

A build that pip installs is in the wheel of tpu-mlir (Python 3.10, Linux). Its makers changed one
thing: the divisor of AVE pooling where a window reaches beyond the padding.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

import caffe

from . import nets
from .engines import fill
from .layers import MAKERS

Arrays: TypeAlias = "dict[str, NDArray[np.float32]]"

TYPES = {
    "AbsVal", "BNLL", "BatchNorm", "Bias", "Clip", "Concat", "Convolution", "Crop",
    "Deconvolution", "Dropout", "ELU", "Eltwise", "Exp", "Flatten", "Im2col", "InnerProduct",
    "LRN", "Log", "MVN", "PReLU", "Pooling", "Power", "ReLU", "Reduction", "Reshape", "SPP",
    "Scale", "Sigmoid", "Silence", "Slice", "Softmax", "Split", "Swish", "TanH", "Tile",
}  # fmt: skip
"""Those of the original that are drawn by chance."""

ENGINES = ("layerwise", "torch")
TOLERANCE = {"forward": 2e-4, "backward": 1e-3}
"""By how much of the largest value results may differ."""

LEAST = 1e-2
"""What counts as the largest value where all are smaller."""

MOST = 1e30

ASKED = Path(__file__).with_name("asked_original.py")


def main() -> int:
    """Run the command; the exit status is 1 where a net differs."""
    parser = argparse.ArgumentParser(prog="python -m fuzz.original", description=__doc__)
    parser.add_argument("python", type=Path, help="the Python that the build is for")
    parser.add_argument("path", type=Path, help="the folder in which its package caffe lies")
    parser.add_argument("--nets", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="the number of the first net")
    given = parser.parse_args()
    for kind in MAKERS.keys() - TYPES:
        del MAKERS[kind]
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        numbers = range(given.first, given.first + given.nets)
        texts = {number: text for number in numbers if (text := ask(number, folder))}
        subprocess.run([given.python, ASKED, given.path, folder], check=True)
        for number, text in texts.items():
            said = told(number, text, folder)
            counts[said] += 1
            if "differs" in said:
                print(f"net {number}: {said}\n{text}")
    for said, count in counts.most_common():
        print(f"{count:6} {said}")
    return int(any("differs" in said for said in counts))


def ask(number: int, folder: Path) -> str | None:
    """Run a net in Recaffe; write what the original is to do, and what came out here."""
    rng = Random(number)
    drawn = nets.draw_net(rng, rng.choice((1, 1, 2, 3, 4)))
    text = f"force_backward: true\n{drawn.text}"
    if not is_comparable(text):
        return None
    net = caffe.Net(text, caffe.TEST)
    fill(net, rng.randrange(1 << 32))
    values = np.random.default_rng(number)
    held: Arrays = {}
    for name in net.inputs:
        held[f"in/{name}"] = values.normal(0, 2, net.blobs[name].shape).astype(np.float32)
        net.blobs[name].data[...] = held[f"in/{name}"]
    for name, blobs in net.params.items():
        held |= {f"param/{name}/{i}": blob.data.copy() for i, blob in enumerate(blobs)}
    caffe.set_engine(ENGINES[number % 2])
    net.clear_param_diffs()
    net.forward()
    held |= {f"out/{name}": blob.data.copy() for name, blob in net.blobs.items()}
    for name in net.outputs:
        shape = net.blobs[name].shape
        held[f"topdiff/{name}"] = values.normal(size=shape).astype(np.float32)
        net.blobs[name].diff[...] = held[f"topdiff/{name}"]
    net.backward()
    held |= {f"diff/{name}": net.blobs[name].diff.copy() for name in net.inputs}
    for name, blobs in net.params.items():
        held |= {f"paramdiff/{name}/{i}": blob.diff.copy() for i, blob in enumerate(blobs)}
    # A MAX pooling's window with nothing in it gives -3.4e38, and the original's gradient of it
    # goes to the number before the bottom's first.
    if not all((np.abs(array) < MOST).all() for array in held.values()):
        return None
    np.savez(folder / f"{number}.npz", text=np.array(text), **held)  # type: ignore[arg-type]
    return text


def is_comparable(text: str) -> bool:
    """Whether the original says what a net's gradient is.

    In place most of its layers read what they have overwritten; its Slice of one top and its Concat
    of one bottom share memory.
    """
    for line in text.splitlines():
        kind, bottoms, tops = (
            re.findall(rf'\b{word}: "(\w+)"', line) for word in ("type", "bottom", "top")
        )
        in_place = bool(set(bottoms) & set(tops))
        if in_place and (kind != ["ReLU"] or "negative_slope" in line):
            return False
        if kind in (["Slice"], ["Concat"]) and len(tops) == len(bottoms) == 1:
            return False
    return True


def told(number: int, text: str, folder: Path) -> str:
    """Say how the original's answer compares."""
    answer = folder / f"{number}.answer.npz"
    if not answer.exists():
        return "refused by the original, which has fewer layers and fields"
    with np.load(folder / f"{number}.npz") as mine, np.load(answer) as its:
        for what, begins in (("forward", "out/"), ("backward", ("diff/", "paramdiff/"))):
            wrong = list(differing(mine, its, begins, TOLERANCE[what]))
            if wrong:
                if "AVE" in text:
                    return f"{what}: an AVE pooling whose divisor is another"
                return f"{what} differs: {', '.join(wrong)}"
        if not any(name.startswith("diff/") for name in its):
            return "equal forward; the original fails in backward"
    return "equal forward and backward"


def differing(
    mine: Mapping[str, NDArray[np.float32]],
    its: Mapping[str, NDArray[np.float32]],
    begins: str | tuple[str, ...],
    tolerance: float,
) -> Iterator[str]:
    """Name the arrays that differ, and by how much of their largest value."""
    for name in its:
        if not name.startswith(begins) or name not in mine:
            continue
        a, b = mine[name].astype(np.float64), its[name].astype(np.float64)
        if a.shape != b.shape:
            yield f"{name} is {a.shape} here and {b.shape} there"
        elif not a.size:
            continue
        elif not (off := np.abs(a - b).max() / max(LEAST, np.abs(b).max())) <= tolerance:
            yield f"{name} by {off:.2g}"


if __name__ == "__main__":
    sys.exit(main())
