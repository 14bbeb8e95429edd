"""GoogLeNet (Inception v1)."""

from __future__ import annotations

from ...net_spec import NetSpec, Top
from ...net_spec import layers as L
from ...net_spec import params as P
from ...proto.caffe_pb2 import NetParameter

# 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection: the channels of each module.
INCEPTION = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


def _convolution(n: NetSpec, group: str, name: str, bottom: Top, **parameters: int) -> Top:
    n[f"{group}/{name}"] = L.Convolution(bottom, **parameters)
    relu: Top = L.ReLU(n[f"{group}/{name}"], in_place=True)
    n[f"{group}/relu_{name.removesuffix('_s2')}"] = relu
    return relu


def _max_pool(bottom: Top) -> Top:
    pooled: Top = L.Pooling(bottom, pool=P.Pooling.MAX, kernel_size=3, stride=2)
    return pooled


def _norm(bottom: Top) -> Top:
    normalised: Top = L.LRN(bottom, local_size=5, alpha=0.0001, beta=0.75)
    return normalised


def _inception(n: NetSpec, group: str, bottom: Top, channels: tuple[int, ...]) -> Top:
    one, three_reduce, three, five_reduce, five, projection = channels
    branches = [_convolution(n, group, "1x1", bottom, num_output=one, kernel_size=1)]
    top = _convolution(n, group, "3x3_reduce", bottom, num_output=three_reduce, kernel_size=1)
    branches.append(_convolution(n, group, "3x3", top, num_output=three, pad=1, kernel_size=3))
    top = _convolution(n, group, "5x5_reduce", bottom, num_output=five_reduce, kernel_size=1)
    branches.append(_convolution(n, group, "5x5", top, num_output=five, pad=2, kernel_size=5))
    top = L.Pooling(bottom, pool=P.Pooling.MAX, kernel_size=3, stride=1, pad=1)
    n[f"{group}/pool"] = top
    branches.append(_convolution(n, group, "pool_proj", top, num_output=projection, kernel_size=1))
    output: Top = L.Concat(*branches)
    n[f"{group}/output"] = output
    return output


def googlenet(batch: int = 10) -> NetParameter:
    """GoogLeNet, as BVLC trained it, without its two auxiliary classifiers."""
    n = NetSpec()
    n.data = L.Input(shape={"dim": [batch, 3, 224, 224]})
    top = _convolution(n, "conv1", "7x7_s2", n.data, num_output=64, pad=3, kernel_size=7, stride=2)
    top = n["pool1/3x3_s2"] = _max_pool(top)
    top = n["pool1/norm1"] = _norm(top)
    top = _convolution(n, "conv2", "3x3_reduce", top, num_output=64, kernel_size=1)
    top = _convolution(n, "conv2", "3x3", top, num_output=192, pad=1, kernel_size=3)
    top = n["conv2/norm2"] = _norm(top)
    top = n["pool2/3x3_s2"] = _max_pool(top)
    for name, channels in INCEPTION.items():
        top = _inception(n, f"inception_{name}", top, channels)
        if name in ("3b", "4e"):
            top = n[f"pool{name[0]}/3x3_s2"] = _max_pool(top)
    top = n["pool5/7x7_s1"] = L.Pooling(top, pool=P.Pooling.AVE, kernel_size=7, stride=1)
    top = n["pool5/drop_7x7_s1"] = L.Dropout(top, dropout_ratio=0.4, in_place=True)
    top = n["loss3/classifier"] = L.InnerProduct(top, num_output=1000)
    n.prob = L.Softmax(top)
    net = n.to_proto()
    net.name = "GoogleNet"
    return net
