"""Brew logistic regression, and then something that can do more, with data in HDF5.

    python examples/training/brewing_logreg.py

A layer that multiplies and a loss are logistic regression. A layer and a ReLU more, and the border
between the two classes may bend. scikit-learn makes the data, and its own logistic regression says
what a straight border can reach.
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

BATCH = 50
COUNT, HELD = 10_000, 2_500
FILLED: dict[str, Any] = {
    "weight_filler": {"type": "xavier"},
    "param": [{"lr_mult": 1}, {"lr_mult": 2}],
}

Points = tuple[np.ndarray, np.ndarray]


def make_points() -> tuple[Points, Points]:
    """Make points (N x 4) of two classes in clusters: three quarters to learn from, the rest.

    The first two numbers tell the class, the others nothing.
    """
    points, labels = pictures.package("sklearn.datasets").make_classification(
        n_samples=COUNT,
        n_features=4,
        n_informative=2,
        n_redundant=0,
        n_clusters_per_class=2,
        hypercube=False,
        shuffle=False,
        random_state=0,
    )
    order = np.random.default_rng(0).permutation(COUNT)
    points, labels = np.float32(points[order]), np.float32(labels[order])
    known = COUNT - HELD
    return (points[:known], labels[:known]), (points[known:], labels[known:])


def write_hdf5(path: Path, points: Points) -> Path:
    """Write data and label as HDF5Data layers read them; return the list that names the file."""
    with pictures.package("h5py").File(path, "w") as file:
        file["data"], file["label"] = points
    listed = path.with_suffix(".txt")
    listed.write_text(f"{path}\n")
    return listed


def scores(n: caffe.NetSpec, hidden: int) -> None:
    """Add the layers from data to scores; with none hidden they are logistic regression."""
    top = n.data
    if hidden:
        n.hidden = L.InnerProduct(top, num_output=hidden, **FILLED)
        top = n.relu = L.ReLU(n.hidden, in_place=True)
    n.score = L.InnerProduct(top, num_output=2, **FILLED)


def described(listed: Path, hidden: int) -> str:
    """Describe a net that learns from files of HDF5."""
    n = caffe.NetSpec()
    n.data, n.label = L.HDF5Data(source=str(listed), batch_size=BATCH, ntop=2)
    scores(n, hidden)
    n.loss = L.SoftmaxWithLoss(n.score, n.label)
    n.accuracy = L.Accuracy(n.score, n.label)
    return str(n.to_proto())


def train(folder: Path, hidden: int, listed: dict[str, Path], steps: int) -> caffe.Solver:
    """Train a net for so many steps."""
    for name in ("train", "test"):
        (folder / f"{name}.prototxt").write_text(described(listed[name], hidden))
    solver = caffe.proto.caffe_pb2.SolverParameter(
        train_net=str(folder / "train.prototxt"),
        test_net=[str(folder / "test.prototxt")],
        test_iter=[HELD // BATCH],
        test_interval=1000,
        type="SGD",
        base_lr=0.1,
        momentum=0.9,
        weight_decay=0.0005,
        lr_policy="poly",
        power=1,
        max_iter=steps,
        random_seed=1,
        snapshot_after_train=False,
    )
    (folder / "solver.prototxt").write_text(str(solver))
    made = caffe.get_solver(str(folder / "solver.prototxt"))
    made.solve()
    return made


def accuracy(net: caffe.Net) -> float:
    """Return the share of the test points that is right."""
    batches = HELD // BATCH
    return sum(float(net.forward()["accuracy"]) for _ in range(batches)) / batches


def draw(path: str, points: Points, solvers: dict[str, caffe.Solver]) -> None:
    """Draw the points, and what each net says of every place."""
    pictures.package("matplotlib").use("Agg")
    pyplot = pictures.package("matplotlib.pyplot")
    figure, both = pyplot.subplots(1, 2, figsize=(8, 4), layout="constrained")
    data, labels = points
    reach = 4
    along = np.linspace(-reach, reach, 80, dtype=np.float32)
    places = np.stack([*np.meshgrid(along, along), *np.zeros((2, 80, 80))], axis=-1)
    for axes, (name, solver) in zip(both, solvers.items(), strict=True):
        n = caffe.NetSpec()
        n.data = L.Input(shape={"dim": [80 * 80, 4]})
        hidden = solver.net.params["hidden"][1].data.size if "hidden" in solver.net.params else 0
        scores(n, hidden)
        n.prob = L.Softmax(n.score)
        net = caffe.Net(str(n.to_proto()), caffe.TEST)
        net.share_with(solver.net)
        second = net.forward(data=places.reshape(-1, 4))["prob"][:, 1].reshape(80, 80)
        colours = {"cmap": "coolwarm", "vmin": 0, "vmax": 1}
        axes.imshow(second, origin="lower", extent=(-reach, reach) * 2, alpha=0.5, **colours)
        axes.scatter(*data[:800, :2].T, c=labels[:800], s=5, **colours)
        axes.set(title=name, xlim=(-reach, reach), ylim=(-reach, reach))
    figure.savefig(path, dpi=100)
    print(f"drawn in {path}")


def main() -> None:
    """Train both, compare them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--output", default="brewing_logreg.png")
    options = parser.parse_args()
    known, held = make_points()
    straight = pictures.package("sklearn.linear_model").LogisticRegression().fit(*known)
    print(f"scikit-learn's logistic regression  {straight.score(*held):.2%}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        listed = {
            "train": write_hdf5(folder / "train.h5", known),
            "test": write_hdf5(folder / "test.h5", held),
        }
        solvers = {}
        for said, hidden in (("the same in Caffe", 0), ("with a layer of 40 between", 40)):
            solvers[said] = train(folder, hidden, listed, options.steps)
            print(f"{said.ljust(35)} {accuracy(solvers[said].test_nets[0]):.2%}", flush=True)
        draw(options.output, held, solvers)


if __name__ == "__main__":
    main()
