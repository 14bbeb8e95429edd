"""Products with known matrices, along any axis."""

from __future__ import annotations

import pytest

from tests.helpers.onnx_models import check, numbers, one, types

pytest.importorskip("onnxruntime")


@pytest.mark.parametrize("attributes", [{}, {"alpha": 0.5, "beta": 2.0}, {"transA": 1}])
@pytest.mark.parametrize("bias", [(3,), (1, 3), (1,), None])
def test_gemm(attributes: dict[str, float], bias: tuple[int, ...] | None) -> None:
    arrays = [numbers(4, 3), *([] if bias is None else [numbers(*bias, seed=1)])]
    shape = (4, 2) if attributes.get("transA") else (2, 4)
    check(one("Gemm", shape, arrays=arrays, **attributes))
    check(one("Gemm", (2, 4), arrays=[numbers(3, 4)], transB=1))


@pytest.mark.parametrize("shape", [(4,), (2, 4), (2, 3, 4), (2, 3, 5, 4)])
def test_matrix_behind(shape: tuple[int, ...]) -> None:
    if len(shape) > 1:
        made = check(one("MatMul", shape, arrays=[numbers(4, 6)]))
        assert types(made) == ["InnerProduct"]
        check(one("MatMul", shape, arrays=[numbers(4)]))
        check(one("MatMul", shape, arrays=[numbers(4, 6)]), "mnn")


def test_matrix_before() -> None:
    from onnx import helper

    from tests.helpers.onnx_models import model

    node = helper.make_node("MatMul", ["a", "x"], ["y"])
    for shape in ((4, 3), (2, 4, 3), (2, 5, 4, 3)):
        check(model([node], {"x": shape}, ["y"], {"a": numbers(6, 4)}))


def test_along_a_later_axis_by_what_the_reader_takes() -> None:
    proto = one("MatMul", (1, 2, 3, 4), arrays=[numbers(4, 5)])
    assert types(check(proto, "opencv")) == ["InnerProduct"]
    for target in ("mnn", "rknn", "sophon"):
        made = types(check(proto, target))
        assert "Convolution" in made
        assert "InnerProduct" not in made
