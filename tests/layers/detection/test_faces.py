"""What nets for faces are trained with, against the papers' formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest

import caffe
from caffe.errors import CaffeError

MARGINS = {"SINGLE": 1, "DOUBLE": 2, "TRIPLE": 3, "QUADRUPLE": 4}


@pytest.mark.parametrize("kind", MARGINS)
def test_margin_inner_product_lowers_the_labels_own(kind: str) -> None:
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(6, 5)), rng.integers(0, 4, 6)
    net = caffe.Net(
        f"""input: "x" input_shape {{ dim: 6 dim: 5 }} input: "l" input_shape {{ dim: 6 }}
        layer {{ name: "m" type: "MarginInnerProduct" bottom: "x" bottom: "l" top: "y" top: "lambda"
                 margin_inner_product_param {{ num_output: 4 type: {kind} base: 3 lambda_min: 1
                 weight_filler {{ type: "gaussian" std: 1 }} }} }}""",
        caffe.TEST,
    )
    top = net.forward(x=x, l=labels)
    weights = net.params["m"][0].data
    assert float(top["lambda"][0]) == 3
    for n in range(6):
        for c in range(4):
            length = np.linalg.norm(x[n])
            cosine = x[n] @ weights[c] / length / np.linalg.norm(weights[c])
            value = cosine
            if c == labels[n] and kind != "SINGLE":
                angle, m = math.acos(cosine), MARGINS[kind]
                k = math.floor(angle * m / math.pi)
                psi = (-1) ** k * math.cos(m * angle) - 2 * k
                value = (3 * cosine + psi) / 4
            assert top["y"][n, c] == pytest.approx(length * value, abs=1e-4)


def test_lambda_falls_while_training() -> None:
    net = caffe.Net(
        """input: "x" input_shape { dim: 1 dim: 2 } input: "l" input_shape { dim: 1 }
        layer { name: "m" type: "MarginInnerProduct" bottom: "x" bottom: "l" top: "y" top: "w"
                margin_inner_product_param { num_output: 2 type: DOUBLE base: 1000 gamma: 0.12
                lambda_min: 5 weight_filler { type: "xavier" } } }""",
        caffe.TRAIN,
    )
    shown = [float(net.forward(x=np.ones((1, 2)), l=[0])["w"][0]) for _ in range(3)]
    np.testing.assert_allclose(shown, [1000 / (1 + 0.12 * i) for i in (1, 2, 3)], rtol=1e-5)


def test_center_loss_and_how_centers_move() -> None:
    net = caffe.Net(
        """input: "x" input_shape { dim: 3 dim: 2 } input: "l" input_shape { dim: 3 }
        force_backward: true
        layer { name: "c" type: "CenterLoss" bottom: "x" bottom: "l" top: "loss"
                propagate_down: true propagate_down: false
                center_loss_param { num_output: 3 center_filler { value: 1 } } }""",
        caffe.TRAIN,
    )
    x = np.array([[1, 2], [3, 4], [0, -1.0]])
    loss = net.forward(x=x, l=[2, 2, 0])["loss"]
    assert float(loss) == pytest.approx(((x - 1) ** 2).sum() / 6)
    net.backward()
    np.testing.assert_allclose(net.blobs["x"].diff, (x - 1) / 3, rtol=1e-5)
    moved = [(1 - x[2]) / 2, [0, 0], (2 - x[0] - x[1]) / 3]
    np.testing.assert_allclose(net.params["c"][0].diff, moved, rtol=1e-5)
    with pytest.raises(CaffeError, match="label"):
        net.forward(x=x, l=[2, 3, 0])
