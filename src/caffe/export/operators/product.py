"""Products with a learned matrix, and tables."""

from __future__ import annotations

import math

from ...layers.inner_product import Embed, InnerProduct, NormalizedProduct, Product
from ...pytorch import F
from ..onnx_graph import OnnxGraph, Value, onnx


@onnx.rule(InnerProduct, NormalizedProduct)
def _inner_product(layer: Product, graph: OnnxGraph, x: Value) -> Value:
    shape = graph.shape(x)
    axis = layer.axis(layer.param.axis, shape)
    weight = graph.arrays()[0]
    if isinstance(layer, NormalizedProduct):
        weight = F.normalize(weight, dim=0 if layer.param.transpose else 1, eps=1e-6)
    if axis == 1 and len(shape) > 2:
        x = graph.op("Flatten", x, axis=1)
    elif axis != 1:
        x = graph.reshaped(x, (math.prod(shape[:axis]), layer.inputs))
    weights = [graph.parameter(0, weight.numpy())]
    if layer.param.bias_term:
        weights.append(graph.parameter(1))
    y = graph.op("Gemm", x, *weights, transB=int(not layer.param.transpose))
    return y if axis == 1 else graph.reshaped(y, layer.top_shapes(shape)[0])


@onnx.rule(Embed)
def _embed(layer: Embed, graph: OnnxGraph, x: Value) -> Value:
    y = graph.op("Gather", graph.parameter(0), graph.whole(x))
    return graph.op("Add", y, graph.parameter(1)) if layer.param.bias_term else y
