"""Maps in another size, every rule of coordinates exactly."""

from __future__ import annotations

import numpy as np
import pytest

from caffe import CaffeError, imports
from tests.helpers.onnx_models import check, one, types

pytest.importorskip("onnxruntime")


def scales(*values: float) -> list[np.ndarray | None]:
    return [None, np.asarray(values, np.float32)]


def sizes(*values: int) -> list[np.ndarray | None]:
    return [None, None, np.asarray(values, np.int64)]


@pytest.mark.parametrize(
    "rule", ["half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"]
)
@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
def test_rules(rule: str, mode: str) -> None:
    attributes = {"mode": mode, "coordinate_transformation_mode": rule}
    for arrays in (scales(1, 1, 2, 2), sizes(1, 2, 7, 3), sizes(1, 2, 1, 9)):
        check(one("Resize", (1, 2, 4, 5), arrays=arrays, **attributes), evaluator="runtime")


@pytest.mark.parametrize("rounding", ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"])
def test_roundings(rounding: str) -> None:
    attributes = {"nearest_mode": rounding, "coordinate_transformation_mode": "half_pixel"}
    for arrays in (scales(1, 1, 2, 2), sizes(1, 2, 7, 3)):
        check(one("Resize", (1, 2, 4, 5), arrays=arrays, **attributes), evaluator="runtime")


def test_places_that_are_repeated_are_one_layer() -> None:
    attributes = {"nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
    made = check(one("Resize", (1, 2, 4, 5), arrays=scales(1, 1, 2, 3), **attributes))
    assert types(made) == ["Deconvolution"]
    made = check(one("Resize", (1, 2, 1, 1), arrays=sizes(1, 2, 4, 5), mode="linear"))
    assert types(made) == ["Deconvolution"]


def test_the_targets_own_layer() -> None:
    attributes = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}
    proto = one("Resize", (1, 2, 4, 5), arrays=sizes(1, 2, 9, 11), **attributes)
    assert types(check(proto, "mnn", "runtime")) == ["Interp"]


def test_a_reader_that_is_given_products_over_channels() -> None:
    proto = one("Resize", (1, 2, 4, 5), arrays=sizes(1, 2, 9, 11), mode="linear")
    made = types(check(proto, "rknn", "runtime"))
    assert made == ["Permute", "Convolution", "Permute"] * 2


def test_old_versions() -> None:
    check(one("Upsample", (1, 2, 3, 3), arrays=[np.asarray([1, 1, 2, 2], np.float32)], opset=9))
    check(
        one("Resize", (1, 2, 3, 3), arrays=[np.asarray([1, 1, 2, 2], np.float32)], opset=10),
        evaluator="runtime",
    )


def test_refusals() -> None:
    proto = one("Resize", (1, 2, 4, 5), arrays=scales(1, 1, 0.5, 0.5), mode="linear", antialias=1)
    with pytest.raises(CaffeError, match="antialias"):
        imports.load(proto)
