"""Running a single layer on arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

import caffe
from caffe.layers.layer import Layer
from caffe.layers.registry import create
from caffe.proto.caffe_pb2 import LayerParameter
from caffe.proto.text import parse_text

Arrays = list[np.ndarray]
SEEDS = range(4)


def layer_net(
    layer: str,
    shapes: Sequence[Sequence[int]],
    tops: int = 1,
    phase: int = caffe.TEST,
    backward: bool = False,
) -> caffe.Net:
    """Return a net of one layer, "layer".

    Parameters
    ----------
    layer : str
        Its type and its settings.
    shapes : sequence of shape
        Those of its bottoms b0, b1, ...
    tops : int
        How many tops it has: t0, t1, ...
    phase : int
        caffe.TEST or caffe.TRAIN.
    backward : bool
        Whether its bottoms get gradients.
    """
    text = "force_backward: true\n" if backward else ""
    for i, shape in enumerate(shapes):
        dims = " ".join(f"dim: {n}" for n in shape)
        text += f'layer {{ name: "b{i}" type: "Input" top: "b{i}" '
        text += f"input_param {{ shape {{ {dims} }} }} }}\n"
    names = [f'bottom: "b{i}"' for i in range(len(shapes))] + [f'top: "t{i}"' for i in range(tops)]
    return caffe.Net(f'{text} layer {{ name: "layer" {" ".join(names)} {layer} }}', phase)


def feed(net: caffe.Net, *bottoms: ArrayLike) -> Arrays:
    """Run such a net on these bottoms; return its tops, which the next run overwrites."""
    for i, bottom in enumerate(bottoms):
        net.blobs[f"b{i}"].data[...] = bottom
    net.forward()
    return [blob.data for name, blob in net.blobs.items() if name.startswith("t")]


def run(
    layer: str,
    *bottoms: np.ndarray,
    params: Sequence[np.ndarray] = (),
    tops: int = 1,
    phase: int = caffe.TEST,
    settled: bool = True,
) -> Arrays:
    """Return the tops of a layer on these bottoms.

    Parameters
    ----------
    layer : str
        Its type and its settings.
    params : sequence of array, optional
        Its parameters' values, whose shapes must be the layer's; its fillers' by default.
    settled : bool
        Whether the tops' shapes follow from the bottoms'; False where forward finds how many rows
        there are.
    """
    net = layer_net(layer, [bottom.shape for bottom in bottoms], tops, phase)
    if params:
        blobs = list(net.params["layer"])
        assert [blob.shape for blob in blobs] == [values.shape for values in params]
        for blob, values in zip(blobs, params, strict=True):
            blob.data[...] = values
    said = [blob.shape for name, blob in net.blobs.items() if name.startswith("t")]
    found = feed(net, *bottoms)
    assert not settled or [top.shape for top in found] == said
    return found


def lone_layer(param: LayerParameter | str, shapes: Sequence[tuple[int, ...]]) -> Layer:
    """Return a layer by itself, for tests that give it tensors of their own.

    Parameters
    ----------
    param : LayerParameter or str
        All of it, its bottoms' and tops' names included.
    shapes : sequence of shape
        Those of its bottoms.
    """
    if isinstance(param, str):
        param = parse_text(param, LayerParameter())
    layer = create(param)
    layer.setup(*shapes)
    layer.blobs = [wanted.blob() for wanted in layer.parameters(*shapes)]
    layer.top_shapes(*shapes)
    return layer


def floats(values: object) -> np.ndarray:
    return np.asarray(values, dtype=np.float32)


def close(found: np.ndarray, wanted: np.ndarray, tolerance: float = 1e-5) -> None:
    """Compare, to a tolerance that is relative to large values and absolute for small ones."""
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)


def shape(rng: np.random.Generator, *most: int, least: int = 1) -> tuple[int, ...]:
    """Return a shape by chance, each axis up to its own length."""
    return tuple(int(rng.integers(least, m + 1)) for m in most)
