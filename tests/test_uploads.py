"""Pictures go to a GPU as bytes, and become there what the CPU makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import caffe
from caffe import uploads
from caffe.uploads import Sender, Sent, put_items
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


class Operations(TorchDispatchMode):
    """Counts what PyTorch is told to compute."""

    count = 0

    def __torch_dispatch__(self, function, types, arguments=(), named=None):  # type: ignore[no-untyped-def]
        self.count += 1
        return function(*arguments, **(named or {}))


def test_pictures_of_one_size_are_made_together(store: Weighing, tmp_path: Path) -> None:
    net = classifier(tmp_path, **WAYS[1])
    prepare = net.preparer(oversample=False)
    # Enlarged, so that the edges count, each one's own.
    pixels = [np.full((4, 3, 3), value, np.uint8) for value in (10, 30, 50, 70)]
    pixels += np.random.default_rng(5).integers(0, 256, (4, 4, 3, 3), np.uint8)
    counts = []
    # Where the pixels are taken from is sent once.
    for many in (pixels[:1], pixels[:1], pixels):
        given = [prepare(one, 255.0) for one in many]
        with Operations() as told:
            put_items(net.blobs["data"], [item for items in given for item in items])
        counts.append(told.count)
    assert counts[1] <= counts[2] <= counts[1] + 4
    found = np.concatenate(list(net.run(pixels)))
    caffe.set_mode_cpu()
    np.testing.assert_array_equal(found, np.concatenate(list(net.run(pixels))))


@pytest.mark.parametrize("most", [0, 2000, 10**6])
def test_pictures_of_mixed_sizes_keep_their_places(
    most: int, store: Weighing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MOST_AT_ONCE", most)
    net = classifier(tmp_path, **WAYS[2])
    sizes = [(4, 3), (5, 9), (4, 3), (40, 30), (5, 9), (4, 3), (40, 30), (13, 11)]
    rng = np.random.default_rng(2)
    mixed = [rng.integers(0, 256, (*size, 3), np.uint8) for size in sizes]
    found = np.concatenate(list(net.run(mixed)))
    # What takes more memory as bytes is made at once.
    assert isinstance(net.preparer(oversample=False)(mixed[3], 255.0), torch.Tensor)
    alone = np.concatenate([row for one in mixed for row in net.run([one])])
    np.testing.assert_array_equal(found, alone)
    caffe.set_mode_cpu()
    expected = np.concatenate(list(net.run(mixed)))
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-7 * np.abs(expected).max())


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
    assert isinstance(sent, Sent)
    own = Own(net.transformer.inputs)
    own.set_transpose("data", (2, 0, 1))
    net.transformer = own
    assert isinstance(net.preparer(oversample=False)(pictures()[0], 255.0), np.ndarray)


def test_what_is_no_picture_in_bytes_is_left_to_the_cpu(store: Weighing, tmp_path: Path) -> None:
    sender = Sender(classifier(tmp_path).recipe, store)
    assert sender.takes(pictures()[0])
    for other in (pictures()[0].astype(np.float32), pictures(1)[0], pictures()[0][:0]):
        assert not sender.takes(other)
