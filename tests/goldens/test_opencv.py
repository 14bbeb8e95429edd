"""Detectors and half-precision weights give what OpenCV's importer gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.helpers.golden import assert_golden, trained_net

MODELS = [
    "hyperlpr_finemapping__HorizonalFinemapping_fp16",
    "libfacedetection_v1__yufacedetectnet-open-v1",
    "ultraface_slim320__slim-320",
    "wechat_qrcode__detect",
]
LEAST_SCORE = 0.05


def detections(blob: np.ndarray) -> np.ndarray:
    """The rows above the least score, the best first."""
    rows = blob.reshape(-1, 7)
    rows = rows[rows[:, 2] > LEAST_SCORE]
    return rows[np.argsort(-rows[:, 2], kind="stable")]


def assert_detections(found: np.ndarray, golden: np.ndarray) -> None:
    found, golden = detections(found), detections(golden)
    assert len(found) == len(golden)
    np.testing.assert_array_equal(found[:, :2], golden[:, :2])
    np.testing.assert_allclose(found[:, 2], golden[:, 2], rtol=0, atol=1e-3)
    np.testing.assert_allclose(found[:, 3:], golden[:, 3:], rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", MODELS)
def test_model_equals_opencv(name: str, shared: Path) -> None:
    net, golden = trained_net(shared / "goldens" / "opencv" / f"{name}.npz", shared)
    net.forward()
    for key, values in golden.items():
        kind, _, layer = key.partition("/")
        if kind != "out":
            continue
        # OpenCV names a top by its layer.
        found = net.blobs[net.top_names[layer][0] if layer in net.top_names else layer].data
        if values.shape[:2] == (1, 1) and values.shape[3:] == (7,):
            assert_detections(found, values)
        else:
            assert_golden(found, values, layer)
