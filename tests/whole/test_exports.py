"""Published nets compute in ONNX Runtime, and as modules, what they compute here.

`python -m benchmarks.exports` runs all of them.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.exports import compare, load

pytest.importorskip("onnxruntime")

NAMES = (
    "hyperlpr_segmentation/Segmentation.prototxt",
    "lenet_v1fmt/lenet.prototxt",
    "libfacedetection_v1/yufacedetectnet-open-v1.prototxt",
    "mtcnn/det1.prototxt",
    "mtcnn/det3.prototxt",
    "ultraface_slim320/slim-320.prototxt",
    "wechat_qrcode/sr.prototxt",
)
"""Small nets with their trained weights."""


@pytest.mark.parametrize("name", NAMES)
def test_a_published_net(name: str, shared: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        net = load(name)
        assert net is not None
        result = compare(name, net)
        assert result.is_good, result
    finally:
        torch.set_num_threads(threads)
