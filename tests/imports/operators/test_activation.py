"""Activations, alone or put together."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers.onnx_models import check, numbers, one, types

pytest.importorskip("onnxruntime")


@pytest.mark.parametrize(
    ("kind", "attributes"),
    [
        *((kind, {}) for kind in ("Relu", "Sigmoid", "Tanh", "Abs", "Exp", "Softplus", "Mish")),
        *(("LeakyRelu", {"alpha": 0.2}), ("Elu", {}), ("Elu", {"alpha": 0.5}), ("Selu", {})),
        *(("Celu", {"alpha": 2.0}), ("HardSigmoid", {}), ("HardSwish", {}), ("Softsign", {})),
        *(("ThresholdedRelu", {"alpha": 0.5}), ("Softmax", {"axis": 1}), ("Softmax", {})),
        *(("LogSoftmax", {"axis": 1}), ("Neg", {}), ("Identity", {})),
    ],
)
def test_alone(kind: str, attributes: dict[str, object]) -> None:
    check(one(kind, (2, 3, 4, 4), **attributes), evaluator="runtime")


def test_softmax_of_old_versions_is_over_all_axes_behind() -> None:
    check(one("Softmax", (2, 3, 4), opset=11), evaluator="runtime")
    check(one("Softmax", (2, 3), opset=11), evaluator="runtime")


@pytest.mark.parametrize("bounds", [(0, 6), (-1, 1), (None, 0.5), (0.25, None), (None, None)])
@pytest.mark.parametrize("target", ["bvlc", "opencv", "mnn"])
def test_clip(bounds: tuple[float | None, float | None], target: str) -> None:
    arrays = [None if bound is None else np.float32(bound) for bound in bounds]
    made = check(
        one("Clip", (1, 2, 3, 3), arrays=[a if a is None else np.asarray(a) for a in arrays]),
        target,
    )
    if bounds == (0, 6):
        assert types(made) == (["Clip"] if target == "bvlc" else ["ReLU6"])


def test_logarithms_as_each_reader_takes_them() -> None:
    for target, base in (("bvlc", None), ("opencv", None), ("mnn", np.e)):
        made = check(one("LogSoftmax", (2, 5)), target, "runtime")
        assert types(made) == ["Softmax", "Log"]
        param = made.text.layer[-1].log_param
        assert (param.base if param.HasField("base") else None) == pytest.approx(base)


def test_slopes() -> None:
    check(one("PRelu", (2, 3, 4, 4), arrays=[numbers(3, 1, 1)]))
    check(one("PRelu", (2, 3, 4, 4), arrays=[numbers(1)]))
