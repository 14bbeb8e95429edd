"""AlexNet, CaffeNet and the two models made from CaffeNet."""

from __future__ import annotations

from ...net_spec import NetSpec, Top
from ...net_spec import layers as L
from ...net_spec import params as P
from ...proto.caffe_pb2 import NetParameter


def _max_pool(bottom: Top) -> Top:
    pooled: Top = L.Pooling(bottom, pool=P.Pooling.MAX, kernel_size=3, stride=2)
    return pooled


def _norm(bottom: Top) -> Top:
    normalised: Top = L.LRN(bottom, local_size=5, alpha=0.0001, beta=0.75)
    return normalised


def _features(batch: int, norm_first: bool) -> NetSpec:
    """Everything up to the dropout after fc7; `norm_first` makes it AlexNet."""
    n = NetSpec()
    n.data = L.Input(shape={"dim": [batch, 3, 227, 227]})
    top = n.data
    convolutions = [
        {"num_output": 96, "kernel_size": 11, "stride": 4},
        {"num_output": 256, "pad": 2, "kernel_size": 5, "group": 2},
        {"num_output": 384, "pad": 1, "kernel_size": 3},
        {"num_output": 384, "pad": 1, "kernel_size": 3, "group": 2},
        {"num_output": 256, "pad": 1, "kernel_size": 3, "group": 2},
    ]
    for i, parameters in enumerate(convolutions, start=1):
        top = n[f"conv{i}"] = L.Convolution(top, **parameters)
        top = n[f"relu{i}"] = L.ReLU(top, in_place=True)
        if i <= 2:
            steps = [(f"pool{i}", _max_pool), (f"norm{i}", _norm)]
            for name, step in reversed(steps) if norm_first else steps:
                top = n[name] = step(top)
    top = n.pool5 = _max_pool(top)
    for i in (6, 7):
        top = n[f"fc{i}"] = L.InnerProduct(top, num_output=4096)
        top = n[f"relu{i}"] = L.ReLU(top, in_place=True)
        top = n[f"drop{i}"] = L.Dropout(top, dropout_ratio=0.5, in_place=True)
    return n


def _named(n: NetSpec, name: str) -> NetParameter:
    net = n.to_proto()
    net.name = name
    return net


def caffenet(batch: int = 10) -> NetParameter:
    """CaffeNet: AlexNet with pooling before normalisation."""
    n = _features(batch, norm_first=False)
    n.fc8 = L.InnerProduct(n.drop7, num_output=1000)
    n.prob = L.Softmax(n.fc8)
    return _named(n, "CaffeNet")


def alexnet(batch: int = 10) -> NetParameter:
    """AlexNet, as BVLC trained it."""
    n = _features(batch, norm_first=True)
    n.fc8 = L.InnerProduct(n.drop7, num_output=1000)
    n.prob = L.Softmax(n.fc8)
    return _named(n, "AlexNet")


def rcnn_ilsvrc13(batch: int = 10) -> NetParameter:
    """R-CNN for the 200 classes of ILSVRC13; its outputs are SVM scores, not probabilities."""
    n = _features(batch, norm_first=False)
    n["fc-rcnn"] = L.InnerProduct(n.drop7, num_output=200)
    return _named(n, "R-CNN-ilsvrc13")


def flickr_style(batch: int = 10) -> NetParameter:
    """CaffeNet fine-tuned on the 20 styles of Flickr Style."""
    n = _features(batch, norm_first=False)
    n.fc8_flickr = L.InnerProduct(n.drop7, num_output=20)
    n.prob = L.Softmax(n.fc8_flickr)
    return _named(n, "FlickrStyleCaffeNet")
