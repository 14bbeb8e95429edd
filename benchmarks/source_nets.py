"""Nets of PyTorch's world as ONNX files, for `benchmarks/imports.py`.

Runs beside torchvision and timm, which want a PyTorch of their own; needs nothing of this project:
``python benchmarks/source_nets.py FOLDER [NAME ...]``. Weights are random, BatchNorm's statistics
those of what comes in. Beside each ``NAME.onnx`` lies ``NAME.npz`` with the input and PyTorch's
outputs (``input``, ``output0``, ``output1``, ...), and how far these are from double precision's
(``rough``).
"""

from __future__ import annotations

import sys
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn
from yolo_nets import YoloV5, YoloV8

Maker = Callable[[], nn.Module]

SIDE = 96
"""The pictures' side; at it, MaxPool of 3 by 3 in steps of 2 is not rounded as Caffe rounds."""

TORCHVISION = {
    "alexnet": 224, "vgg11": 224, "googlenet": 128, "inception_v3": 139, "resnet18": SIDE,
    "resnet50": SIDE, "resnext50_32x4d": SIDE, "densenet121": SIDE, "squeezenet1_1": SIDE,
    "mobilenet_v2": SIDE, "mobilenet_v3_small": SIDE, "mobilenet_v3_large": SIDE,
    "shufflenet_v2_x1_0": SIDE, "mnasnet1_0": SIDE, "efficientnet_b0": SIDE,
    "regnet_x_400mf": SIDE, "regnet_y_400mf": SIDE, "convnext_tiny": SIDE,
}  # fmt: skip
"""torchvision's classifiers, with their pictures' side."""

SEGMENTATION = ("fcn_resnet50", "deeplabv3_resnet50", "deeplabv3_mobilenet_v3_large",
                "lraspp_mobilenet_v3_large")  # fmt: skip
"""torchvision's nets that name every pixel."""

TIMM = (
    "convnext_atto", "cspresnet50", "darknet53", "densenet121", "dla34", "efficientnet_lite0",
    "ghostnet_100", "hrnet_w18_small", "legacy_xception", "mnasnet_small", "mobilenetv2_100",
    "mobilenetv3_small_100", "regnety_002", "repvgg_a0", "resnet26d", "seresnext26d_32x4d",
    "tf_efficientnet_b0", "vgg11_bn",
)  # fmt: skip
"""timm's nets."""


class Mapped(nn.Module):
    """A net whose outputs come in a dict, with its main output alone."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run it."""
        return self.net(x)["out"]


def _torchvision(name: str) -> Maker:
    import torchvision

    more = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
    return lambda: torchvision.models.get_model(name, weights=None, **more)


def _segmentation(name: str) -> Maker:
    import torchvision

    return lambda: Mapped(
        torchvision.models.get_model(name, weights=None, weights_backbone=None, aux_loss=False)
        if "lraspp" not in name
        else torchvision.models.get_model(name, weights=None, weights_backbone=None)
    )


def _timm(name: str) -> Maker:
    import timm

    return lambda: timm.create_model(name, pretrained=False, exportable=True)


def nets() -> dict[str, tuple[Maker, int]]:
    """Every net's name, what makes it, and its pictures' side."""
    found: dict[str, tuple[Maker, int]] = {}
    for name, side in TORCHVISION.items():
        found[f"torchvision_{name}"] = _torchvision(name), side
    for name in SEGMENTATION:
        found[f"torchvision_{name}"] = _segmentation(name), SIDE
    for name in TIMM:
        found[f"timm_{name}"] = _timm(name), 224 if name == "vgg11_bn" else SIDE
    found["yolov5_kind"], found["yolov8_kind"] = (YoloV5, SIDE), (YoloV8, SIDE)
    return found


def settle(net: nn.Module, side: int) -> None:
    """Give a net values under which every layer counts; BatchNorm has its input's statistics."""
    norms = [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    with torch.no_grad():
        for parameter in net.parameters():
            # What begins as one number would hide mistakes, and ConvNeXt's as good as nothing.
            if parameter.ndim <= 4 and parameter.numel() > 1 and parameter.unique().numel() == 1:
                around = 0.0 if float(parameter.flatten()[0]) == 0 else 0.8
                parameter.copy_(around + 0.2 * torch.randn_like(parameter))
        net.eval()
        for norm in norms:
            norm.train()
            norm.momentum = None
            norm.reset_running_stats()
        for _ in range(3 if norms else 0):
            net(torch.randn(4, 3, side, side))
    net.eval()


def write(folder: Path, name: str, maker: Maker, side: int) -> None:
    """Write one net and its values."""
    torch.manual_seed(zlib.crc32(name.encode()))
    net = maker()
    settle(net, side)
    picture = torch.randn(1, 3, side, side)
    with torch.no_grad():
        outputs = _all(net(picture))
    target = folder / f"{name}.onnx"
    torch.onnx.export(net, (picture,), target, external_data=False, verbose=False)
    arrays = {f"output{i}": output.numpy() for i, output in enumerate(outputs)}
    rough = max(map(_rough, outputs, _exactly(net, picture)))
    np.savez(target.with_suffix(".npz"), input=picture.numpy(), rough=rough, **arrays)
    told = ", ".join(f"{tuple(a.shape)} up to {np.abs(a).max():.3g}" for a in arrays.values())
    print(f"{name}: {told}; {target.stat().st_size / 1e6:.1f} MB", flush=True)


def _all(found: torch.Tensor | tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return found if isinstance(found, tuple) else (found,)


def _exactly(net: nn.Module, picture: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """What double precision gives."""
    with torch.no_grad():
        return _all(net.double()(picture.double()))


def _rough(single: torch.Tensor, double: torch.Tensor) -> float:
    """How far float32 is from it, as a part of the largest value."""
    return float((single - double).abs().max() / double.abs().max())


def main() -> None:
    """Write all nets, or those whose names hold a word."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    folder, *words = sys.argv[1:]
    Path(folder).mkdir(parents=True, exist_ok=True)
    bad = []
    for name, (maker, side) in nets().items():
        if words and not any(word in name for word in words):
            continue
        try:
            write(Path(folder), name, maker, side)
        except Exception as error:
            bad.append(name)
            print(f"{name}: {type(error).__name__}: {str(error)[:500]}", flush=True)
    sys.exit(f"not written: {', '.join(bad)}" if bad else 0)


if __name__ == "__main__":
    main()
