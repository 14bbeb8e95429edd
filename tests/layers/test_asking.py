"""In training a GPU is asked for nothing before all of a step's work is on its way."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import caffe
from caffe import mode
from caffe.layers.asking import later, put_off, refuse_any
from caffe.logs import logger
from tests.helpers.second_store import CountingStore, use_store

NET = """
name: "small"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [4, 2, 9, 9] } } }
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 4 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 3 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool"
        pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
layer { name: "relu" type: "ReLU" bottom: "pool" top: "pool" }
layer { name: "fc" type: "InnerProduct" bottom: "pool" top: "fc"
        inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
"""
SOLVER = (
    'base_lr: 0.1 lr_policy: "fixed" momentum: 0.9 weight_decay: 0.01 random_seed: 3 '
    "snapshot_after_train: false max_iter: 6 "
)


class Order(TorchDispatchMode):
    """Notes what PyTorch is told, as far as it tells when somebody waits."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = str(function)
        if "_local_scalar" in name or "nonzero" in name or "_fused_sgd_" in name:
            self.seen.append(name.split(".")[1])
        return function(*args, **(kwargs or {}))


class Store(CountingStore):
    """A second store that notes when it is waited for."""

    def __init__(self, order: Order) -> None:
        super().__init__()
        self.order = order

    def fetch(self, array: torch.Tensor) -> Callable[[], torch.Tensor]:
        def wait() -> torch.Tensor:
            self.order.seen.append("wait")
            return array

        return wait


@pytest.fixture
def order() -> Iterator[Order]:
    """Runs this thread's nets in a store, and notes what is asked when."""
    found = Order()
    use_store(Store(found))
    yield found
    use_store(None)  # type: ignore[arg-type]


def solver(text: str = "") -> caffe.Solver:
    made = caffe.get_solver(f"{SOLVER} {text} net_param {{ {NET} }}")
    rng = np.random.default_rng(0)
    made.net.blobs["data"].data[...] = rng.normal(size=(4, 2, 9, 9))
    made.net.blobs["label"].data[...] = [0, 1, 4, 2]
    return made


def weights(made: caffe.Solver) -> list[np.ndarray]:
    return [blob.data.copy() for blobs in made.net.params.values() for blob in blobs]


def test_a_step_asks_once_when_all_of_its_work_is_on_its_way(order: Order) -> None:
    made = solver()
    made.step(2)
    store = mode.current_store()
    assert isinstance(store, Store)
    moved, order.seen[:] = store.moved, []
    with order:
        made.step(2)
    assert store.moved == moved
    assert order.seen == ["_fused_sgd_", "wait"] * 2


@pytest.mark.parametrize("text", ["", "iter_size: 2", "clip_gradients: 0.1", "display: 1"])
def test_what_is_learned_is_what_is_learned_on_the_cpu(order: Order, text: str) -> None:
    made = solver(text)
    made.step(4)
    found, loss = weights(made), made.loss
    use_store(None)  # type: ignore[arg-type]
    made = solver(text)
    made.step(4)
    assert made.loss == pytest.approx(loss, rel=1e-5)
    for mine, theirs in zip(found, weights(made), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-6)


def test_a_wrong_label_is_named_at_the_end_of_its_step(order: Order) -> None:
    made = solver()
    made.step(1)
    made.net.blobs["label"].data[2] = 7
    with pytest.raises(caffe.CaffeError, match=r"'loss'.*\n?.*holds the label 7 at \[2\]"):
        made.step(1)
    # Alone, and outside of training, it is named at once.
    with pytest.raises(caffe.CaffeError, match=r"holds the label 7"):
        made.net.forward()
    made.net.blobs["label"].data[2] = 1
    made.step(1)


def test_a_loss_that_is_no_number_stops_and_names_the_layer(order: Order) -> None:
    made = solver()
    made.net.params["fc"][1].data[3] = np.inf
    with pytest.raises(caffe.CaffeError, match=r"iteration 0: the loss is nan.*'fc'"):
        made.solve()


def test_what_is_no_number_is_pooled_as_on_the_cpu(order: Order) -> None:
    tops = []
    for store in (mode.current_store(), None):
        use_store(store)  # type: ignore[arg-type]
        made = solver()
        data = made.net.blobs["data"].data
        data[1, :, 2, 2] = np.nan
        data[2] = -np.inf
        made.step(1)
        tops.append(made.net.blobs["pool"].data.copy())
    np.testing.assert_array_equal(*tops)


def test_clipping_is_told(order: Order) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    solver("clip_gradients: 0.1").step(1)
    assert "Gradient clipping: scaling down gradients (L2 norm " in stream.getvalue()


def test_questions_are_put_off_only_inside_and_only_in_a_store() -> None:
    wrong = torch.tensor([False, True])

    def error() -> Exception:
        return ValueError("wrong")

    for store in (None, CountingStore()):
        with later(store) as questions:
            assert put_off() is questions
            if questions is None:
                with pytest.raises(ValueError, match="wrong"):
                    refuse_any(wrong, error)
                continue
            refuse_any(wrong, error)
            refuse_any(~wrong & wrong, AssertionError)
            wait = questions.ask(0.5)
            assert questions.ask(torch.tensor(1.5))() == 1.5
        assert put_off() is None
        with pytest.raises(ValueError, match="wrong"):
            wait()
