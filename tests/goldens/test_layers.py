"""Every golden layer case of the original Caffe: forward, gradients and changed parameters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import caffe
from tests.helpers.golden import assert_golden
from tests.helpers.places import GOLDENS

CASES = sorted((GOLDENS / "layers").glob("*.npz"))


def check_case(golden: dict[str, np.ndarray]) -> None:
    net = caffe.Net(str(golden["prototxt"]), getattr(caffe, str(golden["phase"])))
    for key, values in golden.items():
        kind, _, rest = key.partition("/")
        if kind == "in":
            net.blobs[rest].data[...] = values
        elif kind == "param":
            layer, _, i = rest.rpartition("/")
            net.params[layer][int(i)].data[...] = values
    net.forward()
    for key, values in golden.items():
        kind, _, rest = key.partition("/")
        if kind == "out":
            assert_golden(net.blobs[rest].data, values, f"{rest}.data")
        elif kind == "param_after":
            layer, _, i = rest.rpartition("/")
            assert_golden(net.params[layer][int(i)].data, values, f"{layer} parameter {i} after")
    if not any(key.startswith(("diff/", "paramdiff/")) for key in golden):
        return
    for blobs in net.params.values():
        for blob in blobs:
            blob.diff[...] = 0
    for key, values in golden.items():
        if key.startswith("topdiff/"):
            net.blobs[key.removeprefix("topdiff/")].diff[...] = values
    net.backward()
    for key, values in golden.items():
        kind, _, rest = key.partition("/")
        if kind == "diff":
            assert_golden(net.blobs[rest].diff, values, f"{rest}.diff")
        elif kind == "paramdiff":
            layer, _, i = rest.rpartition("/")
            assert_golden(net.params[layer][int(i)].diff, values, f"{layer} parameter {i} diff")


@pytest.mark.parametrize("path", CASES, ids=[path.stem for path in CASES])
def test_layer_equals_the_original(path: Path) -> None:
    with np.load(path) as golden:
        check_case(dict(golden))
