"""Memory that does not suffice, or is not needed any more, where a GPU's place is taken."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

import caffe
from caffe.engine import runner
from caffe.errors import OutOfMemoryError
from caffe.memory.stores import Recording
from tests.helpers.plans import plan_of
from tests.helpers.second_store import CountingStore, use_store

TEXT = """
layer { name: "d" type: "Input" top: "d" input_param { shape { dim: [1, 4, 64, 64] } } }
layer { name: "c" type: "Convolution" bottom: "d" top: "c" convolution_param {
        num_output: 16 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }
layer { name: "r" type: "ReLU" bottom: "c" top: "c" }
layer { name: "p" type: "Pooling" bottom: "c" top: "p" pooling_param { kernel_size: 3 } }
layer { name: "e" type: "Convolution" bottom: "p" top: "e" convolution_param {
        num_output: 16 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }
"""
SAID = (
    "CUDA out of memory. Tried to allocate 512.00 MiB. GPU 0 has a total capacity of 139.80 GiB of "
    "which 2.47 GiB is free. Including non-PyTorch memory, this process has 5.32 GiB memory in use."
    " Of the allocated memory 1.63 GiB is allocated by PyTorch, and 3.02 GiB is reserved by PyTorch"
    " but unallocated. If reserved but unallocated memory is large try setting PYTORCH_ALLOC_CONF"
)


class Full(CountingStore):
    """A second store with no memory for what is asked of it."""

    is_full_of_inputs = False

    def upload(self, array: torch.Tensor) -> torch.Tensor:
        if self.is_full_of_inputs:
            raise torch.OutOfMemoryError(SAID)
        return super().upload(array)

    def record(self, function: Callable[[], Sequence[torch.Tensor]]) -> Recording:
        function()
        raise torch.OutOfMemoryError(SAID)


@pytest.fixture
def store() -> Iterator[Full]:
    store = Full()
    use_store(store)
    yield store
    caffe.set_mode_cpu()


def test_a_recording_for_which_memory_does_not_suffice_is_told_in_a_sentence(store: Full) -> None:
    net = caffe.Net(TEXT, caffe.TEST)
    expected = net.forward()["e"].copy()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(7):
            np.testing.assert_array_equal(net.forward()["e"], expected)
    assert [str(one.message) for one in told] == [
        "the net runs less quickly than it might: memory does not suffice for a recording; a "
        "smaller batch needs less"
    ]


def test_inputs_for_which_it_does_not_suffice_name_who_reads_them(store: Full) -> None:
    net = caffe.Net(TEXT, caffe.TEST)
    store.is_full_of_inputs = True
    net.blobs["d"].data[...] = 1
    with pytest.raises(OutOfMemoryError) as caught:
        net.forward()
    assert str(caught.value) == (
        "layer 'c' (Convolution): out of memory (CUDA out of memory. Tried to allocate 512.00 MiB. "
        "GPU 0 has a total capacity of 139.80 GiB of which 2.47 GiB is free); a smaller batch "
        "needs less (bottoms 'd' (1, 4, 64, 64); parameters (16, 4, 3, 3), (16,))"
    )
    store.is_full_of_inputs = False
    assert np.abs(net.forward()["e"]).max() > 0


LITTLE = """
import resource, sys
import numpy as np
import caffe
from tests.helpers.second_store import CountingStore, use_store

use_store(CountingStore())
net = caffe.Net(sys.argv[1], caffe.TEST)
blob = net.blobs["d"]
blob.reshape(64, 4, 64, 64)
blob.data[...] = 1
blob.reshape(1, 4, 64, 64)
expected = net.forward()["e"].copy()
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
failures = 0
for more in range(24, 140, 8):
    resource.setrlimit(resource.RLIMIT_AS, (used + more * 2**20, resource.RLIM_INFINITY))
    blob.reshape(64, 4, 64, 64)
    try:
        for _ in range(7):
            net.forward()
    except caffe.CaffeError as error:
        failures += 1
        assert isinstance(error, MemoryError), error
        told = str(error)
        assert told.startswith("layer '") and "bottoms '" in told and "smaller batch" in told, told
        # Still inside: the error is being handled.
        blob.reshape(1, 4, 64, 64)
        assert np.allclose(net.forward()["e"], expected, atol=1e-5)
print(failures)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the system limits no process's memory")
def test_wherever_it_does_not_suffice_the_error_names_the_layer_and_smaller_ones_run() -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LITTLE, TEXT],
        cwd=Path(__file__).parents[2],
        # Each thread that begins takes memory, too.
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) >= 3


@pytest.fixture
def much_is_a_megabyte(monkeypatch: pytest.MonkeyPatch) -> Iterator[CountingStore]:
    monkeypatch.setattr(runner, "WORTH_GIVING_BACK", 2**20)
    store = CountingStore()
    use_store(store)
    yield store
    caffe.set_mode_cpu()


def test_memory_is_given_back_when_a_net_is_made_smaller(
    much_is_a_megabyte: CountingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, net = much_is_a_megabyte, caffe.Net(TEXT, caffe.TEST)
    for batch, times in ((1, 0), (8, 0), (7, 0), (1, 1), (8, 1), (1, 1)):
        net.blobs["d"].reshape(batch, 4, 64, 64)
        before = weakref.ref(plan_of(net)) if net._runner.plans else lambda: None
        for _ in range(2):
            net.forward()
        # The last time was a moment ago.
        assert store.given_back == times
        assert before() is None
    monkeypatch.setattr(runner, "SELDOM", 0.0)
    for batch, times in ((8, 1), (1, 2)):
        net.blobs["d"].reshape(batch, 4, 64, 64)
        net.forward()
        assert store.given_back == times


def test_a_step_s_history_for_which_it_does_not_suffice_is_told(
    store: Full, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = TEXT + ('layer { name: "sum" type: "Reduction" bottom: "e" top: "sum" loss_weight: 1 }')
    solver = caffe.AdamSolver(f'base_lr: 1 lr_policy: "fixed" net_param {{ {text} }}')
    monkeypatch.setattr(torch, "_foreach_mul_", _no_memory)
    with pytest.raises(OutOfMemoryError, match=r"is free\); a smaller batch needs less"):
        solver.step(1)


def _no_memory(*arguments: object) -> None:
    raise torch.OutOfMemoryError(SAID)
