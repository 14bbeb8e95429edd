"""The VGG team's nets of 16 and 19 weight layers."""

from __future__ import annotations

from ...net_spec import NetSpec
from ...net_spec import layers as L
from ...net_spec import params as P
from ...proto.caffe_pb2 import NetParameter


def _vgg(name: str, depths: tuple[int, ...], batch: int) -> NetParameter:
    n = NetSpec()
    n.data = L.Input(shape={"dim": [batch, 3, 224, 224]})
    top = n.data
    for block, depth in enumerate(depths, start=1):
        for i in range(1, depth + 1):
            channels = min(64 * 2 ** (block - 1), 512)
            top = L.Convolution(top, num_output=channels, pad=1, kernel_size=3)
            n[f"conv{block}_{i}"] = top
            top = n[f"relu{block}_{i}"] = L.ReLU(top, in_place=True)
        top = n[f"pool{block}"] = L.Pooling(top, pool=P.Pooling.MAX, kernel_size=2, stride=2)
    for i in (6, 7):
        top = n[f"fc{i}"] = L.InnerProduct(top, num_output=4096)
        top = n[f"relu{i}"] = L.ReLU(top, in_place=True)
        top = n[f"drop{i}"] = L.Dropout(top, dropout_ratio=0.5, in_place=True)
    n.fc8 = L.InnerProduct(top, num_output=1000)
    n.prob = L.Softmax(n.fc8)
    net = n.to_proto()
    net.name = name
    return net


def vgg16(batch: int = 10) -> NetParameter:
    """VGG-16 (configuration D)."""
    return _vgg("VGG_ILSVRC_16_layers", (2, 2, 3, 3, 3), batch)


def vgg19(batch: int = 10) -> NetParameter:
    """VGG-19 (configuration E)."""
    return _vgg("VGG_ILSVRC_19_layers", (2, 2, 4, 4, 4), batch)
