"""Normalization by stored statistics and by a value's own, to the letter of its epsilon."""

from __future__ import annotations

import numpy as np
import pytest

from caffe import CaffeError, imports
from tests.helpers.onnx_models import check, model, numbers, one, types

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

STATISTICS = [numbers(3), numbers(3, seed=1), numbers(3, seed=2), np.abs(numbers(3, seed=3))]


def test_batch_norm() -> None:
    proto = one("BatchNormalization", (2, 3, 4, 4), arrays=STATISTICS, epsilon=0.01)
    made = check(proto, evaluator="runtime")
    assert types(made) == ["BatchNorm", "Scale"]
    assert made.text.layer[1].batch_norm_param.eps == pytest.approx(0.01)
    assert made.weights[made.text.layer[1].name][2].tolist() == [1]
    check(one("BatchNormalization", (2, 3), arrays=STATISTICS), evaluator="runtime")
    with pytest.raises(CaffeError, match="eval mode"):
        imports.load(
            one("BatchNormalization", (2, 3), arrays=STATISTICS, training_mode=1, outputs=3)
        )


@pytest.mark.parametrize(
    ("before", "arrays", "shape", "kind"),
    [
        ("Conv", [numbers(3, 2, 3, 3)], (1, 2, 6, 6), "Convolution"),
        ("ConvTranspose", [numbers(2, 3, 3, 3), numbers(3)], (1, 2, 6, 6), "Deconvolution"),
        ("Gemm", [numbers(4, 3), numbers(3)], (2, 4), "InnerProduct"),
    ],
)
def test_it_goes_into_the_weights_before(
    before: str, arrays: list[np.ndarray], shape: tuple[int, ...], kind: str
) -> None:
    node = onnx.helper.make_node
    names = [f"w{i}" for i in range(len(arrays))]
    proto = model(
        [node(before, ["x", *names], ["a"]), node("BatchNormalization", ["a", *"smvt"], ["y"])],
        {"x": shape},
        ["y"],
        dict(zip([*names, *"smvt"], [*arrays, *STATISTICS], strict=True)),
    )
    assert types(check(proto, evaluator="runtime", fold=True)) == [kind]
    assert types(check(proto, evaluator="runtime")) == [kind, "BatchNorm", "Scale"]


@pytest.mark.parametrize("axis", [-1, 2, 1])
def test_layer_norm(axis: int) -> None:
    shape = (2, 3, 4, 5)
    arrays = [numbers(*shape[axis:]), numbers(*shape[axis:], seed=1)]
    check(one("LayerNormalization", shape, arrays=arrays, axis=axis, epsilon=0.1))
    check(one("LayerNormalization", (2, 6), arrays=[numbers(6)], axis=-1))


def test_by_pictures_and_groups() -> None:
    arrays = [numbers(4), numbers(4, seed=1)]
    check(one("InstanceNormalization", (2, 4, 3, 3), arrays=arrays), evaluator="runtime")
    proto = one("GroupNormalization", (2, 4, 3, 3), arrays=arrays, num_groups=2, opset=21)
    check(proto, evaluator="runtime")
    check(one("LRN", (1, 6, 3, 3), size=5, alpha=0.1), evaluator="runtime")
    with pytest.raises(CaffeError, match="odd number"):
        imports.load(one("LRN", (1, 6, 3, 3), size=4))


def test_readers_without_roots_have_vectors_made_as_long_as_others() -> None:
    arrays = [numbers(8), numbers(8, seed=1)]
    proto = one("LayerNormalization", (1, 3, 5, 8), arrays=arrays, epsilon=0.1)
    kinds = types(check(proto, "sophon", "runtime"))
    assert kinds.count("Normalize") == 1
    assert "Power" not in kinds
    check(one("LpNormalization", (1, 8, 3, 3), axis=1), "sophon", "runtime")


@pytest.mark.parametrize("target", ["opencv", "mnn"])
def test_readers_whose_lrn_adds_1_whatever_is_said(target: str) -> None:
    proto = one("LRN", (1, 6, 3, 3), size=5, alpha=0.4, beta=0.6, bias=2.0)
    made = check(proto, target, "runtime")
    assert types(made) == ["LRN", "Power"]
    assert not made.text.layer[1].lrn_param.HasField("k")
    assert types(check(proto, "bvlc", "runtime")) == ["LRN"]
    proto = one("LRN", (1, 6, 3, 3), size=5, bias=0.0)
    with pytest.raises(CaffeError, match="LRN adds 1"):
        imports.load(proto, target=target)


def test_channels_last_need_no_permutation() -> None:
    node = onnx.helper.make_node
    proto = model(
        [
            node("Transpose", ["x"], ["a"], perm=[0, 2, 3, 1]),
            node("LayerNormalization", ["a", "s", "b"], ["c"], axis=-1),
            node("MatMul", ["c", "w"], ["d"]),
            node("Add", ["d", "v"], ["e"]),
            node("Gelu", ["e"], ["f"]),
            node("Mul", ["f", "g"], ["h"]),
            node("Transpose", ["h"], ["y"], perm=[0, 3, 1, 2]),
        ],
        {"x": [2, 3, 4, 5]},
        ["y"],
        {
            "s": numbers(3),
            "b": numbers(3, seed=1),
            "w": numbers(3, 6),
            "v": numbers(6, seed=2),
            "g": numbers(6, seed=3),
        },
    )
    made = check(proto)
    assert not {"Permute", "Reshape", "Slice", "Bias"} & set(types(made))
