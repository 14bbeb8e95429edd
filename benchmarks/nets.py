"""The nets that are measured, with random weights whose values stay sane."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import caffe
from caffe import layers as L
from caffe import params as P
from caffe.proto.text import write_text
from caffe.zoo import nets

LOGITS = 2.0
"""The deviation that is given to what Softmax takes."""


def mobilenet(batch: int = 1) -> Any:
    """MobileNet (Howard et al., 2017): depthwise and pointwise convolutions in turn."""
    n = caffe.NetSpec()
    n.data = L.Input(shape={"dim": [batch, 3, 224, 224]})

    def convolution(name: str, bottom: Any, **parameters: Any) -> Any:
        top = n[name] = L.Convolution(bottom, bias_term=False, **parameters)
        top = n[f"{name}/bn"] = L.BatchNorm(top, in_place=True)
        top = n[f"{name}/scale"] = L.Scale(top, bias_term=True, in_place=True)
        top = n[f"{name}/relu"] = L.ReLU(top, in_place=True)
        return top

    top = convolution("conv0", n.data, num_output=32, kernel_size=3, pad=1, stride=2)
    channels = 32
    outputs = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)]
    outputs += [(512, 1)] * 5 + [(1024, 2), (1024, 1)]
    for number, (output, stride) in enumerate(outputs, 1):
        top = convolution(
            f"conv{number}/dw",
            top,
            num_output=channels,
            group=channels,
            kernel_size=3,
            pad=1,
            stride=stride,
        )
        top = convolution(f"conv{number}", top, num_output=output, kernel_size=1)
        channels = output
    top = n.pool = L.Pooling(top, pool=P.Pooling.AVE, global_pooling=True)
    n.fc = L.InnerProduct(top, num_output=1000)
    n.prob = L.Softmax(n.fc)
    return n.to_proto()


NETS: dict[str, Callable[[int], Any]] = {
    "caffenet": nets.caffenet,
    "googlenet": nets.googlenet,
    "squeezenet_v1.0": nets.squeezenet_v1_0,
    "resnet50": nets.resnet50,
    "efficientnet_lite0": nets.efficientnet_lite0,
    "mobilenet": mobilenet,
    "vgg16": nets.vgg16,
}


@dataclass
class Files:
    """A net on disk, as every engine can be given it."""

    prototxt: Path
    caffemodel: Path


def write(name: str, batch: int, folder: Path) -> Files:
    """Write the net of that name for that batch; its weights are made once per folder."""
    files = Files(folder / f"{name}_{batch}.prototxt", folder / f"{name}.caffemodel")
    write_text(files.prototxt, NETS[name](batch))
    if not files.caffemodel.exists():
        net = caffe.Net(NETS[name](1), caffe.TEST)
        _fill(net)
        net.save(files.caffemodel)
    return files


def picture_batch(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Random numbers as the input."""
    return np.random.default_rng(7).standard_normal(shape, dtype=np.float32)


def _fill(net: caffe.Net) -> None:
    """Fill the parameters as the msra filler would, and norm layers with what really arrives."""
    rng = np.random.default_rng(1)
    net.blobs[net.inputs[0]].data[...] = picture_batch(net.blobs[net.inputs[0]].data.shape)
    last = [name for name, layer in zip(net._layer_names, net.layers, strict=True) if layer.blobs]
    for name, layer in zip(net._layer_names, net.layers, strict=True):
        blobs = net.params.get(name, [])
        if layer.type == "BatchNorm":
            arriving = net.blobs[net.bottom_names[name][0]].data
            blobs[0].data[...] = arriving.mean(axis=(0, 2, 3))
            blobs[1].data[...] = arriving.var(axis=(0, 2, 3))
            blobs[2].data[...] = 1
        elif layer.type == "Scale":
            blobs[0].data[...] = rng.uniform(0.8, 1.2, blobs[0].data.shape)
            blobs[1].data[...] = rng.normal(0, 0.1, blobs[1].data.shape)
        elif blobs:
            weights = blobs[0].data
            deviation = np.sqrt(2 / (weights.size / weights.shape[0]))
            weights[...] = rng.standard_normal(weights.shape, dtype=np.float32) * deviation
            for bias in blobs[1:]:
                bias.data[...] = rng.normal(0, 0.01, bias.data.shape)
        net.forward(start=name, end=name)
        if name == last[-1]:
            blobs[0].data[...] *= LOGITS / net.blobs[net.top_names[name][0]].data.std()
            net.forward(start=name, end=name)
