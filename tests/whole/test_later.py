"""What is computed when somebody looks is computed as was chosen when it was to be."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch

import caffe
from caffe.cli.time import measure
from caffe.engine import regained
from caffe.layers.layer import Layer
from caffe.layers.registry import registry
from caffe.memory.blob import Shape
from tests.helpers.card import roundings

NET = """
force_backward: true
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [64, 32, 16] } } }
layer { name: "noting" type: "Noting" bottom: "data" top: "noting" }
layer { name: "relu" type: "ReLU" bottom: "noting" top: "relu" }
"""
LOSS = """
layer { name: "sum" type: "Reduction" bottom: "relu" top: "sum" loss_weight: 1 }
"""
X = np.random.default_rng(0).normal(size=(64, 32, 16)).astype(np.float32)


class Noting(Layer):
    """Notes how factors would be rounded, and what is chosen, whenever it computes."""

    is_pure = repeats = True
    noted: list[set[str]]
    chosen: list[str]

    def note(self) -> None:
        self.noted.append(roundings())
        self.chosen.append(caffe.mode.chosen().precision)

    def top_shapes(self, *bottoms: Shape) -> list[Shape]:
        return list(bottoms)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.note()
        return 2 * x

    def backward(self, diffs, tops, inputs, needs):  # type: ignore[no-untyped-def]
        self.note()
        return [2 * diffs[0]]


@pytest.fixture
def noted(own_layers: None, gpu_mode: None) -> list[set[str]]:
    """What a layer of the type "Noting" notes."""
    found: list[set[str]] = []
    registry()["Noting"] = type("Noting", (Noting,), {"noted": found, "chosen": []})
    return found


def _at_once(look: Callable[[], object]) -> None:
    look()


def _after_choosing_again(look: Callable[[], object]) -> None:
    before = caffe.mode.chosen().precision
    caffe.set_precision("float32" if before == "tf32" else "tf32")
    look()
    caffe.set_precision(before)


def _on_the_cpu(look: Callable[[], object]) -> None:
    caffe.set_mode_cpu()
    look()
    assert caffe.mode.current_store() is None


def _in_another_thread(look: Callable[[], object]) -> None:
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()


LOOKS = [_at_once, _after_choosing_again, _on_the_cpu, _in_another_thread]


@pytest.mark.parametrize(("precision", "expected"), [("float32", {"ieee"}), ("tf32", {"tf32"})])
@pytest.mark.parametrize("looking", LOOKS)
def test_a_blob_that_a_plan_left_to_be_computed(
    looking: Callable[[Callable[[], object]], None],
    precision: str,
    expected: set[str],
    noted: list[set[str]],
) -> None:
    caffe.set_precision(precision)
    net = caffe.Net(NET, caffe.TEST)
    net.forward(data=X)
    before, program = len(noted), roundings()
    found: list[np.ndarray] = []
    looking(lambda: found.append(net.blobs["noting"].data))
    np.testing.assert_array_equal(found[0], 2 * X)
    assert len(noted) == before + 1
    assert all(how == expected for how in noted)
    assert roundings() == program


def test_a_blob_that_is_computed_since_a_parameter_changes(noted: list[set[str]]) -> None:
    text = NET + (
        'layer { name: "ip" type: "InnerProduct" bottom: "noting" top: "ip" inner_product_param '
        '{ num_output: 999 weight_filler { type: "xavier" } } }'
        'layer { name: "last" type: "ReLU" bottom: "ip" top: "last" }'
    )
    net = caffe.Net(text, caffe.TEST)
    net.forward(data=X)
    caffe.set_mode_cpu()
    net.params["ip"][0].data[...] = 0
    assert np.abs(net.blobs["ip"].data).max() > 0
    assert len(noted) > 1
    assert all(how == {"ieee"} for how in noted)


@pytest.mark.parametrize("looking", LOOKS)
def test_a_gradient_that_a_step_let_go(
    looking: Callable[[Callable[[], object]], None],
    noted: list[set[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(regained, "WORTH", 0)
    caffe.set_mode_cpu()
    caffe.set_precision("tf32")
    solver = caffe.SGDSolver(f'base_lr: 1 lr_policy: "fixed" net_param {{ {NET} {LOSS} }}')
    solver.net.blobs["data"].data[...] = X
    solver.step(1)
    before = len(noted)
    found: list[np.ndarray] = []
    looking(lambda: found.append(solver.net.blobs["noting"].diff))
    np.testing.assert_array_equal(found[0], X > 0)
    assert len(noted) > before
    assert set(registry()["Noting"].chosen) == {"tf32"}


def test_layers_that_are_timed_one_by_one(
    noted: list[set[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    # There is no GPU to be waited for.
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda device: None)
    net = caffe.Net(NET, caffe.TEST)
    net.blobs["data"].data[...] = X
    measure(net, 1, 0, backward=False)
    assert len(noted) > 1
    assert all(how == {"ieee"} for how in noted)
