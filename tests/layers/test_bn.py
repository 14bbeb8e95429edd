"""The BN layers of PSPNet and SegNet."""

from __future__ import annotations

import numpy as np
import pytest

import caffe
from tests.helpers.formulas import normalized
from tests.helpers.running import close, run


@pytest.mark.parametrize("frozen", [True, False])
def test_bn_of_pspnet(frozen: bool) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 4, 5))
    slope, bias, mean = rng.normal(size=(3, 3))
    variance = rng.uniform(1, 2, size=3)
    params = [p.reshape(1, 3) for p in (slope, bias, mean, variance)]
    text = f'type: "BN" bn_param {{ slope_filler {{ value: 1 }} frozen: {str(frozen).lower()} }}'
    spread = (slice(None), np.newaxis, np.newaxis)
    stored = normalized(x, mean, variance, 1e-5) * slope[spread] + bias[spread]
    own = normalized(x, x.mean((0, 2, 3)), x.var((0, 2, 3)), 1e-5) * slope[spread] + bias[spread]
    close(run(text, x, params=params)[0], stored, 1e-4)
    close(run(text, x, params=params, phase=caffe.TRAIN)[0], stored if frozen else own, 1e-4)


def test_bn_of_segnet() -> None:
    rng = np.random.default_rng(0)
    x, (scale, shift) = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(2, 1, 3, 1, 1))
    text = 'type: "BN" bn_param { bn_mode: INFERENCE }'
    close(run(text, x, params=[scale, shift])[0], x * scale + shift)
    text = 'type: "BN" bn_param { scale_filler { value: 1 } }'
    mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3))
    for phase in (caffe.TRAIN, caffe.TEST):
        y, shown_mean, shown_variance = run(text, x, params=[scale, shift], tops=3, phase=phase)
        close(y, normalized(x, mean, variance, 1e-9) * scale + shift, 1e-4)
        close(shown_mean.ravel(), mean)
        close(shown_variance.ravel(), variance)


def test_bn_of_pspnets_first_version_keeps_running_values() -> None:
    net = caffe.Net(
        """layer { name: "x" type: "Input" top: "x"
                input_param { shape { dim: 4 dim: 2 dim: 1 dim: 3 } } }
        layer { name: "bn" type: "BN" bottom: "x" top: "y"
                bn_param { scale_filler { value: 1 } decay: 0.25 } }""",
        caffe.TRAIN,
    )
    x = np.random.default_rng(0).normal(size=(4, 2, 1, 3)).astype(np.float32)
    net.forward(x=x)
    assert net.params["bn"][2].data.shape == (1, 2, 1, 1)
    close(net.params["bn"][2].data.ravel(), x.mean((0, 2, 3)) / 4)
    close(net.params["bn"][3].data.ravel(), x.var((0, 2, 3)) / 4)
