"""MemoryData: arrays in, batches out."""

from __future__ import annotations

import numpy as np
import pytest

import caffe
from tests.helpers.sources import RANDOM, source


def memory_net(**sizes: int) -> caffe.Net:
    fields = {"batch_size": 2, "channels": 1, "height": 2, "width": 3, **sizes}
    text = " ".join(f"{name}: {value}" for name, value in fields.items())
    return source(f'type: "MemoryData" memory_data_param {{ {text} }}')


def test_memory_data_goes_round_in_batches() -> None:
    net = memory_net()
    assert net.blobs["data"].shape == (2, 1, 2, 3)
    assert net.blobs["label"].shape == (2,)
    data = RANDOM.random((4, 1, 2, 3), dtype=np.float32)
    net.set_input_arrays(data, np.arange(4, dtype=np.float32))
    for start in (0, 2, 0):
        net.forward()
        np.testing.assert_array_equal(net.blobs["data"].data, data[start : start + 2])
        assert net.blobs["label"].data.ravel().tolist() == [start, start + 1]


def test_memory_data_never_writes_to_the_arrays() -> None:
    net = memory_net()
    data = np.ones((4, 1, 2, 3), np.float32)
    net.set_input_arrays(data, np.zeros(4, np.float32))
    for _ in range(3):
        net.forward()
        net.blobs["data"].data[...] = -5
    assert (data == 1).all()


@pytest.mark.parametrize(
    ("data", "labels", "said"),
    [
        (np.zeros((4, 1, 2, 3)), np.zeros(4, np.float32), "float32"),
        (np.zeros((4, 1, 3, 2), np.float32), np.zeros(4, np.float32), r"\(n, 1, 2, 3\)"),
        (np.zeros((3, 1, 2, 3), np.float32), np.zeros(3, np.float32), "batches of 2"),
        (np.zeros((4, 1, 2, 3), np.float32), np.zeros(2, np.float32), "2 labels"),
        (np.zeros((8, 1, 2, 3), np.float32)[::2], np.zeros(4, np.float32), "C-contiguous"),
        (np.zeros((0, 1, 2, 3), np.float32), np.zeros(0, np.float32), "0 pictures"),
    ],
)
def test_memory_data_refuses_arrays_that_do_not_fit(
    data: np.ndarray, labels: np.ndarray, said: str
) -> None:
    with pytest.raises(caffe.ShapeError, match=f"layer 'in'.*{said}"):
        memory_net().set_input_arrays(data, labels)


def test_memory_data_without_arrays_says_what_to_call() -> None:
    with pytest.raises(caffe.CaffeError, match="set_input_arrays"):
        memory_net().forward()
    with pytest.raises(caffe.NetError, match="batch_size"):
        memory_net(batch_size=0)
