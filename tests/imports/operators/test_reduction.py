"""Sums, means and largest values along axes."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers.onnx_models import check, one, types

pytest.importorskip("onnxruntime")

KINDS = [
    *("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2"),
    "ReduceSumSquare",
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("axes", [[2, 3], [1], [-1], [1, 2, 3], [0]])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_reduced(kind: str, axes: list[int], keepdims: int) -> None:
    proto = one(kind, (2, 3, 4, 5), arrays=[np.asarray(axes)], keepdims=keepdims)
    check(proto, evaluator="runtime")


def test_of_a_whole_map_it_is_pooling() -> None:
    made = check(one("ReduceMean", (2, 3, 4, 5), arrays=[np.asarray([2, 3])]))
    assert types(made) == ["Pooling"]
    check(one("ReduceMean", (2, 3, 4, 5), axes=[2, 3], opset=13))


def test_norms_and_places() -> None:
    check(one("LpNormalization", (2, 3, 4), axis=1, p=2), evaluator="runtime")
    made = check(one("ArgMax", (2, 3, 4, 5), axis=1))
    assert types(made) == ["ArgMax"]
