"""EfficientNet-Lite0, said in Caffe's layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ...net_spec import NetSpec, Top
from ...net_spec import layers as L
from ...net_spec import params as P
from ...proto.caffe_pb2 import NetParameter

# Of each stage: blocks, kernel size, stride of its first block, expansion, channels.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
BATCH_NORM_EPS = 1e-3


@dataclass(frozen=True)
class Block:
    """An inverted residual block."""

    name: str
    bottom_channels: int
    channels: int
    kernel_size: int
    stride: int
    expansion: int

    @property
    def residual(self) -> bool:
        """Whether the block's bottom is added to its top."""
        return self.stride == 1 and self.bottom_channels == self.channels


def blocks() -> Iterator[Block]:
    """The sixteen blocks, from the stem to the head."""
    bottom_channels = 32
    number = 0
    for count, kernel_size, stride, expansion, channels in STAGES:
        for i in range(count):
            step = stride if i == 0 else 1
            yield Block(f"block{number}", bottom_channels, channels, kernel_size, step, expansion)
            bottom_channels = channels
            number += 1


def kernel_and_pad(kernel_size: int, stride: int) -> tuple[int, int]:
    """Kernel size and padding by which Caffe does what 'same' padding does to an even input.

    At stride 2 'same' puts one row and column more after the picture than before it. Caffe pads
    both sides alike, so a zero row and column are put before the kernel instead.
    """
    return kernel_size + (stride > 1), kernel_size // 2


def _convolution(n: NetSpec, name: str, bottom: Top, clip: bool = True, **parameters: Any) -> Top:
    top: Top
    top = n[name] = L.Convolution(bottom, bias_term=False, **parameters)
    top = n[f"{name}/bn"] = L.BatchNorm(top, eps=BATCH_NORM_EPS, in_place=True)
    top = n[f"{name}/scale"] = L.Scale(top, bias_term=True, in_place=True)
    if clip:
        top = n[f"{name}/relu6"] = L.Clip(top, min=0, max=6, in_place=True)
    return top


def _block(n: NetSpec, block: Block, bottom: Top) -> Top:
    top = bottom
    width = block.bottom_channels * block.expansion
    if block.expansion > 1:
        top = _convolution(n, f"{block.name}/expand", top, num_output=width, kernel_size=1)
    kernel_size, pad = kernel_and_pad(block.kernel_size, block.stride)
    top = _convolution(
        n,
        f"{block.name}/depthwise",
        top,
        num_output=width,
        group=width,
        kernel_size=kernel_size,
        pad=pad,
        stride=block.stride,
    )
    top = _convolution(
        n, f"{block.name}/project", top, clip=False, num_output=block.channels, kernel_size=1
    )
    if block.residual:
        top = n[block.name] = L.Eltwise(bottom, top, operation=P.Eltwise.SUM)
    return top


def efficientnet_lite0(batch: int = 1) -> NetParameter:
    """EfficientNet-Lite0 for RGB pictures of 224 x 224, (x - 127) / 128."""
    n = NetSpec()
    n.data = L.Input(shape={"dim": [batch, 3, 224, 224]})
    kernel_size, pad = kernel_and_pad(3, 2)
    top = _convolution(n, "stem", n.data, num_output=32, kernel_size=kernel_size, pad=pad, stride=2)
    for block in blocks():
        top = _block(n, block, top)
    top = _convolution(n, "head", top, num_output=1280, kernel_size=1)
    top = n.pool = L.Pooling(top, pool=P.Pooling.AVE, global_pooling=True)
    n.fc = L.InnerProduct(top, num_output=1000)
    n.prob = L.Softmax(n.fc)
    net = n.to_proto()
    net.name = "EfficientNet-Lite0"
    return net
