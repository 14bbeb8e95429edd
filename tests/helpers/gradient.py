"""Checking a layer's gradient against finite differences, in double precision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

import caffe
from caffe.layers.layer import Layer, as_tensors
from caffe.layers.registry import create
from caffe.phases import TRAIN
from caffe.proto.caffe_pb2 import LayerParameter
from caffe.proto.text import parse_text
from tests.helpers.running import lone_layer

STEP = 1e-5


def check_gradient(
    layer_text: str,
    bottoms: Sequence[np.ndarray],
    *,
    params: Sequence[np.ndarray] | None = None,
    check_bottoms: Sequence[int] | None = None,
    check_params: Sequence[int] | None = None,
    weighted_tops: Sequence[int] | None = None,
    kinks: Sequence[float] = (),
    phase: int = TRAIN,
    in_place: bool = False,
    tolerance: float = 1e-6,
    seed: int = 1,
) -> None:
    """Compare a layer's backward with central differences of its forward.

    Parameters
    ----------
    layer_text : str
        What stands in ``layer { ... }``.
    bottoms : sequence of array
        Their values.
    params : sequence of array, optional
        The parameters' values; random ones where None.
    check_bottoms, check_params : sequence of int, optional
        Which gradients to check; by default all parameters, and the bottoms that
        `Layer.no_gradient_for` does not name.
    weighted_tops : sequence of int, optional
        The tops that get a diff, all by default.
    kinks : sequence of float
        Where the function has no derivative: values of the checked bottoms near one are moved.
    phase : int
        caffe.TRAIN or caffe.TEST.
    in_place : bool
        Give backward the top where the bottom was, as a net does for a layer in place.
    tolerance : float
        How much the gradients may differ, relative to the largest (at least 1).
    """
    param = parse_text(layer_text, LayerParameter())
    param.name = param.name or "layer"
    param.phase = phase  # type: ignore[assignment]
    rng = np.random.default_rng(seed)
    shapes = [tuple(b.shape) for b in bottoms]
    if not param.top:
        param.top.extend(f"top{i}" for i in range(_least_tops(create(param))))
    inputs = [torch.tensor(np.asarray(b), dtype=torch.float64) for b in bottoms]
    wanted = lone_layer(param, shapes).parameters(*shapes)
    if params is None:
        params = [rng.normal(size=tuple(w.shape)) for w in wanted]
    assert [p.shape for p in params] == [tuple(w.shape) for w in wanted]
    inputs += [torch.tensor(p, dtype=torch.float64) for p in params]

    layer = lone_layer(param, shapes)
    if check_bottoms is None:
        check_bottoms = [i for i in range(len(bottoms)) if i not in layer.no_gradient_for]
    if check_params is None:
        check_params = range(len(params))
    checked = [*check_bottoms, *(len(bottoms) + i for i in check_params)]
    for index in check_bottoms:
        for kink in kinks:
            near = (inputs[index] - kink).abs() < 0.01
            inputs[index][near] = kink + 0.03

    tops = _forward(layer, inputs, seed)[: len(param.top)]
    if param.type != "Filter":  # whose top's shape only forward knows
        assert [tuple(t.shape) for t in tops] == list(map(tuple, layer.top_shapes(*shapes)))
    assert all(t.dtype == torch.float64 for t in tops), "forward leaves double precision"
    diffs = [torch.tensor(rng.normal(size=tuple(t.shape)), dtype=torch.float64) for t in tops]
    for index, diff in enumerate(diffs):
        if weighted_tops is not None and index not in weighted_tops:
            diff.zero_()
    needs = [index in checked for index in range(len(inputs))]
    seen = [tops[0], *inputs[1:]] if in_place else inputs
    with torch.no_grad():
        gradients = layer.backward(diffs, tops, seen, needs)
    for index in checked:
        found = gradients[index] if index < len(gradients) else None
        analytic = torch.zeros_like(inputs[index]) if found is None else found
        numeric = _numeric(param, shapes, inputs, index, diffs, seed)
        which = f"bottom {index}" if index < len(bottoms) else f"parameter {index - len(bottoms)}"
        _compare(param.type, which, analytic.reshape(numeric.shape), numeric, tolerance)


def _least_tops(layer: Layer) -> int:
    return layer.tops if isinstance(layer.tops, int) else layer.tops[0]


def _forward(layer: Layer, inputs: Sequence[Tensor], seed: int) -> list[Tensor]:
    caffe.set_random_seed(seed)
    with torch.no_grad():
        return list(as_tensors(layer.forward(*inputs)))


def _numeric(
    param: LayerParameter,
    shapes: Sequence[tuple[int, ...]],
    inputs: Sequence[Tensor],
    index: int,
    diffs: Sequence[Tensor],
    seed: int,
) -> Tensor:
    gradient = torch.zeros_like(inputs[index])
    changed = inputs[index].clone()
    moved = [*inputs[:index], changed, *inputs[index + 1 :]]
    for place in range(changed.numel()):
        value = float(inputs[index].view(-1)[place])
        ends = []
        for step in (STEP, -STEP):
            changed.view(-1)[place] = value + step
            # A layer of its own each time, so that none starts with what another has kept.
            tops = _forward(lone_layer(param, shapes), moved, seed)
            ends.append([t.clone() for t in tops])
        changed.view(-1)[place] = value
        pairs = zip(*ends, diffs, strict=False)
        slope = sum(float(((up - down) * diff).sum()) for up, down, diff in pairs)
        gradient.view(-1)[place] = slope / (2 * STEP)
    return gradient


def _compare(
    layer_type: str, which: str, analytic: Tensor, numeric: Tensor, tolerance: float
) -> None:
    if not numeric.numel():
        return
    error = (analytic - numeric).abs()
    place = np.unravel_index(int(error.argmax()), tuple(numeric.shape))
    allowed = tolerance * max(1.0, float(numeric.abs().max()))
    assert bool(error.max() <= allowed), (
        f"{layer_type}, {which}{[int(i) for i in place]}: backward says "
        f"{float(analytic[place]):.9g}, finite differences {float(numeric[place]):.9g}"
    )
