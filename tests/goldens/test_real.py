"""Trained models give the original's figures on a real picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.helpers.golden import assert_golden, trained_net

MODELS = [
    "cifar10_quick_h5__cifar10_quick_iter_5000_h5",
    "cifar10_quick_v1fmt__cifar10_quick_iter_5000",
    "hyperlpr_finemapping__HorizonalFinemapping",
    "hyperlpr_segmentation__Segmentation",
    "lenet_v1fmt__lenet_iter_10000",
    "lenet_v2fmt__lenet_iter_10000",
    "mtcnn__det1",
    "mtcnn__det2",
    "mtcnn__det3",
    "mtcnn__det4",
    "squeezenet_v1.0__squeezenet_v1_0",
    "wechat_qrcode__sr",
]


@pytest.mark.parametrize("name", MODELS)
def test_trained_model_equals_the_original(name: str, shared: Path) -> None:
    net, golden = trained_net(shared / "goldens" / "real" / f"{name}.npz", shared)
    net.forward()
    for key, values in golden.items():
        kind, _, blob_name = key.partition("/")
        if kind == "out":
            assert_golden(net.blobs[blob_name].data, values, blob_name)
    for blob_name, total in zip(golden["blobs"], golden["sums"], strict=True):
        found = np.abs(net.blobs[str(blob_name)].data.astype(np.float64)).sum()
        assert found == pytest.approx(float(total), rel=1e-4, abs=1e-5), blob_name
