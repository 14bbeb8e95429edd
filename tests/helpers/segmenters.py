"""A small net that tells colours apart at each place."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import caffe

# Scores at a quarter of the size: how red, how blue a place is, and a background between.
FCN = """
name: "colours"
layer { name: "data" type: "Input" top: "data"
        input_param { shape { dim: 1 dim: 3 dim: 24 dim: 32 } } }
layer { name: "mean" type: "Pooling" bottom: "data" top: "mean"
        pooling_param { pool: AVE kernel_size: 4 stride: 4 } }
layer { name: "score" type: "Convolution" bottom: "mean" top: "score"
        convolution_param { num_output: 3 kernel_size: 1 } }
"""
ARGMAX = """
layer { name: "class" type: "ArgMax" bottom: "score" top: "class" argmax_param { axis: 1 } }
"""


def colours(folder: Path, more: str = "") -> tuple[Path, Path]:
    """The net's files: what is red is class 1, blue 2, and all else the background."""
    net = caffe.Net(FCN + more, caffe.TEST)
    weights, bias = net.params["score"]
    weights.data[1, :, 0, 0] = -1, -1, 1  # blue, green, red
    weights.data[2, :, 0, 0] = 1, -1, -1
    bias.data[:] = 0, -100, -100
    model, trained = folder / "colours.prototxt", folder / "colours.caffemodel"
    model.write_text(FCN + more)
    net.save(trained)
    return model, trained


def halves(size: tuple[int, int] = (48, 64)) -> np.ndarray:
    """A picture that is red on the left, blue at the lower right, and grey elsewhere."""
    height, width = size
    picture = np.full((height, width, 3), 120, np.uint8)
    picture[:, : width // 2] = 250, 10, 10
    picture[height // 2 :, width // 2 :] = 10, 10, 250
    return picture
