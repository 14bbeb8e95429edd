"""Running a single layer on arrays."""

from __future__ import annotations

import numpy as np

import caffe

Arrays = list[np.ndarray]


def run(layer: str, *bottoms: np.ndarray, tops: int = 1, phase: int = caffe.TEST) -> Arrays:
    """The tops of a layer on these bottoms."""
    text = ""
    for i, bottom in enumerate(bottoms):
        dims = " ".join(f"dim: {n}" for n in bottom.shape)
        text += f'layer {{ name: "b{i}" type: "Input" top: "b{i}" '
        text += f"input_param {{ shape {{ {dims} }} }} }}\n"
    names = [f'bottom: "b{i}"' for i in range(len(bottoms))] + [f'top: "t{i}"' for i in range(tops)]
    net = caffe.Net(f'{text} layer {{ name: "layer" {" ".join(names)} {layer} }}', phase)
    for i, bottom in enumerate(bottoms):
        net.blobs[f"b{i}"].data[...] = bottom
    net.forward()
    return [net.blobs[f"t{i}"].data.copy() for i in range(tops)]


def floats(values: object) -> np.ndarray:
    return np.asarray(values, dtype=np.float32)
