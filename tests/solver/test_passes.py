"""What a step of training keeps of the one before, and what it leaves behind."""

from __future__ import annotations

import sys
import weakref
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import caffe
from caffe.layers.python import Layer
from caffe.proto.caffe_pb2 import SolverParameter
from caffe.proto.files import parse_net
from caffe.solver.passes import add_gradients

NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [4, 3, 6, 6] } } }
layer { name: "probe" type: "Python" bottom: "data" top: "probe"
        python_param { module: "probe_of_mine" layer: "Probe" } }
layer { name: "silent" type: "Silence" bottom: "probe" }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 8 kernel_size: 3 weight_filler { type: "msra" } } }
layer { name: "tanh" type: "TanH" bottom: "conv" top: "tanh" }
layer { name: "sum" type: "Eltwise" bottom: "conv" bottom: "tanh" top: "sum" }
layer { name: "relu" type: "ReLU" bottom: "sum" top: "sum" }
layer { name: "loss" type: "Reduction" bottom: "sum" top: "loss" loss_weight: 2 }
"""


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is called, one after the other, when the net's first computing layer runs."""
    calls: list[Any] = []

    class Probe(Layer):
        def setup(self, bottom: Any, top: Any) -> None:
            pass

        def reshape(self, bottom: Any, top: Any) -> None:
            top[0].reshape(1)

        def forward(self, bottom: Any, top: Any) -> None:
            for call in calls:
                call()

        def backward(self, top: Any, propagate_down: Any, bottom: Any) -> None:
            pass

    module = ModuleType("probe_of_mine")
    module.Probe = Probe  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "probe_of_mine", module)
    return calls


def _solver() -> caffe.Solver:
    solver = caffe.SGDSolver(
        SolverParameter(net_param=parse_net(NET), base_lr=0.01, lr_policy="fixed", random_seed=1)
    )
    rng = np.random.default_rng(3)
    data = solver.net.blobs["data"].data
    data[...] = rng.standard_normal(data.shape, dtype=np.float32)
    return solver


def test_what_a_step_has_computed_is_gone_when_the_next_one_computes(look: list[Any]) -> None:
    solver = _solver()
    solver.step(1)
    blobs = [solver.net.blobs[name] for name in ("conv", "tanh", "sum")]
    memories = [memory for blob in blobs for memory in (blob.memory, blob.diff_memory)]
    refs = [weakref.ref(memory.formed.values) for memory in memories if memory.formed]
    assert len(refs) == len(memories)
    gone: list[bool] = []
    look.append(lambda: gone.extend(ref() is None for ref in refs))
    solver.step(1)
    assert gone == [True] * len(refs)


def test_what_an_activation_in_place_has_replaced_is_not_kept_for_the_gradient(
    look: list[Any],
) -> None:
    net = _solver().net
    add_gradients(net, 1, lambda loss: None)
    layer = net.layers[list(net._layer_names).index("sum")]
    made: list[weakref.ref[Any]] = []
    forward = layer.forward_in_training, layer.record

    def record(*inputs: Any) -> Any:
        leaves, results = forward[1](*inputs)
        made.extend(weakref.ref(result) for result in results)
        return leaves, results

    layer.record = record
    net.forward()
    assert made
    assert all(ref() is None for ref in made)


@pytest.mark.cpu
def test_arrays_that_somebody_holds_show_each_step(look: list[Any]) -> None:
    held, free = _solver(), _solver()
    arrays = [held.net.blobs["conv"].data, held.net.blobs["conv"].diff]
    seen: list[float] = []
    look.append(lambda: seen.append(float(np.abs(arrays[0]).sum())))
    for _ in range(3):
        held.step(1)
        free.step(1)
        blob = free.net.blobs["conv"]
        for array, values in zip(arrays, (blob.data, blob.diff), strict=True):
            assert np.abs(array).sum() > 0
            np.testing.assert_array_equal(array, values)
        del blob, values
    # The first step found zeros, each other one what the one before had left.
    assert seen[0] == 0
    assert min(seen[2::2]) > 0


def test_the_loss_weight_stays_in_the_loss_s_diff(look: list[Any]) -> None:
    solver = _solver()
    for _ in range(2):
        solver.step(1)
        assert solver.net.blobs["loss"].diff == 2


@pytest.mark.parametrize("place", ["data", "flat"])
def test_an_input_that_a_layer_changes_in_its_place_is_there_at_the_next_step(place: str) -> None:
    flatten = 'layer { name: "flat" type: "Flatten" bottom: "data" top: "flat" }'
    solver = caffe.SGDSolver(
        f"""base_lr: 0.01 lr_policy: "fixed" net_param {{
        layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: [2, 3] }} }} }}
        {flatten if place == "flat" else ""}
        layer {{ name: "half" type: "Power" bottom: "{place}" top: "{place}"
                power_param {{ scale: 0.5 }} }}
        layer {{ name: "ip" type: "InnerProduct" bottom: "{place}" top: "ip"
                inner_product_param {{ num_output: 1 }} }}
        layer {{ name: "loss" type: "Reduction" bottom: "ip" top: "loss" loss_weight: 1 }} }}"""
    )
    solver.net.blobs["data"].data[...] = 1
    solver.step(3)
    assert (solver.net.blobs["data"].data == 0.125).all()
