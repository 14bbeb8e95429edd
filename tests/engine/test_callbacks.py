"""Functions that are called before and after a net's layers."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest

import caffe

TEXT = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "twice" type: "Power" bottom: "data" top: "twice" power_param { scale: 2 } }
layer { name: "relu" type: "ReLU" bottom: "twice" top: "twice" }
layer { name: "ip" type: "InnerProduct" bottom: "twice" top: "ip"
  inner_product_param { num_output: 4 weight_filler { type: "gaussian" } } }
"""
CALLS = ("before_forward", "after_forward", "before_backward", "after_backward")


def noting(net: caffe.Net) -> list[tuple[str, int]]:
    """Let all four write into the list that is returned."""
    calls: list[tuple[str, int]] = []

    def note(name: str) -> Callable[[int], None]:
        return lambda layer: calls.append((name, layer))

    for name in CALLS:
        getattr(net, name)(note(name))
    return calls


@pytest.mark.parametrize("force", ["", "force_backward: true"])
def test_each_layer_is_told_before_and_after_it_has_run(force: str) -> None:
    net = caffe.Net(TEXT + force, caffe.TEST)
    calls = noting(net)
    net.forward(data=np.ones((2, 3)))
    forward, backward = CALLS[:2], CALLS[2:]
    assert calls == [(name, layer) for layer in range(4) for name in forward]
    calls.clear()
    net.backward(ip=np.ones((2, 4)))
    # As in Caffe the layers without a gradient, too.
    assert calls == [(name, layer) for layer in (3, 2, 1, 0) for name in backward]


def test_a_part_of_a_net_has_the_numbers_of_the_whole() -> None:
    net = caffe.Net(TEXT, caffe.TEST)
    calls = noting(net)
    net.forward(start="relu", end="ip")
    net.backward(start="relu", end="twice")
    assert [layer for name, layer in calls if name.startswith("before")] == [2, 3, 2, 1]


def test_whoever_is_called_sees_blobs_as_they_are_and_may_write_them() -> None:
    net = caffe.Net(TEXT, caffe.TEST)
    seen = []

    def look(layer: int) -> None:
        seen.append(net.blobs["twice"].data[0, 0].item())
        if net._layer_names[layer] == "twice":
            net.blobs["twice"].data[...] = -3

    net.after_forward(look)
    for _ in range(3):
        net.forward(data=np.ones((2, 3)))
    assert seen[1:4] == [2, 0, 0]
    assert seen[4:8] == [0, 2, 0, 0]


def test_functions_are_called_in_the_order_in_which_they_came_and_not_by_copies() -> None:
    net = caffe.Net(TEXT, caffe.TEST)
    order: list[str] = []
    net.before_forward(lambda layer: order.append("first"))
    net.before_forward(lambda layer: order.append("second"))
    copy.deepcopy(net).forward()
    assert order == []
    net.forward(end="data")
    assert order == ["first", "second"]


def test_only_functions_are_called() -> None:
    with pytest.raises(caffe.ArgumentError, match="function of a layer's number, not 'print'"):
        caffe.Net(TEXT, caffe.TEST).before_forward("print")
