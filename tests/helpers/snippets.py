"""The blocks of commands and programs in the documents, and what stands above them.

A block is run as it stands, alone, in an empty folder, unless a comment above it says otherwise:

``<!-- with: cat.jpg net.prototxt -->``
    The reader has these files; `reader_files` writes such.
``<!-- not run: why -->``
    Nothing of it is run.
``<!-- not run "word": why -->``
    Lines with this word are not run.
``<!-- exit 1 "word": why -->``
    Lines with this word may end with this status.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

import caffe

LANGUAGES = ("sh", "python", "text")
_COMMENT = re.compile(r'<!-- (with|not run|exit 1)(?: "([^"]+)")?: (.+?) -->$')

OWN_NET = """name: "own"
layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 1 dim: 3 dim: 227 dim: 227 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 8 kernel_size: 11 stride: 16 weight_filler { type: "xavier" } } }
layer { name: "fc8" type: "InnerProduct" bottom: "conv1" top: "fc8"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "prob" type: "Softmax" bottom: "fc8" top: "prob" }
"""
TRAINED = """name: "trained"
layer { name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param {
  shape { dim: 4 dim: 3 } shape { dim: 4 } data_filler { type: "uniform" } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy"
  include { phase: TEST } }
"""
SOLVER = """net: "net.prototxt" base_lr: 0.01 lr_policy: "fixed" max_iter: 4 display: 2
test_iter: 1 test_interval: 2 snapshot: 2 snapshot_prefix: "%s" solver_mode: CPU
"""
OLD = """name: "old" input: "data" input_dim: 1 input_dim: 3 input_dim: 4 input_dim: 4
layers { name: "relu" type: RELU bottom: "data" top: "data" }
"""
LOG = """I0101 10:00:00.000000     1 solver.cpp:10] Iteration 0, loss = 2
I0101 10:00:00.000000     1 sgd_solver.cpp:10] Iteration 0, lr = 0.1
I0101 10:00:01.000000     1 solver.cpp:10] Iteration 1, loss = 1
I0101 10:00:01.000000     1 sgd_solver.cpp:10] Iteration 1, lr = 0.1
"""


@dataclass
class Block:
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    text: str
    files: list[str] = field(default_factory=list)
    why_not: str = ""
    skipped: dict[str, str] = field(default_factory=dict)
    failing: list[str] = field(default_factory=list)

    @property
    def place(self) -> str:
        """Where it stands."""
        return f"{self.page}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """The command lines that are run, without what stands behind a #, as one line each."""
        whole = self.text.replace("\\\n", " ").splitlines()
        lines = [re.sub(r"\s+#.*", "", line).strip() for line in whole]
        return [line for line in lines if line and not any(word in line for word in self.skipped)]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, with what the comments above them say."""
    found: list[Block] = []
    open_block: Block | None = None
    comments: list[tuple[str, str | None, str]] = []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("```"):
            if open_block is None:
                open_block = Block(page.name, number, line[3:].strip(), "")
                for kind, word, rest in comments:
                    _apply(open_block, kind, word, rest)
                comments = []
            else:
                found.append(open_block)
                open_block = None
        elif open_block is not None:
            open_block.text += f"{line}\n"
        elif match := _COMMENT.match(line):
            comments.append(match.groups())
        else:
            assert not comments, f"{page.name}:{number}: a comment stands above no block"
            assert not line.startswith(("<!-- with", "<!-- not", "<!-- exit")), (page.name, line)
    return found


def _apply(block: Block, kind: str, word: str | None, rest: str) -> None:
    if kind == "with":
        block.files += rest.split()
    elif kind == "exit 1":
        assert word
        block.failing.append(word)
    elif word is None:
        block.why_not = rest
    else:
        block.skipped[word] = rest


def reader_files(folder: Path, names: list[str]) -> None:
    """Write what a reader has: a net of their own, its weights, pictures, a training."""
    for name in names:
        kinds = [kind for kind in _WRITERS if re.search(kind, name)]
        assert kinds, f"nobody says what {name} is"
        _WRITERS[kinds[0]](folder / name)


def _weights(path: Path) -> None:
    trained = path.name.startswith("start")
    caffe.Net(TRAINED if trained else OWN_NET, caffe.TEST).save(path)


def _picture(path: Path) -> None:
    import skimage.data

    Image.fromarray(skimage.data.chelsea()).save(path)


def _folder(path: Path) -> None:
    path.mkdir()
    _picture(path / "one.png")


def _mean(path: Path) -> None:
    blob = caffe.io.array_to_blobproto(np.full((1, 3, 256, 256), 110.0))
    path.write_bytes(blob.SerializeToString())


def _solver(path: Path) -> None:
    prefix = path.stem.removesuffix("solver").rstrip("_") or "s"
    path.write_text(SOLVER % prefix)


_WRITERS: dict[str, Callable[[Path], object]] = {
    r"/$": _folder,
    r"\.(jpg|png)$": _picture,
    r"\.caffemodel$": _weights,
    r"\.binaryproto$": _mean,
    r"\.npy$": lambda path: np.save(path, np.full((3, 256, 256), 110.0)),
    r"\.log$": lambda path: path.write_text(LOG),
    r"solver\.prototxt$": _solver,
    r"^net\.prototxt$": lambda path: path.write_text(TRAINED),
    r"^old\.prototxt$": lambda path: path.write_text(OLD),
    r"\.prototxt$": lambda path: path.write_text(OWN_NET),
}
