"""A net as an ONNX model."""

from __future__ import annotations

import onnx
from graph import Operation, operations, pooling, spatial
from onnx import TensorProto, helper, numpy_helper

import caffe

OPSET = 17


def to_onnx(net: caffe.Net) -> onnx.ModelProto:
    """Return the net, with its weights and its batch, as ONNX says it."""
    found, output = operations(net)
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []
    for operation in found:
        nodes += _nodes(operation, constants)
    (source,) = net.inputs
    graph = helper.make_graph(
        nodes,
        net.name or "net",
        [helper.make_tensor_value_info(source, TensorProto.FLOAT, net.blobs[source].shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, found[-1].shapes[-1])],
        constants,
    )
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    onnx.checker.check_model(model)
    return model


def _nodes(operation: Operation, constants: list[onnx.TensorProto]) -> list[onnx.NodeProto]:
    param, inputs, output = operation.param, operation.inputs, operation.output
    names = [f"{output}/{i}" for i in range(len(operation.arrays))]
    constants += map(numpy_helper.from_array, operation.arrays, names)
    match operation.type:
        case "Convolution":
            layer = param.convolution_param
            pads = spatial(layer, "pad", 0) * 2
            attributes = {
                "kernel_shape": spatial(layer, "kernel_size", 1),
                "strides": spatial(layer, "stride", 1),
                "dilations": spatial(layer, "dilation", 1),
                "pads": pads,
                "group": layer.group,
            }
            return [helper.make_node("Conv", inputs + names, [output], **attributes)]
        case "InnerProduct":
            flat = helper.make_node("Flatten", inputs, [f"{output}/flat"], axis=1)
            product = [f"{output}/flat", *names]
            return [flat, helper.make_node("Gemm", product, [output], transB=1)]
        case "BatchNorm":
            mean, variance, scale, bias = names
            parameters = [scale, bias, mean, variance]
            eps = param.batch_norm_param.eps
            node = helper.make_node(
                "BatchNormalization", inputs + parameters, [output], epsilon=eps
            )
            return [node]
        case "Pooling":
            return [_pooling(operation)]
        case "LRN":
            lrn = param.lrn_param
            facts = {"size": lrn.local_size, "alpha": lrn.alpha, "beta": lrn.beta, "bias": lrn.k}
            return [helper.make_node("LRN", inputs, [output], **facts)]
        case "Clip":
            limits = [param.clip_param.min, param.clip_param.max]
            ends = [f"{output}/min", f"{output}/max"]
            for end, limit in zip(ends, limits, strict=True):
                constants.append(helper.make_tensor(end, TensorProto.FLOAT, [], [limit]))
            return [helper.make_node("Clip", inputs + ends, [output])]
        case "Concat":
            return [helper.make_node("Concat", inputs, [output], axis=param.concat_param.axis)]
        case "Softmax":
            return [helper.make_node("Softmax", inputs, [output], axis=param.softmax_param.axis)]
        case "Eltwise":
            return [helper.make_node("Add", inputs, [output])]
        case "ReLU":
            return [helper.make_node("Relu", inputs, [output])]
    raise NotImplementedError(f"{param.name}: {operation.type}")


def _pooling(operation: Operation) -> onnx.NodeProto:
    kernel, stride, pads = pooling(operation)
    layer = operation.param.pooling_param
    names = operation.inputs, [operation.output]
    if layer.global_pooling:
        kind = "GlobalMaxPool" if layer.pool == layer.MAX else "GlobalAveragePool"
        return helper.make_node(kind, *names)
    if layer.pool == layer.MAX:
        return helper.make_node("MaxPool", *names, kernel_shape=kernel, strides=stride, pads=pads)
    if any(pads):
        raise NotImplementedError(f"{operation.param.name}: average pooling with padding")
    return helper.make_node("AveragePool", *names, kernel_shape=kernel, strides=stride)
