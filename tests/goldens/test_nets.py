"""Layers and small nets, chosen by chance, against a CPU build of Caffe.

The figures are those of Caffe as the source package brocolli-caffe 2.0.0 has it, of whose layers
only such settings are here as mean the same in the original. Beside values and gradients they
say what the backward pass leaves alone: before it, every diff but the losses' is `UNTOUCHED`.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import caffe
from tests.helpers.golden import assert_golden
from tests.helpers.places import GOLDENS

UNTOUCHED = 0.25

with np.load(GOLDENS / "nets.npz") as _golden:
    CASES: list[dict[str, Any]] = json.loads(str(_golden["cases"]))
    NUMBERS = np.split(_golden["numbers"], np.cumsum([case["count"] for case in CASES])[:-1])


class Numbers:
    """The case's numbers, to be taken from the front."""

    def __init__(self, numbers: np.ndarray) -> None:
        self.numbers = numbers

    def take(self, array: np.ndarray) -> np.ndarray:
        """Return as many as `array` has, in its shape."""
        taken, self.numbers = self.numbers[: array.size], self.numbers[array.size :]
        return taken.reshape(array.shape)


@pytest.mark.parametrize("number", range(len(CASES)))
def test_net_equals_caffe(number: int) -> None:
    case, numbers = CASES[number], Numbers(NUMBERS[number])
    net = caffe.Net(case["text"], case["phase"])
    assert [[name, list(blob.shape)] for name, blob in net.blobs.items()] == case["blobs"]
    assert [[n, [list(b.shape) for b in blobs]] for n, blobs in net.params.items()] == case[
        "params"
    ]
    params = [(f"{n}/{i}", blob) for n, blobs in net.params.items() for i, blob in enumerate(blobs)]
    for array in (
        *(net.blobs[name].data for name in net.inputs),
        *(blob.data for _, blob in params),
    ):
        array[...] = numbers.take(array)
    net.clear_param_diffs()
    net.forward()
    loss = sum(
        float((net.blobs[name].data * net.blobs[name].diff).sum())
        for name, weight in net.blob_loss_weights.items()
        if weight
    )
    assert_golden(np.float32(loss), numbers.take(np.float32(0)), "the loss")
    for name, blob in (*net.blobs.items(), *params):
        assert_golden(blob.data, numbers.take(blob.data), f"{name}.data")
    if not case["backward"]:
        return
    for name, blob in net.blobs.items():
        if not net.blob_loss_weights[name]:
            blob.diff[...] = UNTOUCHED
    net.backward()
    for name, blob in (*net.blobs.items(), *params):
        assert_golden(blob.diff, numbers.take(blob.diff), f"{name}.diff")
