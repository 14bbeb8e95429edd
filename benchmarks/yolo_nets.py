"""Nets of the YOLOv5 and YOLOv8 kind in plain PyTorch, up to what their heads give out."""

from __future__ import annotations

import torch
from torch import nn

BINS = 16
"""How many steps of distance YOLOv8's heads weigh against each other."""


class Conv(nn.Sequential):
    """Convolution, BatchNorm and SiLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(outputs, eps=1e-3),
            nn.SiLU(),
        )


class Bottleneck(nn.Module):
    """Two convolutions, around which the input goes to be added."""

    def __init__(self, channels: int, kernel: int, adds: bool) -> None:
        super().__init__()
        self.first, self.second = Conv(channels, channels, kernel), Conv(channels, channels, 3)
        self.adds = adds

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run it."""
        y = self.second(self.first(x))
        return x + y if self.adds else y


class C3(nn.Module):
    """YOLOv5's block: a row of bottlenecks beside one convolution."""

    def __init__(self, inputs: int, outputs: int, count: int = 1, adds: bool = True) -> None:
        super().__init__()
        half = outputs // 2
        self.left, self.right = Conv(inputs, half), Conv(inputs, half)
        self.row = nn.Sequential(*(Bottleneck(half, 1, adds) for _ in range(count)))
        self.last = Conv(outputs, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run it."""
        return self.last(torch.cat([self.row(self.left(x)), self.right(x)], 1))


class C2f(nn.Module):
    """YOLOv8's block: what each bottleneck gives goes on to the end."""

    def __init__(self, inputs: int, outputs: int, count: int = 1, adds: bool = True) -> None:
        super().__init__()
        half = outputs // 2
        self.first = Conv(inputs, outputs)
        self.row = nn.ModuleList(Bottleneck(half, 3, adds) for _ in range(count))
        self.last = Conv((2 + count) * half, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run it."""
        parts = list(self.first(x).chunk(2, 1))
        for block in self.row:
            parts.append(block(parts[-1]))
        return self.last(torch.cat(parts, 1))


class Pyramid(nn.Module):
    """SPPF: the same pooling three times in a row, all four put together."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.last = Conv(channels, channels // 2), Conv(2 * channels, channels)
        self.pool = nn.MaxPool2d(5, 1, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run it."""
        parts = [self.first(x)]
        for _ in range(3):
            parts.append(self.pool(parts[-1]))
        return self.last(torch.cat(parts, 1))


class Body(nn.Module):
    """The backbone, and the way up and down again: three maps, at strides 8, 16 and 32."""

    def __init__(self, block: type[nn.Module], stem: Conv, side: bool, width: int) -> None:
        super().__init__()
        w = width
        self.stem = stem
        self.stage1 = nn.Sequential(Conv(w, 2 * w, 3, 2), block(2 * w, 2 * w, 1))
        self.stage2 = nn.Sequential(Conv(2 * w, 4 * w, 3, 2), block(4 * w, 4 * w, 2))
        self.stage3 = nn.Sequential(Conv(4 * w, 8 * w, 3, 2), block(8 * w, 8 * w, 2))
        self.stage4 = nn.Sequential(Conv(8 * w, 16 * w, 3, 2), block(16 * w, 16 * w, 1))
        self.pyramid = Pyramid(16 * w)
        # YOLOv5 narrows each map before it goes up, YOLOv8 does not.
        up = 8 if side else 16
        self.side4 = Conv(16 * w, 8 * w) if side else nn.Identity()
        self.side3 = Conv(8 * w, 4 * w) if side else nn.Identity()
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.join3 = block((8 + up) * w, 8 * w, 1, False)
        self.join2 = block((4 + up // 2) * w, 4 * w, 1, False)
        self.down2 = Conv(4 * w, 4 * w, 3, 2)
        self.join3b = block((4 + up // 2) * w, 8 * w, 1, False)
        self.down3 = Conv(8 * w, 8 * w, 3, 2)
        self.join4b = block((8 + up) * w, 16 * w, 1, False)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Run it."""
        map2 = self.stage2(self.stage1(self.stem(x)))
        map3 = self.stage3(map2)
        map4 = self.side4(self.pyramid(self.stage4(map3)))
        map3 = self.side3(self.join3(torch.cat([self.up(map4), map3], 1)))
        out2 = self.join2(torch.cat([self.up(map3), map2], 1))
        out3 = self.join3b(torch.cat([self.down2(out2), map3], 1))
        out4 = self.join4b(torch.cat([self.down3(out3), map4], 1))
        return [out2, out3, out4]


class YoloV5(nn.Module):
    """The kind of YOLOv5: three maps of anchors' boxes, object and class scores."""

    def __init__(self, width: int = 16, classes: int = 80) -> None:
        super().__init__()
        self.body = Body(C3, Conv(3, width, 6, 2), True, width)
        self.body.stem[0].padding = (2, 2)
        self.heads = nn.ModuleList(nn.Conv2d(k * width, 3 * (5 + classes), 1) for k in (4, 8, 16))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Run it."""
        return tuple(head(one) for head, one in zip(self.heads, self.body(x), strict=True))


class Distances(nn.Module):
    """DFL: the mean of the steps of distance, as a convolution that is never trained."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.Conv2d(BINS, 1, 1, bias=False).requires_grad_(False)
        self.mean.weight.data[:] = torch.arange(BINS, dtype=torch.float32).view(1, BINS, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run it."""
        batch, _, places = x.shape
        weights = x.view(batch, 4, BINS, places).transpose(2, 1).softmax(1)
        return self.mean(weights).view(batch, 4, places)


class YoloV8(nn.Module):
    """The kind of YOLOv8: distances to the boxes' sides and class scores of all places in a row."""

    def __init__(self, width: int = 16, classes: int = 80) -> None:
        super().__init__()
        self.body = Body(C2f, Conv(3, width, 3, 2), False, width)
        self.classes = classes
        self.boxes = nn.ModuleList(self._head(k * width, 64, 4 * BINS) for k in (4, 8, 16))
        self.scores = nn.ModuleList(self._head(k * width, classes, classes) for k in (4, 8, 16))
        self.distances = Distances()

    @staticmethod
    def _head(inputs: int, middle: int, outputs: int) -> nn.Module:
        first, second = Conv(inputs, middle, 3), Conv(middle, middle, 3)
        return nn.Sequential(first, second, nn.Conv2d(middle, outputs, 1))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Run it."""
        maps = [
            torch.cat([boxes(one), scores(one)], 1).flatten(2)
            for boxes, scores, one in zip(self.boxes, self.scores, self.body(x), strict=True)
        ]
        boxes, scores = torch.cat(maps, 2).split((4 * BINS, self.classes), 1)
        return self.distances(boxes), scores.sigmoid()
