"""SqueezeNet 1.0 and 1.1."""

from __future__ import annotations

from ...net_spec import NetSpec, Top
from ...net_spec import layers as L
from ...net_spec import params as P
from ...proto.caffe_pb2 import NetParameter


def _convolution(n: NetSpec, prefix: str, name: str, bottom: Top, **parameters: int) -> Top:
    n[f"{prefix}{name}"] = L.Convolution(bottom, **parameters)
    relu: Top = L.ReLU(n[f"{prefix}{name}"], in_place=True)
    n[f"{prefix}relu_{name}"] = relu
    return relu


def _squeezenet(
    batch: int,
    first: dict[str, int],
    last: dict[str, int],
    pool_after: tuple[int, ...],
    softmax: str,
) -> NetParameter:
    n = NetSpec()
    n.data = L.Input(shape={"dim": [batch, 3, 227, 227]})
    top = _convolution(n, "", "conv1", n.data, **first)
    squeezes = {2: 16, 3: 16, 4: 32, 5: 32, 6: 48, 7: 48, 8: 64, 9: 64}
    for i in range(1, 10):
        if i > 1:
            fire, squeeze = f"fire{i}/", squeezes[i]
            top = _convolution(n, fire, "squeeze1x1", top, num_output=squeeze, kernel_size=1)
            one = _convolution(n, fire, "expand1x1", top, num_output=4 * squeeze, kernel_size=1)
            three = _convolution(
                n, fire, "expand3x3", top, num_output=4 * squeeze, pad=1, kernel_size=3
            )
            top = n[f"{fire}concat"] = L.Concat(one, three)
        if i in pool_after:
            top = n[f"pool{i}"] = L.Pooling(top, pool=P.Pooling.MAX, kernel_size=3, stride=2)
    top = n.drop9 = L.Dropout(top, dropout_ratio=0.5, in_place=True)
    top = _convolution(n, "", "conv10", top, **last)
    top = n.pool10 = L.Pooling(top, pool=P.Pooling.AVE, global_pooling=True)
    n.prob = L.Softmax(top, name=softmax)
    return n.to_proto()


def squeezenet_v1_0(batch: int = 10) -> NetParameter:
    """SqueezeNet 1.0, the net of the paper."""
    return _squeezenet(
        batch,
        first={"num_output": 96, "kernel_size": 7, "stride": 2},
        # The padding around the 1x1 kernel is as published.
        last={"num_output": 1000, "pad": 1, "kernel_size": 1},
        pool_after=(1, 4, 8),
        softmax="prob",
    )


def squeezenet_v1_1(batch: int = 10) -> NetParameter:
    """SqueezeNet 1.1: the same accuracy for 2.4 times less computation."""
    return _squeezenet(
        batch,
        first={"num_output": 64, "kernel_size": 3, "stride": 2},
        last={"num_output": 1000, "kernel_size": 1},
        pool_after=(1, 3, 5),
        softmax="loss",
    )
