"""Fillers: the distributions that Caffe's have."""

from __future__ import annotations

import numpy as np
import pytest

import caffe
from caffe.errors import CaffeError


def weights(filler: str, outputs: int = 200, inputs: int = 300) -> np.ndarray:
    caffe.set_random_seed(1)
    net = caffe.Net(
        f"""
        layer {{ name: "x" type: "Input" top: "x"
                input_param {{ shape {{ dim: 1 dim: {inputs} }} }} }}
        layer {{ name: "fc" type: "InnerProduct" bottom: "x" top: "y"
                inner_product_param {{ num_output: {outputs} weight_filler {{ {filler} }} }} }}
        """,
        caffe.TEST,
    )
    return net.params["fc"][0].data.astype(np.float64)


def test_without_a_type_every_number_is_value() -> None:
    assert (weights("value: 0.5") == 0.5).all()
    assert (weights("") == 0).all()


@pytest.mark.parametrize(
    ("variance_norm", "fan"), [("FAN_IN", 300), ("FAN_OUT", 200), ("AVERAGE", 250)]
)
@pytest.mark.parametrize(("kind", "gain"), [("xavier", 1), ("msra", 2)])
def test_the_deviation_follows_the_fan(
    kind: str, gain: float, variance_norm: str, fan: int
) -> None:
    found = weights(f"type: '{kind}' variance_norm: {variance_norm}")
    assert found.std() == pytest.approx(np.sqrt(gain / fan), rel=0.02)
    assert abs(found.mean()) < 0.02 * found.std()
    if kind == "xavier":
        assert np.abs(found).max() <= np.sqrt(3 / fan)


def test_uniform_and_gaussian() -> None:
    found = weights("type: 'uniform' min: -1 max: 3")
    assert found.min() >= -1
    assert found.max() <= 3
    assert found.mean() == pytest.approx(1, abs=0.02)
    found = weights("type: 'gaussian' mean: 2 std: 0.5")
    assert found.mean() == pytest.approx(2, abs=0.01)
    assert found.std() == pytest.approx(0.5, rel=0.02)


def test_sparse_keeps_so_many_of_the_outputs_for_each_input() -> None:
    kept = (weights("type: 'gaussian' std: 1 sparse: 20") != 0).mean()
    assert kept == pytest.approx(20 / 200, rel=0.05)


def test_positive_unitball_sums_to_one_by_output() -> None:
    found = weights("type: 'positive_unitball'")
    assert found.min() >= 0
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-4)


@pytest.mark.parametrize(
    ("filler", "culprit"),
    [
        ("type: 'normal'", "normal"),
        ("type: 'bilinear'", "square"),
        ("type: 'uniform' min: 2 max: 1", "min"),
        ("type: 'gaussian' std: -1", "std"),
    ],
)
def test_fillers_that_caffe_refuses(filler: str, culprit: str) -> None:
    with pytest.raises(CaffeError, match=culprit):
        weights(filler)
