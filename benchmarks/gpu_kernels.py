"""What Recaffe does on a GPU in one go, beside what it replaces, and how long each takes.

`gpu.py` beside it runs this. Where a card's own way is missing (no Triton, no cuDNN), it says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gpu_engines import STAND_IN
from report import Times
from torch.nn import functional as F

import caffe
from caffe.gpu import depthwise, max_pooling, normalizing
from caffe.io.recipe import PictureRecipe
from caffe.layers.lrn import LRN
from caffe.layers.pooling import lowest
from caffe.memory.stores import DeviceStore
from caffe.uploads import Sender

OURS, APART = "one", "apart"
TURNS, CALLS = 5, 20

NORM = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [1, 8, 4, 4] } } }
layer { name: "norm" type: "LRN" bottom: "data" top: "norm"
        lrn_param { local_size: 5 alpha: 0.0001 beta: 0.75 } }
"""


@dataclass(frozen=True)
class Place:
    """Where and in what is computed."""

    device: str
    kind: torch.dtype
    layout: torch.memory_format

    def tensor(self, *shape: int) -> torch.Tensor:
        """Values by chance."""
        values = torch.randn(shape, device=self.device).to(self.kind)
        return values.contiguous(memory_format=self.layout) if len(shape) == 4 else values

    @property
    def name(self) -> str:
        """For people."""
        order = "channels last" if self.layout == torch.channels_last else "channels first"
        return f"{str(self.kind).removeprefix('torch.')}, {order}"


def figures(device: str, quick: bool) -> Iterator[dict[str, Any]]:
    """Time each of them in both ways, after comparing what they compute."""
    batch = 1 if quick or device == "cpu" else 50
    kinds = (torch.float32,) if device == "cpu" else (torch.float32, torch.float16)
    for kind in kinds:
        for layout in (torch.contiguous_format, torch.channels_last):
            place = Place(device, kind, layout)
            yield _figure(f"LRN, CaffeNet's first, batch {batch}, {place.name}", _lrn(place, batch))
            yield _figure(f"its gradient, {place.name}", _lrn_gradient(place, batch))
            yield _figure(f"maximum pooling, 3 x 3 / 2, {place.name}", _max_pool(place, batch))
    place = Place(device, kinds[-1], torch.channels_last)
    yield _figure(f"3 x 3 convolution and ReLU, batch {batch}, {place.name}", _relu(place, batch))
    for size, stride in ((3, 1), (3, 2), (5, 1), (5, 2)):
        what = f"{size} x {size} / {stride} of each of 144 channels, {place.name}"
        yield _figure(what, _depthwise(place, batch, size, stride))
    yield _figure(f"1 x 1 convolution, sum and ReLU, {place.name}", _sum(place, batch))
    yield _figure(f"{batch} pictures of 500 x 375, sent and prepared", _pictures(device, batch))


Ways = dict[str, Callable[[], Any]]


def _lrn(place: Place, batch: int) -> Ways:
    layer, x = _norm(), place.tensor(batch, 96, 55, 55)
    return {
        OURS: lambda: _known(normalizing.takes(x, 5)) and normalizing.forward(x, *layer.numbers),
        APART: lambda: layer.forward(x.detach().requires_grad_()).detach(),
    }


def _lrn_gradient(place: Place, batch: int) -> Ways:
    layer, x, diff = _norm(), *(place.tensor(batch, 96, 55, 55) for _ in "12")
    # Float32's own tensor is one of these too, and the kernel refuses what needs a gradient.
    wide = x.float().clone().requires_grad_(), diff.float()
    return {
        OURS: lambda: (
            _known(normalizing.takes(x, 5)) and normalizing.backward(diff, x, *layer.numbers)
        ),
        # What needs a gradient itself goes by PyTorch's operations.
        APART: lambda: _apart(layer, *wide).to(place.kind),
    }


def _apart(layer: LRN, x: torch.Tensor, diff: torch.Tensor) -> torch.Tensor:
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(layer.forward(x), x, diff)
    return gradient


def _norm() -> LRN:
    return caffe.Net(NORM, caffe.TEST).layer_dict["norm"]


def _max_pool(place: Place, batch: int) -> Ways:
    x = place.tensor(batch, 96, 55, 55)
    least = lowest(x)
    how = (3, 3), (2, 2), (0, 0)
    return {
        OURS: lambda: (
            _known(max_pooling.takes(x)) and max_pooling.forward(x, *how, (27, 27), least)
        ),
        APART: lambda: F.max_pool2d(torch.where(x > least, x, least), *how, ceil_mode=True),
    }


def _known(is_taken: bool) -> bool:
    if not is_taken:
        raise RuntimeError("no GPU, or Triton does not work here")
    return True


def _relu(place: Place, batch: int) -> Ways:
    x, weight, bias = place.tensor(batch, 64, 56, 56), place.tensor(64, 64, 3, 3), place.tensor(64)
    how = (1, 1), (1, 1), (1, 1), 1
    return {
        OURS: lambda: torch.cudnn_convolution_relu(x, weight, bias, *how),
        APART: lambda: F.conv2d(x, weight, bias, *how).relu_(),
    }


def _depthwise(place: Place, batch: int, size: int, stride: int) -> Ways:
    x, weight = place.tensor(batch, 144, 28, 28), place.tensor(144, 1, size, size)
    bias, turned = place.tensor(144), depthwise.turned(weight)
    how = (stride, stride), (size // 2, size // 2), (1, 1)

    return {
        OURS: lambda: (
            _known(depthwise.takes(x, (size, size)))
            and depthwise.forward(x, turned, bias, *how, slope=0.0, most=6.0)
        ),
        APART: lambda: F.conv2d(x, weight, bias, *how, 144).clamp_(0, 6),
    }


def _sum(place: Place, batch: int) -> Ways:
    x, other = place.tensor(batch, 64, 56, 56), place.tensor(batch, 256, 56, 56)
    weight, bias = place.tensor(256, 64, 1, 1), place.tensor(256)
    how = (1, 1), (0, 0), (1, 1), 1
    return {
        OURS: lambda: torch.cudnn_convolution_add_relu(x, weight, other, 1.0, bias, *how),
        APART: lambda: F.conv2d(x, weight, bias, *how).add_(other).relu_(),
    }


def _pictures(device: str, count: int) -> Ways:
    recipe = PictureRecipe((104, 117, 123), crop=(227, 227)).for_input((1, 3, 227, 227))
    store = STAND_IN if device == "cpu" else DeviceStore(torch.device(device, 0))
    sender = Sender(recipe, store)
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (count, 375, 500, 3), np.uint8)

    def apart() -> torch.Tensor:
        items = np.concatenate([recipe.apply(one, white=255.0) for one in pictures])
        return store.upload(torch.from_numpy(items))

    return {
        OURS: lambda: sender.made([sender.send(one, 255.0) for one in pictures]),
        APART: apart,
    }


def _figure(what: str, ways: Ways) -> dict[str, Any]:
    """Both ways' times, if they compute the same; else why there is none."""
    print(what, flush=True)
    try:
        expected, found = (ways[way]().float() for way in (APART, OURS))
        error = float((found - expected).abs().amax() / expected.abs().amax())
        refused = "" if error < 2e-2 else f"its values differ by {error:.2g}"
    except (RuntimeError, AttributeError) as problem:
        refused, error = " ".join(str(problem).split())[:200], None
    kept = {name: way for name, way in ways.items() if not (refused and name == OURS)}
    times = {name: Times() for name in kept}
    for _ in range(TURNS):
        for name, way in kept.items():
            times[name].turns.append([_seconds(way)])
    return {
        "what": what,
        "ms": {name: taken.median for name, taken in times.items()},
        "error": error,
        "refused": refused,
    }


def _seconds(way: Callable[[], Any]) -> float:
    """How long a call takes, of several that follow each other."""
    has_gpu = torch.cuda.is_available()
    calls = CALLS if has_gpu else 1
    way()
    if has_gpu:
        torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(calls):
        way()
    if has_gpu:
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / calls
