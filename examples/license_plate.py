"""Find the characters on a number plate with HyperLPR's small net, window by window.

    python examples/license_plate.py --net X.prototxt --weights X.caffemodel plate.png
    python examples/license_plate.py                  on a plate that it draws

Without arguments the net is built here. (On a developer's machine that has the tests' reference
material, its net is taken instead.) The net tells of a window of 22 x 22 grey pixels
whether a gap between two characters is in its middle.
"""

from __future__ import annotations

import argparse
import itertools

import drawn
import numpy as np
from PIL import Image

import caffe
from caffe import layers as L
from caffe import params as P
from caffe.io.annotate import Mark, draw_marks

PLATE = (36, 136)
WINDOW = 20
INPUT = 22
GAP = 1
SURE = 0.5
LEAST_WIDTH = 8
# Windows that the net is surest of have their middle a little before the gap's.
OFFSET = 1.5


def build() -> caffe.Net:
    """Build a net of the same inputs and outputs that looks for a dark column amid bright ones."""
    n = caffe.NetSpec()
    n.data = L.Input(shape={"dim": [1, 1, INPUT, INPUT]})
    # How bright each column is.
    n.columns = L.Pooling(n.data, pool=P.Pooling.AVE, kernel_h=INPUT, kernel_w=1, stride=1)
    n.classes = L.InnerProduct(n.columns, num_output=3)
    n.prob = L.Softmax(n.classes)
    net = caffe.Net(str(n.to_proto()), caffe.TEST)
    weights, bias = net.params["classes"]
    far = np.abs(np.arange(INPUT) - (INPUT - 1) / 2)
    middle, sides = far < 1.5, (far > 3) & (far < 9)
    weights.data[GAP] = 60 * (sides / sides.sum() - middle / middle.sum())
    bias.data[GAP] = -10
    return net


def windows(grey: np.ndarray) -> np.ndarray:
    """Return every window of the plate as the net takes it, (count, 1, 22, 22)."""
    starts = range(grey.shape[1] - WINDOW + 1)
    cut = (grey[:, start : start + WINDOW, None] for start in starts)
    return np.stack([caffe.io.resize_image(w, (INPUT, INPUT))[:, :, 0] for w in cut])[:, None]


def find_characters(net: caffe.Net, grey: np.ndarray) -> tuple[list[Mark], np.ndarray]:
    """Return a box for each character, from left to right, and the net's answer by column."""
    batch = windows(grey)
    blob = net.blobs[net.inputs[0]]
    blob.reshape(*batch.shape)
    net.reshape()
    net.forward(data=batch)
    answer = net.blobs[net.outputs[0]].data.reshape(len(batch), 3)[:, GAP].copy()
    sure = np.concatenate([[False], answer > SURE, [False]]).astype(int)
    begins, ends = (np.flatnonzero(np.diff(sure) == step) for step in (1, -1))
    gaps = (begins + ends - 1) / 2 + WINDOW / 2 + OFFSET
    edges = [2.0, *gaps.tolist(), grey.shape[1] - 2.0]
    marks = []
    for left, right in itertools.pairwise(edges):
        if right - left >= LEAST_WIDTH:
            box = (left + 1, 4.0, right - 1, PLATE[0] - 4.0)
            marks.append(Mark(box, str(len(marks) + 1), len(marks)))
    return marks, answer


def main() -> None:
    """Find the characters and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", nargs="?", help="a plate, cut out and level")
    parser.add_argument("--net", help="the prototxt")
    parser.add_argument("--weights", help="the caffemodel")
    parser.add_argument("--own", action="store_true", help="build the net, whatever is there")
    parser.add_argument("--text", default="EA8R5N7", help="what is drawn on the plate")
    parser.add_argument("--output", default="plate.png")
    options = parser.parse_args()
    name = "hyperlpr_segmentation"
    paths = [
        options.net or drawn.reference(name, "Segmentation.prototxt"),
        options.weights or drawn.reference(name, "Segmentation.caffemodel"),
    ]
    own = options.own or None in paths
    net = build() if own else caffe.Net(*paths, caffe.TEST)
    print("a net built here" if own else f"the net {paths[0]}")
    if options.picture:
        picture = Image.open(options.picture).convert("RGB").resize(PLATE[::-1])
    else:
        picture = drawn.plate(options.text)
    grey = np.asarray(picture.convert("L"), np.float32) / 255
    marks, answer = find_characters(net, grey)
    line = "".join(" .:+#"[min(4, int(value * 5))] for value in answer)
    print(" " * (WINDOW // 2) + line)
    print(f"{len(marks)} characters, in the columns:")
    print("  " + ", ".join(f"{m.box[0]:.0f}-{m.box[2]:.0f}" for m in marks))
    times = 6
    large = picture.resize((PLATE[1] * times, PLATE[0] * times), Image.Resampling.BICUBIC)
    enlarged = [Mark(tuple(c * times for c in m.box), m.text, m.group) for m in marks]
    draw_marks(large, enlarged).save(options.output)
    print(f"drawn in {options.output}")


if __name__ == "__main__":
    main()
