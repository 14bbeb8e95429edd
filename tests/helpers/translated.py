"""Layers that other libraries are given, one at a time."""

from __future__ import annotations

import numpy as np

import caffe

CONVOLUTION = "num_output: 12 weight_filler { type: 'msra' } bias_filler { type: 'gaussian' }"
LAYERS = {
    "Convolution": f"convolution_param {{ {CONVOLUTION} kernel_h: 3 kernel_w: 2 pad: 1 }}",
    "grouped": f"convolution_param {{ {CONVOLUTION} kernel_size: 3 group: 3 stride: 2 }}",
    "dilated": f"convolution_param {{ {CONVOLUTION} kernel_size: 3 dilation: 2 bias_term: false }}",
    "padded": f"convolution_param {{ {CONVOLUTION} kernel_size: 3 stride: 2 pad_r: 1 pad_b: 1 }}",
    "padding alone": f"convolution_param {{ {CONVOLUTION} kernel_size: 1 pad: 2 }}",
    "DepthwiseConvolution": "convolution_param { kernel_size: 3 weight_filler { type: 'msra' } }",
    "Deconvolution": f"convolution_param {{ {CONVOLUTION} kernel_size: 4 stride: 2 pad: 1 }}",
    "grouped up": f"convolution_param {{ {CONVOLUTION} kernel_size: 3 stride: 2 group: 6 }}",
    "InnerProduct": f"inner_product_param {{ {CONVOLUTION} }}",
    "along": f"inner_product_param {{ {CONVOLUTION} axis: -1 }}",
    "transposed": f"inner_product_param {{ {CONVOLUTION} transpose: true }}",
    "max": "pooling_param { kernel_size: 3 stride: 2 }",
    "max padded": "pooling_param { kernel_size: 3 stride: 2 pad: 1 }",
    "mean": "pooling_param { pool: AVE kernel_size: 3 stride: 2 }",
    "mean padded": "pooling_param { pool: AVE kernel_size: 4 stride: 3 pad: 2 }",
    "mean of all": "pooling_param { pool: AVE global_pooling: true }",
    "LRN": "lrn_param { local_size: 3 alpha: 0.3 beta: 0.6 k: 2 }",
    "Normalize": "norm_param { across_spatial: false scale_filler { type: 'gaussian' } }",
    "whole": "norm_param { channel_shared: true scale_filler { type: 'constant' value: 20 } }",
    "ReLU": "",
    "leaky": "relu_param { negative_slope: 0.1 }",
    "ReLU6": "",
    "PReLU": "",
    "one slope": "prelu_param { channel_shared: true }",
    "Clip": "clip_param { min: -0.5 max: 0.7 }",
    "ELU": "elu_param { alpha: 0.4 }",
    "Sigmoid": "",
    "TanH": "",
    "AbsVal": "",
    "Power": "power_param { power: 2 scale: 0.5 shift: 3 }",
    "Softmax": "softmax_param { axis: -3 }",
    "Permute": "permute_param { order: 0 order: 2 }",
    "ShuffleChannel": "shuffle_channel_param { group: 3 }",
    "BatchNorm": "",
    "Scale": "scale_param { bias_term: true filler { type: 'gaussian' } }",
    "Bias": "bias_param { filler { type: 'gaussian' } }",
    "Flatten": "",
    "Reshape": "reshape_param { shape { dim: 0 dim: -1 dim: 5 } }",
}
TYPES = {
    **dict.fromkeys(("grouped", "dilated", "padded", "padding alone"), "Convolution"),
    "grouped up": "Deconvolution",
    **dict.fromkeys(("along", "transposed"), "InnerProduct"),
    **dict.fromkeys(("max", "max padded", "mean", "mean padded", "mean of all"), "Pooling"),
    "whole": "Normalize",
    "leaky": "ReLU",
    "one slope": "PReLU",
}
SEVERAL = {
    "sum": "type: 'Eltwise' bottom: 'a' bottom: 'b' eltwise_param { coeff: 1 coeff: -2 }",
    "product": "type: 'Eltwise' bottom: 'a' bottom: 'b' eltwise_param { operation: PROD }",
    "largest": "type: 'Eltwise' bottom: 'a' bottom: 'b' eltwise_param { operation: MAX }",
    "concat": "type: 'Concat' bottom: 'a' bottom: 'b' concat_param { axis: 2 }",
    "slice": "type: 'Slice' bottom: 'a' top: 's' slice_param { slice_point: 2 }",
    "axpy": "type: 'Axpy' bottom: 'f' bottom: 'a' bottom: 'b'",
    "priors": "type: 'PriorBox' bottom: 'a' bottom: 'b' prior_box_param { min_size: 3 }",
}


def inputs(*shapes: tuple[int, ...]) -> str:
    return "".join(
        f"layer {{ name: '{name}' type: 'Input' top: '{name}' input_param {{ shape {{ "
        + " ".join(f"dim: {n}" for n in shape)
        + " } } }\n"
        for name, shape in zip("abf", shapes, strict=False)
    )


def one_layer(name: str, in_place: bool) -> caffe.Net | None:
    """A net of a convolution and one of `LAYERS`; None where that cannot run in place."""
    kind = TYPES.get(name, name)
    if in_place and (LAYERS[name] or kind in ("Flatten", "AbsVal")):
        return None
    top = "a" if in_place else "layer"
    text = inputs((2, 6, 11, 10)).replace("'a'", "'x'") + (
        "layer { name: 'head' type: 'Convolution' bottom: 'x' top: 'a' convolution_param { "
        "num_output: 6 kernel_size: 1 weight_filler { type: 'msra' } } }\n"
        f"layer {{ name: 'layer' type: '{kind}' bottom: 'a' top: '{top}' {LAYERS[name]} }}"
    )
    return _with_statistics(caffe.Net(text, caffe.TEST))


def _with_statistics(net: caffe.Net) -> caffe.Net:
    """Give each BatchNorm a mean and a variance."""
    for name, layer in zip(net._layer_names, net.layers, strict=True):
        if layer.type == "BatchNorm":
            for blob, value in zip(net.params[name], (0.5, 2, 2), strict=True):
                blob.data[...] = value
    return net


def several(name: str) -> caffe.Net:
    """A net of a ReLU and one of `SEVERAL`."""
    shape = (2, 6, 4, 5)
    text = inputs(shape, shape, *([(2, 6)] if name == "axpy" else []))
    text += f"layer {{ name: 'x' type: 'ReLU' bottom: 'a' top: 'x' }} layer {{ name: '{name}' "
    return caffe.Net(f"{text} top: '{name}' {SEVERAL[name]} }}", caffe.TEST)


NET = (
    inputs((2, 3, 16, 16))
    + """
layer { name: "conv" type: "Convolution" bottom: "a" top: "conv"
        convolution_param { num_output: 8 kernel_size: 3 weight_filler { type: "msra" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true
        filler { type: "gaussian" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "side" type: "Convolution" bottom: "conv" top: "side"
        convolution_param { num_output: 8 kernel_size: 1 weight_filler { type: "msra" } } }
layer { name: "bn2" type: "BatchNorm" bottom: "side" top: "side" }
layer { name: "sum" type: "Eltwise" bottom: "side" bottom: "conv" top: "sum" }
layer { name: "relu2" type: "ReLU" bottom: "sum" top: "sum" }
layer { name: "mvn" type: "MVN" bottom: "sum" top: "mvn" }
layer { name: "fc" type: "InnerProduct" bottom: "mvn" top: "fc"
        inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "clip" type: "Clip" bottom: "fc" top: "fc" clip_param { min: -0.1 max: 6 } }
"""
)
"""What libraries join, and in its midst a layer that they do not know."""
PICTURES = np.random.default_rng(1).normal(size=(2, 3, 16, 16)).astype(np.float32)


def joined() -> caffe.Net:
    """The net of `NET`."""
    return _with_statistics(caffe.Net(NET, caffe.TEST))
