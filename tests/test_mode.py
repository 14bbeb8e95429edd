"""The state of a thread: in what it computes, and what this machine refuses."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import caffe
from caffe import mode
from caffe.devices import device_facts, why_unusable
from caffe.errors import CaffeError
from tests.helpers.card import Card, newer, roundings
from tests.helpers.running import feed, layer_net
from tests.helpers.second_store import use_store

SETTINGS = 'convolution_param { num_output: 8 kernel_size: 3 weight_filler { type: "xavier" } }'


@pytest.mark.filterwarnings("ignore::caffe.CaffeWarning")
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_short_precision_comes_near_float32_or_is_refused_with_a_way_out(precision: str) -> None:
    x = np.random.default_rng(0).normal(size=(2, 4, 9, 9))
    net = layer_net(f'type: "Convolution" {SETTINGS}', [x.shape])
    expected = feed(net, x)[0].copy()
    try:
        caffe.set_precision(precision)
    except CaffeError as refused:
        # What the refusal advises can be had, and nothing has changed.
        assert mode.precision() == torch.float32
        for other in str(refused).partition("; use ")[2].split(" or "):
            caffe.set_precision(other)
            assert mode.precision() == getattr(torch, other)
        caffe.set_precision("float32")
        np.testing.assert_array_equal(feed(net, x)[0], expected)
        return
    try:
        found = feed(net, x)[0]
    finally:
        caffe.set_precision("float32")
    assert found.dtype == np.float32
    assert not np.array_equal(found, expected)
    np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())


@pytest.mark.cpu
@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_gpu_mode_without_a_gpu_raises_and_leaves_the_cpu_mode() -> None:
    reason = why_unusable(device_facts(), 0)
    assert reason is not None
    for attempt in (caffe.set_mode_gpu, lambda: caffe.set_device(0)):
        with pytest.raises(caffe.DeviceError) as caught:
            attempt()
        assert reason in str(caught.value)
    assert caffe.mode.current_store() is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_net_runs_on_the_gpu() -> None:
    net = caffe.Net(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 } } }'
        'layer { name: "y" type: "Power" bottom: "x" top: "y" power_param { scale: 3 } }',
        caffe.TEST,
    )
    caffe.set_device(0)
    caffe.set_mode_gpu()
    try:
        assert net.forward(x=[1, 2])["y"].tolist() == [3, 6]
    finally:
        caffe.set_mode_cpu()


@pytest.mark.parametrize("call", [caffe.set_device, caffe.set_random_seed])
@pytest.mark.parametrize("value", ["x", None])
def test_what_is_no_whole_number_is_refused(call: Callable[[Any], None], value: Any) -> None:
    with pytest.raises(caffe.CaffeError, match="must be a whole number"):
        call(value)


@pytest.mark.usefixtures("gpu_mode")
@pytest.mark.parametrize("wish", [True, False])
def test_a_gpus_float32_is_float32_unless_tf32_was_chosen_and_the_programs_settings_stay(
    wish: bool,
) -> None:
    older = torch.backends.cuda.matmul, torch.backends.cudnn
    for settings in older:
        settings.allow_tf32 = wish
    torch.backends.cudnn.deterministic = True
    for precision, expected in (("float32", "ieee"), ("tf32", "tf32"), ("float16", "ieee")):
        caffe.set_precision(precision)
        with mode.gpu_arithmetic():
            assert roundings() <= {expected}
            assert torch.backends.cudnn.deterministic
        assert [settings.allow_tf32 for settings in older] == [wish] * 2


@pytest.mark.usefixtures("gpu_mode")
def test_a_program_may_set_pytorchs_newer_names_of_tf32() -> None:
    for settings in newer():
        settings.fp32_precision = "tf32"
    for precision, expected in (("float32", "ieee"), ("tf32", "tf32")):
        caffe.set_precision(precision)
        with mode.gpu_arithmetic():
            assert roundings() <= {expected}
        assert roundings() <= {"tf32"}


def test_what_another_device_draws_follows_from_the_threads_seed() -> None:
    assert mode.generator_on(torch.device("cpu")) is mode.generator()
    caffe.set_random_seed(3)
    first = mode.draw_seed(), mode.draw_seed()
    caffe.set_random_seed(3)
    assert (mode.draw_seed(), mode.draw_seed()) == first
    assert first[0] != first[1]


class Computing(threading.Thread):
    """A thread on the GPU that computes until it is told to stop."""

    def __init__(self, precision: str) -> None:
        super().__init__()
        self._precision = precision
        self._begun, self._told = threading.Event(), threading.Event()

    def run(self) -> None:
        use_store(Card())
        caffe.set_precision(self._precision)
        with mode.gpu_arithmetic():
            self._begun.set()
            self._told.wait(10)

    def __enter__(self) -> None:
        self.start()
        assert self._begun.wait(10)

    def __exit__(self, *error: object) -> None:
        self._told.set()
        self.join()


@pytest.mark.usefixtures("gpu_mode")
@pytest.mark.parametrize("other", ["float32", "tf32"])
def test_threads_that_compute_at_once_round_no_others_factors(other: str) -> None:
    program = roundings()
    thread = Computing(other)
    with mode.gpu_arithmetic():
        with thread:
            assert roundings() == {"ieee"}
        # The other one has come and gone meanwhile, and the one below comes to go later.
        assert roundings() == {"ieee"}
        thread = Computing(other)
        thread.__enter__()
    try:
        assert roundings() == {"ieee" if other == "float32" else "tf32"}
    finally:
        thread.__exit__()
    assert roundings() == program
