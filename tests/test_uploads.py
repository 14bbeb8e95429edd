"""Pictures go to a GPU as bytes, and become there what the CPU makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import caffe
from caffe.uploads import Sender
from tests.helpers.second_store import CountingStore, use_store

NET = """
layer {{ name: "data" type: "Input" top: "data"
        input_param {{ shape {{ dim: 4 dim: {} dim: 8 dim: 6 }} }} }}
layer {{ name: "root" type: "Power" bottom: "data" top: "root" power_param {{ scale: 0.5 }} }}
"""
SIZES = [(13, 11), (20, 31), (9, 40), (3, 2), (8, 6), (200, 1)]
MEAN_PICTURE = np.random.default_rng(1).random((3, 13, 11)).astype(np.float32)


class Weighing(CountingStore):
    """A second store in the GPU's place that notes what is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[tuple[torch.dtype, int]] = []

    def upload(self, array: torch.Tensor) -> torch.Tensor:
        self.sent.append((array.dtype, array.numel() * array.element_size()))
        return super().upload(array)


@pytest.fixture
def store() -> Iterator[Weighing]:
    store = Weighing()
    use_store(store)
    yield store
    caffe.set_mode_cpu()


def pictures(channels: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(20, 256, (*size, channels), np.uint8) for size in SIZES]


def classifier(folder: Path, channels: int = 3, **options: Any) -> caffe.Classifier:
    model, weights = folder / "net.prototxt", folder / "net.caffemodel"
    model.write_text(NET.format(channels))
    caffe.Net(model, caffe.TEST).save(weights)
    return caffe.Classifier(model, weights, **options)


WAYS: list[dict[str, Any]] = [
    {},
    {"image_dims": (13, 11), "raw_scale": 255, "channel_swap": (2, 1, 0), "mean": [104, 117, 123]},
    {"image_dims": (13, 11), "mean": MEAN_PICTURE, "input_scale": 0.017},
    {"image_dims": (8, 6), "raw_scale": 255, "channel_swap": (2, 1, 0), "input_scale": 0.5},
]


@pytest.mark.parametrize("oversample", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_what_the_net_gets_is_what_the_cpu_makes(
    way: dict[str, Any], oversample: bool, store: Weighing, tmp_path: Path
) -> None:
    net = classifier(tmp_path, **way)
    caffe.set_mode_cpu()
    expected = np.concatenate(list(net.run(pictures(), oversample=oversample)))
    use_store(store)
    found = np.concatenate(list(net.run(pictures(), oversample=oversample)))
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-7 * np.abs(expected).max())
    sent = [size for dtype, size in store.sent if dtype == torch.uint8]
    assert sorted(sent) == sorted(image.size for image in pictures())
    # Beside them go means and places, and no picture as floats.
    assert all(size <= MEAN_PICTURE.nbytes for dtype, size in store.sent if dtype != torch.uint8)


def test_grey_bytes_and_floats_go_in_alike(store: Weighing, tmp_path: Path) -> None:
    net = classifier(tmp_path, 1, raw_scale=255)
    given = [pictures(1)[0], pictures(1)[1] / np.float32(255), pictures(1)[2]]
    found = np.concatenate(list(net.run(given)))
    caffe.set_mode_cpu()
    expected = np.concatenate(list(net.run(given)))
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-7 * np.abs(expected).max())


def test_a_rest_of_a_batch_leaves_zeros_behind_it(store: Weighing, tmp_path: Path) -> None:
    net = classifier(tmp_path)
    prepare = net.preparer(oversample=False)
    rows = list(net.run_prepared(prepare(image, 255.0) for image in pictures()[:5]))
    assert [len(row) for row in rows] == [4, 1]
    data = net.blobs["data"].data
    assert data[0].any()
    assert not data[1:].any()


def test_a_transformer_of_ones_own_is_asked(store: Weighing, tmp_path: Path) -> None:
    class Own(caffe.io.Transformer):
        def preprocess(self, *arguments: Any, **keywords: Any) -> Any:
            return 2 * super().preprocess(*arguments, **keywords)

    net = classifier(tmp_path)
    sent = net.preparer(oversample=False)(pictures()[0], 255.0)
    assert isinstance(sent, torch.Tensor)
    own = Own(net.transformer.inputs)
    own.set_transpose("data", (2, 0, 1))
    net.transformer = own
    assert isinstance(net.preparer(oversample=False)(pictures()[0], 255.0), np.ndarray)


def test_what_is_no_picture_in_bytes_is_left_to_the_cpu(store: Weighing, tmp_path: Path) -> None:
    sender = Sender(classifier(tmp_path).recipe, store)
    assert sender.takes(pictures()[0])
    for other in (pictures()[0].astype(np.float32), pictures(1)[0], pictures()[0][:0]):
        assert not sender.takes(other)
