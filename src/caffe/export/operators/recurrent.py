"""Layers that go through time steps, as ONNX's Scan.

ONNX's own LSTM cannot begin a sequence in the middle, as Caffe's markers `cont` do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...layers.recurrent import LSTM, RNN, LSTMUnit, Recurrent
from ...layers.sequences import ContinuationIndicator, Lstm
from ..onnx_graph import OnnxGraph, Value, onnx


def lstm_unit(
    graph: OnnxGraph, cell: Value, gates: Value, cont: Value, hidden: int
) -> tuple[Value, Value]:
    """One step: the cells, and what the output gate shows; gates are in, forget, out, new."""
    i, f, o, g = graph.cut_into(gates, -1, [hidden] * 4)
    forget = graph.op("Mul", graph.op("Sigmoid", f), cont)
    new = graph.op("Mul", graph.op("Sigmoid", i), graph.op("Tanh", g))
    cell = graph.op("Add", graph.op("Mul", forget, cell), new)
    return cell, graph.op("Mul", graph.op("Sigmoid", o), graph.op("Tanh", cell))


@onnx.rule(LSTMUnit)
def _lstm_unit(
    layer: LSTMUnit, graph: OnnxGraph, cell: Value, gates: Value, cont: Value
) -> tuple[Value, Value]:
    marks = graph.op("Unsqueeze", cont, graph.constant([2]))
    return lstm_unit(graph, cell, gates, marks, graph.shape(cell)[2])


def linear(graph: OnnxGraph, x: Value, index: int) -> Value:
    """x by one of the layer's matrices, over the last axis."""
    weight = graph.parameter(index, graph.arrays()[index].numpy().T)
    return graph.op("MatMul", x, weight)


def flat(graph: OnnxGraph, x: Value, axes: int) -> Value:
    """A blob with all axes behind the first ones as one."""
    shape = graph.shape(x)
    if len(shape) == axes + 1:
        return x
    return graph.reshaped(x, (*shape[:axes], math.prod(shape[axes:])))


def _given(layer: Recurrent, graph: OnnxGraph, x: Value, static: Value | None) -> tuple[Value, int]:
    """What the inputs contribute at each step, and the number of the parameter behind those."""
    y = graph.op("Add", linear(graph, flat(graph, x, 2), 0), graph.parameter(1))
    if static is None:
        return y, 2
    return graph.op("Add", y, linear(graph, flat(graph, static, 1), 2)), 3


def _states(layer: Recurrent, graph: OnnxGraph, x: Value, others: Sequence[Value]) -> list[Value]:
    """The states at the start, (N, num_output) each."""
    if layer.param.expose_hidden:
        return [graph.op("Squeeze", other, graph.constant([0])) for other in others]
    zeros = np.zeros((graph.shape(x)[1], layer.param.num_output), np.float32)
    return [graph.constant(zeros) for _ in range(layer.states)]


def _steps(layer: Recurrent, graph: OnnxGraph, bottoms: Sequence[Value], step: Any) -> list[Value]:
    x, cont, *others = bottoms
    static = others.pop(0) if layer._static else None
    given, behind = _given(layer, graph, x, static)
    marks = graph.op("Unsqueeze", cont, graph.constant([2]))
    weights = [
        graph.parameter(i, np.ascontiguousarray(a.numpy().T))
        for i, a in enumerate(graph.arrays())
        if i >= behind
    ]

    def one(states: list[Value], now: list[Value]) -> tuple[list[Value], Value]:
        after, output = step(states, now[0], now[1], weights)
        return after, output

    *last, outputs = graph.scanned(_states(layer, graph, x, others), [given, marks], one)
    if not layer.param.expose_hidden:
        return [outputs]
    ends = [graph.op("Unsqueeze", state, graph.constant([0])) for state in last]
    return [outputs, *ends]


@onnx.rule(LSTM)
def _lstm(layer: LSTM, graph: OnnxGraph, *bottoms: Value) -> list[Value]:
    def step(
        states: list[Value], given: Value, cont: Value, weights: list[Value]
    ) -> tuple[list[Value], Value]:
        hidden, cell = states
        before = graph.op("MatMul", graph.op("Mul", cont, hidden), weights[0])
        gates = graph.op("Add", before, given)
        cell, hidden = lstm_unit(graph, cell, gates, cont, layer.param.num_output)
        return [hidden, cell], hidden

    return _steps(layer, graph, bottoms, step)


@onnx.rule(RNN)
def _rnn(layer: RNN, graph: OnnxGraph, *bottoms: Value) -> list[Value]:
    def step(
        states: list[Value], given: Value, cont: Value, weights: list[Value]
    ) -> tuple[list[Value], Value]:
        before = graph.op("MatMul", graph.op("Mul", cont, states[0]), weights[0])
        hidden = graph.op("Tanh", graph.op("Add", before, given))
        shown = graph.op("Add", graph.op("MatMul", hidden, weights[1]), weights[2])
        return [hidden], graph.op("Tanh", shown)

    return _steps(layer, graph, bottoms, step)


@onnx.rule(Lstm)
def _lstm_of_forks(layer: Lstm, graph: OnnxGraph, x: Value, *marks: Value) -> Value:
    shape, hidden = graph.shape(x), layer.param.num_output
    steps, count, inputs = layer._sizes(shape)
    rows = x if shape == (steps, count, inputs) else graph.reshaped(x, (steps, count, inputs))
    given = graph.op("Add", linear(graph, rows, 0), graph.parameter(2))
    if marks:
        own = graph.reshaped(marks[0], (steps, count, 1))
        zero = graph.op("Equal", own, graph.constant(np.float32(0)))
        cont = graph.floating(graph.op("Not", zero))
    else:
        begins = np.ones((steps, count, 1), np.float32)
        begins[:1] = 0
        cont = graph.constant(begins)
    weight = graph.parameter(1, np.ascontiguousarray(graph.arrays()[1].numpy().T))
    zeros = graph.constant(np.zeros((count, hidden), np.float32))

    def step(states: list[Value], now: list[Value]) -> tuple[list[Value], Value]:
        before = graph.op("Mul", graph.op("MatMul", states[0], weight), now[1])
        gates = graph.op("Add", now[0], before)
        cell, shown = lstm_unit(graph, states[1], gates, now[1], hidden)
        return [shown, cell], shown

    *_, outputs = graph.scanned([zeros, zeros], [given, cont], step)
    (top,) = layer.top_shapes(shape)
    return outputs if len(top) == 3 else graph.reshaped(outputs, top)


@onnx.rule(ContinuationIndicator)
def _continuation(layer: ContinuationIndicator, graph: OnnxGraph, *xs: Value) -> Value:
    (shape,) = layer.top_shapes(*(graph.shape(x) for x in xs))
    marks = np.ones(shape, np.float32)
    marks[0] = 0
    return graph.constant(marks)
