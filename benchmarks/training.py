"""How long a full step of training takes, and the memory it needs: Recaffe and PyTorch, in turn.

A step is forward, backward and SGD with momentum and decay, on one batch of random numbers. Each
engine has a process of its own; all start from the same weights and must have the same loss before
any is timed. Dropout is left out, since its random numbers differ. "channels_last" has PyTorch's
fused SGD.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import memory
import numpy as np
import torch
from own_process import Child, Turn
from report import arguments, machine, show, spread_text, take_turns, timed
from torch.nn import functional as F
from torch_model import TorchNet

import caffe
from caffe import layers as L
from caffe import params as P
from caffe.proto.caffe_pb2 import NetParameter, SolverParameter
from caffe.zoo import nets

RATE, MOMENTUM, DECAY = 1e-3, 0.9, 5e-4
ENGINES = ("Recaffe", "torch eager", "torch channels_last")
TOLERANCE = 1e-3


def lenet(batch: int) -> NetParameter:
    """LeNet as in Caffe's examples."""
    halved = {"kernel_size": 2, "stride": 2, "pool": P.Pooling.MAX}
    n = caffe.NetSpec()
    n.data = L.Input(shape={"dim": [batch, 1, 28, 28]})
    n.conv1 = L.Convolution(n.data, kernel_size=5, num_output=20)
    n.pool1 = L.Pooling(n.conv1, **halved)
    n.conv2 = L.Convolution(n.pool1, kernel_size=5, num_output=50)
    n.pool2 = L.Pooling(n.conv2, **halved)
    n.ip1 = L.InnerProduct(n.pool2, num_output=500)
    n.relu1 = L.ReLU(n.ip1, in_place=True)
    n.ip2 = L.InnerProduct(n.relu1, num_output=10)
    return n.to_proto()


def cifar10_quick(batch: int) -> NetParameter:
    """The quick net of Caffe's examples for CIFAR-10."""
    halved = {"kernel_size": 3, "stride": 2}
    n = caffe.NetSpec()
    n.data = L.Input(shape={"dim": [batch, 3, 32, 32]})
    n.conv1 = L.Convolution(n.data, kernel_size=5, pad=2, num_output=32)
    n.pool1 = L.Pooling(n.conv1, pool=P.Pooling.MAX, **halved)
    n.relu1 = L.ReLU(n.pool1, in_place=True)
    n.conv2 = L.Convolution(n.relu1, kernel_size=5, pad=2, num_output=32)
    n.relu2 = L.ReLU(n.conv2, in_place=True)
    n.pool2 = L.Pooling(n.relu2, pool=P.Pooling.AVE, **halved)
    n.conv3 = L.Convolution(n.pool2, kernel_size=5, pad=2, num_output=64)
    n.relu3 = L.ReLU(n.conv3, in_place=True)
    n.pool3 = L.Pooling(n.relu3, pool=P.Pooling.AVE, **halved)
    n.ip1 = L.InnerProduct(n.pool3, num_output=64)
    n.ip2 = L.InnerProduct(n.ip1, num_output=10)
    return n.to_proto()


@dataclass
class Row:
    """What is trained; `frozen` are all layers but the last."""

    make: Callable[[int], NetParameter]
    batch: int
    frozen: bool = False


ROWS = {
    "LeNet": Row(lenet, 64),
    "CIFAR-10 quick": Row(cifar10_quick, 100),
    "CaffeNet": Row(nets.caffenet, 64),
    "GoogLeNet": Row(nets.googlenet, 32),
    "ResNet-50": Row(nets.resnet50, 16),
    "EfficientNet-Lite0, frozen": Row(nets.efficientnet_lite0, 16, frozen=True),
}


def scores(row: Row) -> NetParameter:
    """The net from data to scores."""
    param = row.make(row.batch)
    kept = [layer for layer in param.layer if layer.type not in ("Dropout", "Softmax")]
    for layer in kept:
        own = {"Convolution": "convolution_param", "InnerProduct": "inner_product_param"}
        if layer.type in own:
            getattr(layer, own[layer.type]).weight_filler.type = "msra"
    for layer in kept:
        if layer.type == "BatchNorm":
            # Published texts of trained nets have them frozen.
            layer.batch_norm_param.use_global_stats = row.frozen
    if row.frozen:
        for layer in kept[:-1]:
            del layer.param[:]
            for _ in range({"Convolution": 1, "Scale": 2, "BatchNorm": 3}.get(layer.type, 0)):
                layer.param.add(lr_mult=0, decay_mult=0)
    result = NetParameter(name=param.name)
    result.layer.extend(kept)
    return result


def make_solver(row: Row) -> tuple[caffe.Solver, caffe.Net]:
    """The solver with its data in the inputs, and the net from data to scores on its weights."""
    param = scores(row)
    trained = NetParameter()
    trained.CopyFrom(param)
    label = trained.layer.add(name="label", type="Input", top=["label"])
    label.input_param.shape.add(dim=[row.batch])
    last = param.layer[-1].top[0]
    trained.layer.add(name="loss", type="SoftmaxWithLoss", bottom=[last, "label"], top=["loss"])
    solver = caffe.SGDSolver(
        SolverParameter(
            net_param=trained,
            base_lr=RATE,
            momentum=MOMENTUM,
            weight_decay=DECAY,
            lr_policy="fixed",
            random_seed=1,
            snapshot_after_train=False,
        )
    )
    if row.frozen:
        solver.net.copy_from(str(caffe.zoo.fetch("efficientnet_lite0", quiet=True).weights))
    rng = np.random.default_rng(7)
    blobs = solver.net.blobs
    blobs["data"].data[...] = rng.standard_normal(blobs["data"].data.shape, dtype=np.float32)
    blobs["label"].data[...] = rng.integers(0, 10, row.batch)
    # Statistics of nothing yet would be nothing by nothing.
    for name, layer in zip(solver.net._layer_names, solver.net.layers, strict=True):
        if layer.type == "BatchNorm" and not row.frozen:
            for place, value in enumerate((0, 1, 1)):
                solver.net.params[name][place].data[...] = value
    net = caffe.Net(param, caffe.TEST)
    net.share_with(solver.net)
    return solver, net


def make(engine: str, row: Row, device: str = "cpu") -> Callable[[], float]:
    """A full step of an engine; it returns the loss before the step.

    Recaffe computes where `caffe.set_mode_cpu` and the like say, PyTorch on the device.
    """
    solver, net = make_solver(row)
    if engine == "Recaffe":

        def ours() -> float:
            solver.step(1)
            return float(solver.net.blobs["loss"].data)

        return ours
    data = torch.from_numpy(solver.net.blobs["data"].data.copy()).to(device)
    label = torch.from_numpy(solver.net.blobs["label"].data.copy()).long().to(device)
    model = TorchNet(net).to(device)
    learned = list(model.parameters())
    if row.frozen:
        model.eval()
        learned = list(model.parts[-1].parameters())
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        for parameter in learned:
            parameter.requires_grad_(True)
    is_last = engine == "torch channels_last"
    if is_last:
        model = model.to(memory_format=torch.channels_last)
        data = data.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        learned, RATE, MOMENTUM, weight_decay=DECAY, fused=True if is_last else None
    )

    def theirs() -> float:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(data), label)
        loss.backward()
        optimizer.step()
        return loss.item()

    return theirs


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Time one row with every engine."""
    turns, needed = {}, {}
    expected = None
    with ExitStack() as children:
        for engine in ENGINES:
            child = Child(engine, prepare, engine, name, options.threads)
            children.callback(child.end)
            answer = child.answer()
            if answer is None:
                continue
            loss, needed[engine] = answer
            expected = loss if expected is None else expected
            if not abs(loss - expected) <= TOLERANCE * abs(loss):
                print(f"  {engine} is left out: its loss is {loss:g}, and not {expected:g}")
                child.end()
                continue
            turns[engine] = child.turn
        times = take_turns(turns, options.rounds, options.seconds)
    return {
        "net": name,
        "batch": ROWS[name].batch,
        "ms": {engine: taken.median for engine, taken in times.items()},
        "spread": {engine: taken.spread for engine, taken in times.items()},
        "MB": {engine: needed[engine] for engine in times},
    }


def prepare(engine: str, name: str, threads: int) -> tuple[Turn, tuple[float, float]]:
    """Let an engine train for some steps in this process.

    Returns
    -------
    tuple
        Its turns, and of the steps before them the first one's loss, and the most memory, in MB,
        that this process has had beyond its imports.
    """
    torch.set_num_threads(threads)
    before = memory.peak()
    step = make(engine, ROWS[name])
    losses = [step() for _ in range(3)]
    return partial(timed, step), (losses[0], memory.peak() - before)


def main() -> None:
    """Measure what the command line asks for."""
    parser = arguments(__doc__)
    parser.add_argument("--nets", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each turn, at least")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 1, 0.0
    facts = machine(options.threads)
    figures = []
    for name in options.nets:
        print(f"{name}, batch {ROWS[name].batch}", flush=True)
        figures.append(measure(name, options))
    columns = [
        "ms per step",
        *ENGINES,
        "ratio to the better",
        "spread",
        *(f"{e}, MB" for e in ENGINES),
    ]
    rows = []
    for figure in figures:
        taken, needed = figure["ms"], figure["MB"]
        peers = [taken[engine] for engine in ENGINES[1:] if engine in taken]
        figure["ratio"] = taken["Recaffe"] / min(peers) if peers and "Recaffe" in taken else None
        rows.append(
            [
                f"{figure['net']}, batch {figure['batch']}",
                *(f"{taken[e]:.1f}" if e in taken else "" for e in ENGINES),
                f"{figure['ratio']:.2f}" if figure["ratio"] is not None else "",
                spread_text(figure["spread"]),
                *(f"{needed[e]:.0f}" if e in needed else "" for e in ENGINES),
            ]
        )
    show("A step of training", columns, rows, facts, figures, options.json)


if __name__ == "__main__":
    main()
