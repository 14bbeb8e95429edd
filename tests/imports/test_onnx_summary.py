"""The table of an ONNX model's own nodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from caffe import CaffeError
from caffe.imports.onnx_summary import summarize_onnx
from tests.helpers.onnx_models import model, numbers

onnx = pytest.importorskip("onnx")


def saved(folder: Path, batch: int | str = 2) -> Path:
    """Write a model with a convolution, a node that Caffe has no form of, and two products."""
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w", "b"], ["c"], name="conv", pads=[1] * 4),
        onnx.helper.make_node("ConvTranspose", ["c", "u"], ["d"], name="up", strides=[2, 2]),
        onnx.helper.make_node("Det", ["d"], ["odd"], name="det"),
        onnx.helper.make_node("Flatten", ["d"], ["f"], name="flat"),
        onnx.helper.make_node("Gemm", ["f", "g"], ["y"], name="fc"),
    ]
    arrays = {"w": numbers(4, 3, 3, 3), "b": numbers(4), "u": numbers(4, 5, 2, 2)}
    arrays["g"] = np.ones((5 * 64, 7), np.float32)
    path = folder / "net.onnx"
    onnx.save(model(nodes, {"x": (batch, 3, 4, 4)}, ["y", "odd"], arrays), path)
    return path


def test_shapes_parameters_and_products(tmp_path: Path) -> None:
    found = summarize_onnx(saved(tmp_path))
    rows = {row.name: row for row in found.rows}
    assert [row.type for row in found.rows] == [
        *("input", "Conv", "ConvTranspose", "Det", "Flatten", "Gemm"),
    ]
    assert rows["conv"].shapes == ((2, 4, 4, 4),)
    assert rows["conv"].parameters == 4 * 3 * 9 + 4
    assert rows["conv"].multiply_adds == 2 * 4 * 16 * 27
    assert rows["up"].multiply_adds == 2 * 4 * 16 * 5 * 4
    assert rows["fc"].multiply_adds == 2 * 7 * 5 * 64
    assert found.batch == 2
    assert found.parameters == 112 + 80 + 7 * 320
    assert "version 20" in found.text()


def test_open_shapes(tmp_path: Path) -> None:
    path = saved(tmp_path, "batch")
    found = summarize_onnx(path)
    assert found.rows[0].shapes == (None,)
    assert not found.is_complete or found.rows[1].multiply_adds is None
    given = summarize_onnx(path, {"x": (3, 3, 4, 4)})
    assert given.rows[-1].shapes == ((3, 7),)
    with pytest.raises(CaffeError, match="no input 'z'"):
        summarize_onnx(path, {"z": (1,)})


def test_no_model(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_text("hello")
    with pytest.raises(CaffeError, match=r"a\.onnx"):
        summarize_onnx(tmp_path / "a.onnx")
