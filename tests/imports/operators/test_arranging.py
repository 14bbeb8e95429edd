"""Axes in another order, for those who have Permute and those who have not."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from caffe import CaffeError, imports
from tests.helpers.onnx_models import check, model, one, types

onnx = pytest.importorskip("onnx")


def test_every_order() -> None:
    for order in itertools.permutations(range(4)):
        proto = one("Transpose", (2, 3, 4, 5), perm=list(order))
        made = check(proto)
        assert "Permute" not in types(made)
        assert set(types(check(proto, "opencv"))) <= {"Permute", "Reshape"}
    check(one("Transpose", (2, 3, 4)))


def test_an_axis_of_one_place_moves_by_reshaping() -> None:
    assert types(check(one("Transpose", (2, 1, 4, 5), perm=[0, 2, 1, 3]))) == ["Reshape"]


@pytest.mark.parametrize("target", ["bvlc", "opencv"])
def test_shuffled_channels(target: str) -> None:
    node = onnx.helper.make_node
    proto = model(
        [
            node("Reshape", ["x", "apart"], ["a"]),
            node("Transpose", ["a"], ["b"], perm=[0, 2, 1, 3, 4]),
            node("Reshape", ["b", "whole"], ["y"]),
        ],
        {"x": [1, 6, 3, 3]},
        ["y"],
        {"apart": np.asarray([1, 2, 3, 3, 3]), "whole": np.asarray([1, 6, 3, 3])},
    )
    check(proto, target)


def test_five_axes_are_moved_four_at_a_time() -> None:
    order = [0, 1, 4, 2, 5, 3]
    proto = one("Transpose", (1, 3, 2, 2, 4, 5), perm=order)
    for target in ("opencv", "mnn"):
        made = check(proto, target)
        assert set(types(made)) == {"Permute", "Reshape"}
        assert types(made).count("Permute") == 2
    assert "Permute" not in types(check(proto))


def test_too_many_places_are_refused() -> None:
    with pytest.raises(CaffeError, match=r"axes of 200 and 300.*has Permute"):
        imports.load(one("Transpose", (1, 200, 300), perm=[0, 2, 1]))
