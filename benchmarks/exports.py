"""Compare published nets with what is exported of them, and write the table of docs/interop.md.

Needs the reference material (RECAFFE_SHARED) and onnxruntime; run it from the repository's root:
``python -m benchmarks.exports [--write] [NAME ...]``.
"""

from __future__ import annotations

import re
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import caffe
from caffe.engine.steps import Step
from caffe.errors import CaffeError, CaffeWarning
from caffe.export.onnx_file import whole_proto
from caffe.export.onnx_model import build
from caffe.layers.accuracy import Accuracy
from caffe.layers.loss import Loss
from caffe.proto.files import read_net
from caffe.proto.text import format_text
from fuzz.engines import running
from tests.helpers.exported import run_onnx, run_torch
from tests.whole.test_model_texts import MODELS, NETS, feed, graphs, runs_alone, small

PAGE = Path(__file__).parents[1] / "docs" / "interop.md"
START, END = "<!-- nets: written by benchmarks/exports.py -->", "<!-- end of nets -->"
MOST = 1e-4
"""The largest difference that passes, as a part of the largest value."""

ROUNDING = 3
"""How many times float32's own error passes where that is larger."""


@dataclass
class Result:
    """How far what is exported of a net is from it, or why it is not."""

    name: str
    onnx: str
    module: str
    rough: float
    """How far the net itself, in float32, is from double precision, if that was asked; else 0."""
    exact: float
    """How far the model is from the net, both in double precision, if that was asked; else 0."""

    @property
    def is_good(self) -> bool:
        """Whether both are as near as they can be."""
        cells = (self.onnx, self.module)
        is_told = all(re.fullmatch(r"[\d.e+-]+", text) for text in cells)
        is_near = is_told and max(map(float, cells)) <= max(MOST, ROUNDING * self.rough)
        return is_near and self.exact <= MOST

    @property
    def remark(self) -> str:
        """What is to be said of it."""
        if not self.rough:
            return ""
        return f"float32's own: {self.rough:.1e}; in double precision {self.exact:.1e}"


def fill(net: caffe.Net, rng: np.random.Generator) -> None:
    """Give parameters values that keep numbers in bounds."""
    for name, blobs in net.params.items():
        layer = net.layer_dict[name]
        for index, blob in enumerate(blobs):
            values = 0.1 * rng.normal(size=blob.shape)
            if layer.type in ("Scale", "BN") and index == 0:
                values = values + 1
            elif len(blob.shape) > 1:
                values = rng.normal(size=blob.shape) * (2 / np.prod(blob.shape[1:])) ** 0.5
            blob.data[...] = values


def load(name: str) -> caffe.Net | None:
    """A net with inputs and weights, forward run; None where it needs data or code of its own."""
    param = read_net(MODELS / name)
    graph = graphs(name, param).get(caffe.TEST)
    if graph is None or not runs_alone(graph):
        return None
    net = caffe.Net(format_text(small(name, param)), caffe.TEST)
    rng = np.random.default_rng(0)
    fill(net, rng)
    weights_known = False
    for weights in sorted((MODELS / name).parent.glob("*.caffemodel*")):
        try:
            with warnings.catch_warnings():
                # Weights of another net are only warned of.
                warnings.simplefilter("error", CaffeWarning)
                net.copy_from(str(weights))
            weights_known = True
            break
        except (CaffeError, CaffeWarning):
            continue
    feed(net, rng)
    with running("layerwise"):
        for number, step in enumerate(net.inside.steps):
            if not weights_known:
                settle(step)
            # By its number, as several layers may have one name.
            net._forward(number, number)
    return net


def settle(step: Step) -> None:
    """Give a layer that normalises the statistics of what it is given."""
    blobs = step.layer.blobs
    mean, variance = {"BatchNorm": (0, 1), "BN": (2, 3)}.get(step.layer.type, (0, 0))
    if not variance or len(blobs) <= variance:
        return
    x = step.bottoms[0].data
    axes = tuple(axis for axis in range(x.ndim) if axis != 1)
    blobs[mean].data[...] = x.mean(axes).reshape(blobs[mean].shape)
    blobs[variance].data[...] = (x.var(axes) + 1e-3).reshape(blobs[variance].shape)
    if step.layer.type == "BatchNorm":
        blobs[2].data[...] = 1


def outputs_of(net: caffe.Net) -> list[str]:
    """The net's outputs; in the place of losses, scores and Silence what these read."""
    makers = {top: step for step in net.inside.steps for top in step.top_names}
    judges = {out for out in net.outputs if isinstance(makers[out].layer, Loss | Accuracy)}
    ends = [makers[out] for out in judges]
    ends += [step for step in net.inside.steps if step.layer.type == "Silence"]
    outputs = [out for out in net.outputs if out not in judges and out != "label"]
    return list(dict.fromkeys([*outputs, *(step.bottom_names[0] for step in ends)]))


def compare(name: str, net: caffe.Net) -> Result:
    """Run what is exported of a net."""
    outputs = outputs_of(net)
    rough = exact = 0.0
    wanted = [net.blobs[output].data.copy() for output in outputs]
    cells = []
    for run in (_onnx, _module):
        try:
            found = run(net, outputs)
            worst = max(map(_difference, found, wanted))
            cells.append(f"{worst:.1e}")
            if worst > MOST:
                true = _exactly(net, outputs)
                rough = max(map(_difference, wanted, true))
                exact = max(map(_difference, _onnx_exactly(net, outputs), true))
        except CaffeError as error:
            cells.append(str(error))
    return Result(name, *cells, rough, exact)


def _given(net: caffe.Net, names: list[str]) -> dict[str, np.ndarray]:
    return {name: net.blobs[name].data.copy() for name in names}


def _onnx(net: caffe.Net, outputs: list[str]) -> list[np.ndarray]:
    proto = whole_proto(build(net, outputs))
    return run_onnx(proto, _given(net, [value.name for value in proto.graph.input]))


def _module(net: caffe.Net, outputs: list[str]) -> list[np.ndarray]:
    module = caffe.export.module(net, outputs)
    return run_torch(module, list(_given(net, module.inputs).values()))


def _exactly(net: caffe.Net, outputs: list[str]) -> list[np.ndarray]:
    """What double precision gives."""
    module = caffe.export.module(net, outputs).double()
    return run_torch(module, [v.astype(np.float64) for v in _given(net, module.inputs).values()])


def _onnx_exactly(net: caffe.Net, outputs: list[str]) -> list[np.ndarray]:
    """What the ONNX model gives in double precision, by onnx's own evaluator."""
    from onnx.reference import ReferenceEvaluator

    proto = whole_proto(build(net, outputs))
    given = _given(net, [value.name for value in proto.graph.input])
    _double(proto.graph)
    found = ReferenceEvaluator(proto).run(None, {k: v.astype(np.float64) for k, v in given.items()})
    return list(map(np.asarray, found))


def _double(graph: Any) -> None:
    """Let a graph's numbers be of double precision, those of the graphs in it, too."""
    from onnx import AttributeProto, TensorProto, numpy_helper

    def doubled(tensor: Any) -> None:
        if tensor.data_type == TensorProto.FLOAT:
            array = numpy_helper.to_array(tensor).astype(np.float64)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))

    for tensor in graph.initializer:
        doubled(tensor)
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                doubled(attribute.t)
            elif attribute.type == AttributeProto.GRAPH:
                _double(attribute.g)
            elif attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.DOUBLE


def _difference(found: np.ndarray, wanted: np.ndarray) -> float:
    if found.shape != wanted.shape:
        return np.inf
    largest = np.abs(wanted).max(initial=0)
    return float(np.abs(found - wanted).max(initial=0) / max(largest, np.finfo(np.float32).tiny))


def page(results: list[Result]) -> str:
    """The page with these nets' rows written anew."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(START)
    _, _, behind = rest.partition(END)
    kept = (line for line in rest.partition(END)[0].splitlines() if ".prototxt |" in line)
    rows = {line.split(" | ")[0]: line for line in (*kept, *map(_row, results))}
    table = "| Net | ONNX Runtime | module | |\n|---|---|---|---|\n" + "\n".join(rows.values())
    return f"{before}{START}\n\n{table}\n\n{END}{behind}"


def _row(result: Result) -> str:
    return f"| {result.name} | {result.onnx} | {result.module} | {result.remark} |"


def main() -> None:
    """Run all nets, or those whose names hold a word; write the table with --write."""
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    results = []
    for name in NETS:
        if words and not any(word in name for word in words):
            continue
        net = load(name)
        if net is None:
            continue
        results.append(compare(name, net))
        print(_row(results[-1]), flush=True)
    if "--write" in sys.argv:
        PAGE.write_text(page(results), encoding="utf-8")
    bad = [result.name for result in results if not result.is_good]
    sys.exit(f"these differ: {', '.join(bad)}" if bad else 0)


if __name__ == "__main__":
    main()
