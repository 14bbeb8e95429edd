"""Sums and products of blobs and of known numbers, shapes being made to fit."""

from __future__ import annotations

import numpy as np
import pytest

from caffe import CaffeError, imports
from tests.helpers.onnx_models import check, numbers, one, types

pytest.importorskip("onnxruntime")

SHAPES = [
    ((2, 3, 4, 5), (2, 3, 4, 5)),
    ((2, 3, 4, 5), (2, 3, 1, 1)),
    ((2, 3, 1, 1), (2, 3, 4, 5)),
    ((2, 3, 4, 5), (2, 1, 4, 5)),
    ((2, 3, 4, 5), (2, 1, 1, 5)),
    ((2, 3, 1, 1), (2, 1, 4, 5)),
    ((2, 3), (2, 1)),
    ((2, 3, 4), (1, 4)),
]


@pytest.mark.parametrize("kind", ["Add", "Sub", "Mul", "Div", "Max", "Min"])
@pytest.mark.parametrize("shapes", SHAPES)
def test_of_two_blobs(kind: str, shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    check(one(kind, *shapes))


def test_a_factor_for_each_channel_is_no_larger_blob() -> None:
    proto = one("Mul", (2, 3, 4, 5), (2, 3, 1, 1))
    assert types(check(proto))[-1] == "Scale"
    assert "Deconvolution" in types(check(proto, "mnn"))


@pytest.mark.parametrize("kind", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize(
    "shape", [(), (1,), (3, 1, 1), (1, 3, 1, 1), (5,), (4, 5), (3, 4, 5), (3, 1, 5), (2, 1, 1, 1)]
)
def test_of_a_blob_and_known_numbers(kind: str, shape: tuple[int, ...]) -> None:
    array = np.asarray(numbers(*shape) + 3, np.float32)
    made = check(one(kind, (2, 3, 4, 5), arrays=[array]))
    kinds = ["Bias" if kind in ("Add", "Sub") else "Scale"]
    assert types(made) == (["Power"] if array.size == 1 else kinds)
    if len(shape) == 4 and shape[0] == 2:
        with pytest.raises(CaffeError, match="the same for each item"):
            imports.load(one(kind, (2, 3, 4, 5), arrays=[array]), target="opencv")
    else:
        check(one(kind, (2, 3, 4, 5), arrays=[array]), "opencv")


def test_known_numbers_first() -> None:
    from onnx import helper

    from tests.helpers.onnx_models import model

    for kind in ("Sub", "Div", "Mul", "Add"):
        node = helper.make_node(kind, ["a", "x"], ["y"])
        check(model([node], {"x": [2, 3]}, ["y"], {"a": np.asarray(2, np.float32)}))
        check(model([node], {"x": [2, 3]}, ["y"], {"a": numbers(3)}))


def test_of_many() -> None:
    for kind in ("Sum", "Mean", "Max", "Min"):
        check(one(kind, (2, 3), (2, 3), (2, 3)))
    check(one("Max", (2, 3), arrays=[np.asarray(0.5, np.float32)]))
    check(one("Max", (1, 3, 2, 2), arrays=[numbers(3, 1, 1)]))
    check(one("Min", (2, 3), arrays=[np.asarray(0.5, np.float32)]))


def test_powers() -> None:
    check(one("Pow", (2, 3), arrays=[np.asarray(2, np.float32)]))
    check(one("Pow", (2, 3), arrays=[np.asarray(2, np.float32)]), "mnn")
    check(one("Reciprocal", (2, 3)))
    with pytest.raises(CaffeError, match="exponent of its own"):
        imports.load(one("Pow", (2, 3), arrays=[numbers(3)]))
    with pytest.raises(CaffeError, match=r"Power; of the targets bvlc, opencv, .* have it"):
        imports.load(one("Reciprocal", (2, 3)), target="sophon")
