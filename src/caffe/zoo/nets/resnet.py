"""The residual nets of 50, 101 and 152 layers."""

from __future__ import annotations

from typing import Any

from ...net_spec import NetSpec, Top
from ...net_spec import layers as L
from ...net_spec import params as P
from ...proto.caffe_pb2 import NetParameter


def _normalised(n: NetSpec, prefix: str, name: str, bottom: Top, **parameters: Any) -> Top:
    """Convolution, BatchNorm and Scale; `bn2a_branch1` belongs to `res2a_branch1`."""
    suffix = name.removeprefix(prefix)
    top: Top
    top = n[name] = L.Convolution(bottom, **parameters)
    top = n[f"bn{suffix}"] = L.BatchNorm(top, use_global_stats=True, in_place=True)
    top = n[f"scale{suffix}"] = L.Scale(top, bias_term=True, in_place=True)
    return top


def _convolution(n: NetSpec, name: str, bottom: Top, channels: int, kernel: int, step: int) -> Top:
    return _normalised(
        n,
        "res",
        name,
        bottom,
        num_output=channels,
        kernel_size=kernel,
        pad=kernel // 2,
        stride=step,
        bias_term=False,
    )


def _block(n: NetSpec, name: str, bottom: Top, width: int, step: int, project: bool) -> Top:
    shortcut = bottom
    if project:
        shortcut = _convolution(n, f"{name}_branch1", bottom, 4 * width, 1, step)
    top: Top = _convolution(n, f"{name}_branch2a", bottom, width, 1, step)
    top = n[f"{name}_branch2a_relu"] = L.ReLU(top, in_place=True)
    top = _convolution(n, f"{name}_branch2b", top, width, 3, 1)
    top = n[f"{name}_branch2b_relu"] = L.ReLU(top, in_place=True)
    top = _convolution(n, f"{name}_branch2c", top, 4 * width, 1, 1)
    top = n[name] = L.Eltwise(shortcut, top)
    top = n[f"{name}_relu"] = L.ReLU(top, in_place=True)
    return top


def _resnet(depth: int, repeats: tuple[int, ...], batch: int, first_bias: bool) -> NetParameter:
    n = NetSpec()
    n.data = L.Input(shape={"dim": [batch, 3, 224, 224]})
    bias = {} if first_bias else {"bias_term": False}
    top = n.conv1 = L.Convolution(n.data, num_output=64, kernel_size=7, pad=3, stride=2, **bias)
    top = n.bn_conv1 = L.BatchNorm(top, use_global_stats=True, in_place=True)
    top = n.scale_conv1 = L.Scale(top, bias_term=True, in_place=True)
    top = n.conv1_relu = L.ReLU(top, in_place=True)
    top = n.pool1 = L.Pooling(top, kernel_size=3, stride=2, pool=P.Pooling.MAX)
    for stage, count in enumerate(repeats, start=2):
        # Stages of ResNet-50 count with letters; deeper nets number their long stages.
        numbered = depth > 50 and count > 3
        for i in range(count):
            letter = "a" if i == 0 else f"b{i}" if numbered else chr(ord("a") + i)
            step = 2 if i == 0 and stage > 2 else 1
            width = 64 * 2 ** (stage - 2)
            top = _block(n, f"res{stage}{letter}", top, width, step, project=i == 0)
    top = n.pool5 = L.Pooling(top, kernel_size=7, stride=1, pool=P.Pooling.AVE)
    n.fc1000 = L.InnerProduct(top, num_output=1000)
    n.prob = L.Softmax(n.fc1000)
    net = n.to_proto()
    net.name = f"ResNet-{depth}"
    return net


def resnet50(batch: int = 1) -> NetParameter:
    """ResNet-50; its first convolution has a bias, unlike that of the deeper ones."""
    return _resnet(50, (3, 4, 6, 3), batch, first_bias=True)


def resnet101(batch: int = 1) -> NetParameter:
    """ResNet-101."""
    return _resnet(101, (3, 4, 23, 3), batch, first_bias=False)


def resnet152(batch: int = 1) -> NetParameter:
    """ResNet-152."""
    return _resnet(152, (3, 8, 36, 3), batch, first_bias=False)
