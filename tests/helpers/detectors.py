"""A small net that finds coloured cells, and a picture for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import caffe

CELL = 8

# A net that finds white cells of 8 x 8 pixels: their mean, as the score of a prior of that size.
SSD = """
name: "cells"
layer { name: "data" type: "Input" top: "data"
        input_param { shape { dim: 1 dim: 3 dim: 48 dim: 64 } } }
layer { name: "mean" type: "Pooling" bottom: "data" top: "mean"
        pooling_param { pool: AVE kernel_size: 8 stride: 8 } }
layer { name: "conf" type: "Convolution" bottom: "mean" top: "conf"
        convolution_param { num_output: 3 kernel_size: 1 } }
layer { name: "loc" type: "Convolution" bottom: "mean" top: "loc"
        convolution_param { num_output: 4 kernel_size: 1 } }
layer { name: "cp" type: "Permute" bottom: "conf" top: "cp"
        permute_param { order: 0 order: 2 order: 3 order: 1 } }
layer { name: "lp" type: "Permute" bottom: "loc" top: "lp"
        permute_param { order: 0 order: 2 order: 3 order: 1 } }
layer { name: "cr" type: "Reshape" bottom: "cp" top: "cr"
        reshape_param { shape { dim: 0 dim: -1 dim: 3 } } }
layer { name: "cs" type: "Softmax" bottom: "cr" top: "cs" softmax_param { axis: 2 } }
layer { name: "cf" type: "Flatten" bottom: "cs" top: "cf" }
layer { name: "lf" type: "Flatten" bottom: "lp" top: "lf" }
layer { name: "prior" type: "PriorBox" bottom: "mean" bottom: "data" top: "prior"
        prior_box_param { min_size: 8 variance: 0.1 } }
layer { name: "found" type: "DetectionOutput" bottom: "lf" bottom: "cf" bottom: "prior"
        top: "found"
        detection_output_param { num_classes: 3 code_type: CENTER_SIZE confidence_threshold: 0.1
                                 nms_param { nms_threshold: 0.4 } } }
"""


def cells(folder: Path) -> tuple[Path, Path]:
    """The net's files: red cells are class 1, blue ones class 2."""
    net = caffe.Net(SSD, caffe.TEST)
    weights, bias = net.params["conf"]
    weights.data[1, :, 0, 0] = 0, -0.1, 0.1  # blue, green, red
    weights.data[2, :, 0, 0] = 0.1, -0.1, 0
    bias.data[:] = 8, 0, 0
    model, trained = folder / "cells.prototxt", folder / "cells.caffemodel"
    model.write_text(SSD)
    net.save(trained)
    return model, trained


def painted(size: tuple[int, int] = (96, 128)) -> np.ndarray:
    """A grey picture, twice the net's size, with a red and a blue cell."""
    picture = np.full((*size, 3), 90, np.uint8)
    y, x = size[0] // 6, size[1] // 8
    picture[y * 1 : y * 2, x * 2 : x * 3] = 250, 20, 20
    picture[y * 4 : y * 5, x * 7 : x * 8] = 20, 20, 250
    return picture
