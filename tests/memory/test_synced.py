"""Blobs keep their CPU and GPU sides in step; a second CPU store stands for the GPU."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch

import caffe
from caffe import mode
from caffe.memory.blob import Blob
from caffe.memory.synced import Head, SyncedMemory
from tests.helpers.second_store import CountingStore, use_store


@pytest.fixture
def store() -> Iterator[CountingStore]:
    second = CountingStore()
    use_store(second)
    yield second
    caffe.set_mode_cpu()


def test_memory_starts_uninitialized_and_reads_zeros() -> None:
    memory = SyncedMemory(3)
    assert memory.head is Head.UNINITIALIZED
    assert memory.cpu().tolist() == [0, 0, 0]
    assert memory.head is Head.AT_CPU


def test_memory_moves_only_when_the_other_side_is_asked_for(store: CountingStore) -> None:
    memory = SyncedMemory(2)
    memory.mutable_cpu()[:] = 1
    assert memory.gpu(store).tolist() == [1, 1]
    assert memory.head is Head.SYNCED
    memory.gpu(store)
    memory.cpu()
    assert store.moved == (1, 0)
    memory.put(torch.tensor([2.0, 2.0]), store)
    assert memory.head is Head.AT_GPU
    assert memory.cpu().tolist() == [2, 2]
    assert memory.head is Head.SYNCED
    assert store.moved == (1, 1)
    memory.mutable_cpu()[:] = 3
    assert memory.head is Head.AT_CPU
    assert memory.gpu(store).tolist() == [3, 3]
    assert store.moved == (2, 1)


def test_what_is_written_anew_for_each_forward_moves_once_to_where_it_is_sent_from(
    store: CountingStore,
) -> None:
    blob = Blob((2,))
    places = []
    for number in range(5):
        blob.data[...] = number
        assert blob.data_tensor(store).tolist() == [number, number]
        places.append(blob.data.__array_interface__["data"][0])
    assert len(set(places[1:])) == 1
    # Not while somebody has the array: its place stays.
    held_blob = Blob((2,))
    held = held_blob.data
    for number in range(5):
        held[...] = number
        assert held_blob.data_tensor(store).tolist() == [number, number]
    assert np.shares_memory(held_blob.data, held)


def test_memory_moves_between_two_stores_by_the_cpu(store: CountingStore) -> None:
    other = CountingStore()
    memory = SyncedMemory(1)
    memory.put(torch.tensor([5.0]), store)
    assert memory.gpu(other).tolist() == [5]
    assert (store.downloads, other.uploads) == (1, 1)


def test_what_was_written_into_an_array_before_it_was_dropped_is_read(
    store: CountingStore,
) -> None:
    blob = Blob((2,))
    held = blob.data
    assert blob.data_tensor(store).tolist() == [0, 0]
    held[...] = 1
    del held
    assert blob.data_tensor(store).tolist() == [1, 1]
    moved = store.moved
    assert blob.data_tensor(store).tolist() == [1, 1]
    assert store.moved == moved
    blob.put_data(torch.tensor([2.0, 2.0]), store)
    held = blob.data
    assert blob.data_tensor(store).tolist() == [2, 2]
    blob.put_data(torch.tensor([3.0, 3.0]), store)
    assert blob.data_tensor().tolist() == [3, 3]
    held[...] = 4
    del held
    assert blob.data_tensor(store).tolist() == [4, 4]


def test_values_that_are_overwritten_while_another_thread_looks_are_not_the_newest() -> None:
    class Slow(CountingStore):
        def download(self, array: torch.Tensor) -> torch.Tensor:
            old = super().download(array)
            if self.downloads == 1:
                # The other thread goes on.
                array.fill_(2)
                memory.hold(result, self)
            return old

    slow, memory, result = Slow(), SyncedMemory(2), SyncedMemory(2)
    result.put_formed(torch.ones(2), slow)
    memory.hold(result, slow)
    assert memory.cpu().tolist() == [2, 2]


def test_a_lent_array_keeps_its_place_and_shows_new_values(store: CountingStore) -> None:
    blob = Blob((2,))
    held = blob.data
    blob.put_data(torch.tensor([1.0, 2.0]))
    assert held.tolist() == [1, 2]
    blob.put_data(torch.tensor([3.0, 4.0]), store)
    assert blob.data.tolist() == [3, 4]
    assert held.tolist() == [3, 4]


def test_the_filler_runs_only_if_nobody_writes_first() -> None:
    filled = []
    memory = SyncedMemory(1, lambda array: filled.append(array.fill_(7)))
    memory.put(torch.ones(1), None)
    assert memory.cpu().tolist() == [1]
    assert not filled
    memory = SyncedMemory(1, lambda array: filled.append(array.fill_(7)))
    assert memory.cpu().tolist() == [7]


NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
        inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "ip" top: "ip" }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""


def test_net_gives_the_same_in_both_modes_and_uploads_once(store: CountingStore) -> None:
    values = np.random.default_rng(0).normal(size=(2, 3))
    net = caffe.Net(NET, caffe.TEST)
    on_gpu = net.forward(data=values)["prob"].copy()
    # One upload for the input and one for each parameter; one download for the output.
    assert store.moved == (3, 1)
    net.forward(data=values)
    assert store.moved == (4, 2)
    caffe.set_mode_cpu()
    assert np.allclose(net.forward(data=values)["prob"], on_gpu)


def test_writing_a_parameter_reaches_the_gpu(store: CountingStore) -> None:
    net = caffe.Net(NET, caffe.TEST)
    net.forward(data=np.ones((2, 3)))
    net.params["ip"][0].data[...] = 0
    assert np.allclose(net.forward()["prob"], 0.25)


def test_gradients_are_the_same_in_both_modes(store: CountingStore) -> None:
    caffe.set_random_seed(1)
    net = caffe.Net("force_backward: true" + NET, caffe.TEST)
    net.forward(data=np.eye(2, 3))
    on_gpu = net.backward(prob=np.eye(2, 4))["data"].copy()
    weights = net.params["ip"][0].diff.copy()
    caffe.set_mode_cpu()
    net.clear_param_diffs()
    assert np.allclose(net.backward(prob=np.eye(2, 4))["data"], on_gpu)
    assert np.allclose(net.params["ip"][0].diff, weights)


def test_mode_belongs_to_the_thread(store: CountingStore) -> None:
    seen = []
    thread = threading.Thread(target=lambda: seen.append(mode.current_store()))
    thread.start()
    thread.join()
    assert seen == [None]
    assert mode.current_store() is store
