"""Activations: the forks' forms against numpy."""

from __future__ import annotations

import numpy as np
import pytest

import caffe
from tests.helpers.running import close, run


@pytest.mark.parametrize(
    ("text", "function"),
    [
        ('type: "ReLU" relu_param { relu6: true }', lambda x: np.clip(x, 0, 6)),
        (
            'type: "ReLU" relu_param { maximum: 2 negative_slope: 0.5 }',
            lambda x: np.minimum(np.where(x > 0, x, x / 2), 2),
        ),
        ('type: "ReLU" relu_param { minimum: -1 negative_slope: 1 }', lambda x: np.maximum(x, -1)),
        ('type: "ReLU6"', lambda x: np.clip(x, 0, 6)),
        (
            'type: "ReLU6" relu6_param { negative_slope: 0.1 }',
            lambda x: np.minimum(np.where(x > 0, x, x / 10), 6),
        ),
        ('type: "Mish"', lambda x: x * np.tanh(np.log1p(np.exp(x)))),
        ('type: "HardSigmoid"', lambda x: np.clip(0.2 * x + 0.5, 0, 1)),
        ('type: "HardSwish"', lambda x: x * np.clip(x + 3, 0, 6) / 6),
    ],
)
def test_activations(text: str, function) -> None:  # type: ignore[no-untyped-def]
    x = np.linspace(-9, 9, 37).reshape(1, 37)
    close(run(text, x)[0], function(x))


@pytest.mark.parametrize("text", ['type: "ReLU6"', 'type: "ReLU" relu_param { relu6: true }'])
def test_infinity_is_bounded(text: str) -> None:
    assert run(text, np.array([[-np.inf, np.inf]]))[0].tolist() == [[0, 6]]


def test_relu6_runs_in_a_plan_and_in_place() -> None:
    net = caffe.Net(
        """layer { name: "x" type: "Input" top: "x"
                input_param { shape { dim: 1 dim: 1 dim: 3 dim: 3 } } }
        layer { name: "c" type: "Convolution" bottom: "x" top: "c"
          convolution_param { num_output: 1 kernel_size: 1 weight_filler { value: 1 } } }
        layer { name: "r" type: "ReLU" bottom: "c" top: "c" relu_param { relu6: true } }""",
        caffe.TEST,
    )
    x = np.arange(9, dtype=np.float32).reshape(1, 1, 3, 3) * 2 - 4
    for _ in range(2):
        close(net.forward(x=x)["c"], np.clip(x, 0, 6))
