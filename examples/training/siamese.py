"""Lay digits out in a plane, equal ones together: a siamese net with ContrastiveLoss.

    python examples/training/siamese.py

Two pictures go through two towers that are one: their parameters have the same names, so that Caffe
shares them. The loss draws pairs of one digit together and pushes others apart (Hadsell, Chopra and
LeCun, 2006). No one tells the net which digit is which, only which pairs are equal.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pictures

import caffe
from caffe import layers as L
from caffe import params as P

BATCH = 64
PAIRS = 6_000


def tower(n: caffe.NetSpec, bottom: Any, suffix: str = "") -> Any:
    """Add the layers from a picture to a point in the plane; `suffix` tells two towers apart."""

    def shared(name: str) -> dict[str, Any]:
        return {
            "param": [
                {"name": f"{name}_w", "lr_mult": 1},
                {"name": f"{name}_b", "lr_mult": 2},
            ],
            "weight_filler": {"type": "xavier"},
        }

    halved = {"kernel_size": 2, "stride": 2, "pool": P.Pooling.MAX}
    top = n[f"conv1{suffix}"] = L.Convolution(
        bottom, kernel_size=5, num_output=16, **shared("conv1")
    )
    top = n[f"pool1{suffix}"] = L.Pooling(top, **halved)
    top = n[f"conv2{suffix}"] = L.Convolution(top, kernel_size=5, num_output=32, **shared("conv2"))
    top = n[f"pool2{suffix}"] = L.Pooling(top, **halved)
    top = n[f"fc1{suffix}"] = L.InnerProduct(top, num_output=128, **shared("fc1"))
    top = n[f"relu1{suffix}"] = L.ReLU(top, in_place=True)
    top = n[f"point{suffix}"] = L.InnerProduct(top, num_output=2, **shared("point"))
    return top


def siamese(database: Path) -> caffe.NetSpec:
    """Describe the net for training: pairs as pictures of two channels, and two towers."""
    n = caffe.NetSpec()
    n.pair, n.equal = L.Data(
        source=str(database),
        backend=P.Data.LMDB,
        batch_size=BATCH,
        transform_param={"scale": 1 / 255},
        ntop=2,
    )
    n.one, n.other = L.Slice(n.pair, axis=1, slice_point=1, ntop=2)
    points = tower(n, n.one), tower(n, n.other, "_other")
    n.loss = L.ContrastiveLoss(*points, n.equal, contrastive_loss_param={"margin": 1})
    return n


def pairs(known: pictures.Pictures, count: int, seed: int = 2) -> pictures.Pictures:
    """Draw pairs, half of them of one digit: pictures of two channels, labelled 1 where equal."""
    rng = np.random.default_rng(seed)
    first = rng.integers(0, len(known.labels), count)
    second = rng.integers(0, len(known.labels), count)
    places = [np.flatnonzero(known.labels == label) for label in range(10)]
    for i in range(0, count, 2):
        second[i] = rng.choice(places[known.labels[first[i]]])
    both = np.concatenate([known.pixels[first], known.pixels[second]], axis=1)
    return pictures.Pictures(both, known.labels[first] == known.labels[second])


def points_of(solver: caffe.Solver, seen: pictures.Pictures) -> np.ndarray:
    """Return where one tower lays each picture (N x 2)."""
    n = caffe.NetSpec()
    n.one = L.Input(shape={"dim": [len(seen.labels), 1, 28, 28]})
    tower(n, n.one)
    net = caffe.Net(str(n.to_proto()), caffe.TEST)
    net.share_with(solver.net)
    return net.forward(one=seen.pixels / 255)["point"].copy()


def nearest(known: np.ndarray, labels: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return the label of the known point that is the nearest to each point asked for."""
    far = ((asked[:, None] - known[None]) ** 2).sum(axis=2)
    return labels[far.argmin(axis=1)]


def draw(path: str, points: np.ndarray, labels: np.ndarray) -> None:
    """Draw the plane, a colour for each digit."""
    pictures.package("matplotlib").use("Agg")
    pyplot = pictures.package("matplotlib.pyplot")
    figure, axes = pyplot.subplots(figsize=(6, 5), layout="constrained")
    for digit in range(10):
        axes.scatter(*points[labels == digit].T, s=10, color=f"C{digit}", label=str(digit))
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    axes.set(title="digits that the net had not seen", xticks=[], yticks=[])
    figure.savefig(path, dpi=100)
    print(f"drawn in {path}")


def main() -> None:
    """Train, say how well equal digits lie together, draw them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--output", default="siamese.png")
    options = parser.parse_args()
    known, held = pictures.split(pictures.digits())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pictures.write_lmdb(folder / "pairs", pairs(known, PAIRS))
        (folder / "net.prototxt").write_text(str(siamese(folder / "pairs").to_proto()))
        (folder / "solver.prototxt").write_text(
            f"""
            net: "{folder}/net.prototxt"
            type: "SGD" base_lr: 0.02 momentum: 0.9 weight_decay: 0.0001
            lr_policy: "poly" power: 1 max_iter: {options.steps}
            random_seed: 1 snapshot_prefix: "{folder}/siamese"
            """
        )
        solver = caffe.get_solver(str(folder / "solver.prototxt"))
        for share in range(5):
            solver.step(options.steps * (share + 1) // 5 - solver.iter)
            loss = float(solver.net.blobs["loss"].data)
            print(f"step {solver.iter:5}  loss {loss:.4f}", flush=True)
    places, asked = points_of(solver, known), points_of(solver, held)
    right = (nearest(places, known.labels, asked) == held.labels).mean()
    print(f"{right:.2%} of the digits not seen lie nearest to one of their kind")
    draw(options.output, asked, held.labels)


if __name__ == "__main__":
    main()
