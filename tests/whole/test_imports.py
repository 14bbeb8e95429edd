"""Nets keep what they compute on the way into Caffe and back; other readers agree.

`python -m benchmarks.imports` runs the nets of PyTorch's world, by all readers.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

import caffe
from benchmarks import imports
from benchmarks.exports import load, outputs_of
from benchmarks.imports import one_difference as difference
from caffe.export.onnx_file import whole_proto
from caffe.export.onnx_model import build
from caffe.imports import torch_source
from caffe.imports.onnx_source import Source
from tests.helpers.exported import run_torch

pytest.importorskip("onnx")

NAMES = (
    "hyperlpr_segmentation/Segmentation.prototxt",
    "lenet_v1fmt/lenet.prototxt",
    "mtcnn/det1.prototxt",
    "mtcnn/det3.prototxt",
    "ultraface_slim320/slim-320.prototxt",
    "wechat_qrcode/sr.prototxt",
)
"""Small nets with their trained weights."""


@pytest.fixture(autouse=True)
def _one_thread() -> object:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


Traced = tuple[torch.nn.Module, torch.Tensor, Source]


@pytest.fixture(scope="module")
def traced() -> Traced:
    """A module of what most nets are made of, a picture for it, and what PyTorch made of both."""
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, 2, 1, bias=False),
        torch.nn.BatchNorm2d(8),
        torch.nn.Hardswish(),
        torch.nn.MaxPool2d(3, 2, 1),
        torch.nn.Conv2d(8, 8, 3, 1, 1, groups=8),
        torch.nn.SiLU(),
        torch.nn.Upsample(scale_factor=2, mode="nearest"),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(8, 5),
    )
    picture = torch.randn(1, 3, 32, 32)
    return module.eval(), picture, torch_source.traced(module.eval(), picture)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("target", ["opencv", "rknn"])
def test_caffe_to_onnx_and_back(name: str, target: str, shared: Path) -> None:
    net = load(name)
    assert net is not None
    outputs = outputs_of(net)
    made = caffe.imports.load(whole_proto(build(net, outputs)), target=target)
    back = made.to_net()
    found = back.forward(**{own: net.blobs[own].data for own in back.inputs})
    for theirs, ours in zip(made.outputs, outputs, strict=True):
        assert difference(found[theirs], net.blobs[ours].data) < 1e-4


@pytest.mark.parametrize("target", caffe.imports.TARGETS)
def test_pytorch_to_caffe_and_back(target: str, traced: Traced, tmp_path: Path) -> None:
    module, picture, source = traced
    text, weights = tmp_path / "net.prototxt", tmp_path / "net.caffemodel"
    caffe.imports.load(source, target=target).save(text, weights)
    back = caffe.export.module(caffe.Net(text, caffe.TEST, weights=weights))
    (wanted,) = run_torch(module, [picture.numpy()])
    (found,) = run_torch(back, [picture.numpy()])
    assert difference(found, wanted) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("reader", [name for name in imports.READERS if name != imports.OURS])
def test_other_readers(reader: str) -> None:
    folder, python = os.environ.get("RECAFFE_NETS"), os.environ.get(f"RECAFFE_{reader.upper()}")
    if folder is None or python is None:
        pytest.skip(
            "RECAFFE_NETS is a folder of benchmarks/source_nets.py, and RECAFFE_"
            f"{reader.upper()} a Python that has {reader}"
        )
    for name in ("torchvision_squeezenet1_1", "yolov8_kind"):
        found = imports.measure(Path(folder) / f"{name}.onnx", {reader: python})
        assert imports.is_good(reader, found[reader]), found
