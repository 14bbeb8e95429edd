"""Nets that several tests use."""

from __future__ import annotations

NET = """
name: "small <net>"
layer { name: "data" type: "Input" top: "data"
        input_param { shape { dim: 1 dim: 3 dim: 9 dim: 9 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 7 kernel_size: 3 stride: 2 pad: 1 } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "relu" }
layer { name: "left" type: "Pooling" bottom: "relu" top: "left"
        pooling_param { pool: AVE kernel_size: 3 } }
layer { name: "sigmoid" type: "Sigmoid" bottom: "relu" top: "sigmoid" }
layer { name: "right" type: "Convolution" bottom: "sigmoid" top: "right"
        convolution_param { num_output: 7 kernel_h: 3 kernel_w: 3 } }
layer { name: "sum" type: "Eltwise" bottom: "left" bottom: "right" top: "sum" }
layer { name: "drop" type: "Dropout" bottom: "sum" top: "sum" include { phase: TRAIN } }
"""

# One net in both phases but for its loss.
TINY = """
name: "Tiny"
layer { name: "data" type: "Input" top: "data"
        input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
        inner_product_param { num_output: 5 } }
layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "ip" top: "loss"
        include { phase: TRAIN } }
"""
