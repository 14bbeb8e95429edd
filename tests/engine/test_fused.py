"""A plan that joins layers heeds what each of them says."""

from __future__ import annotations

import numpy as np

import caffe
from tests.helpers.running import close, run


def test_a_plan_heeds_the_fields_of_forks() -> None:
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(1, 2, 7, 7)), rng.normal(size=(2, 2, 3, 3))
    mean, variance = rng.normal(size=2), rng.uniform(1, 2, size=2)
    layers = {
        "Convolution": "convolution_param { num_output: 2 kernel_size: 3 stride: 2 pad_l: 2"
        " pad_b: 1 bias_term: false }",
        "BatchNorm": "batch_norm_param { add_eps_before_sqrt: false eps: 1 }",
        "ReLU": "relu_param { relu6: true }",
        "Pooling": "pooling_param { kernel_size: 2 pad_r: 1 ceil_mode: false }",
    }
    params = {"Convolution": [weight], "BatchNorm": [mean, variance, np.ones(1)]}
    wanted = x
    text = """layer { name: "x" type: "Input" top: "x"
                      input_param { shape { dim: 1 dim: 2 dim: 7 dim: 7 } } }"""
    for kind, param in layers.items():
        wanted = run(f'type: "{kind}" {param}', wanted, params=params.get(kind, ()))[0]
        bottom = "x" if kind == "Convolution" else "y"
        top = "z" if kind == "Pooling" else "y"
        text += f'layer {{ name: "{kind}" type: "{kind}" bottom: "{bottom}" top: "{top}" {param} }}'
    net = caffe.Net(text, caffe.TEST)
    for name, values in params.items():
        for blob, value in zip(net.params[name], values, strict=True):
            blob.data[...] = value
    for _ in range(2):
        close(net.forward(x=x)["z"], wanted)
