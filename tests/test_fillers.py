"""Fillers: the distributions that Caffe's have."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import caffe
from caffe.errors import CaffeError, ShapeError
from caffe.fillers import filler_for
from caffe.proto.caffe_pb2 import FillerParameter
from caffe.proto.text import parse_text


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


def test_a_seed_settles_the_weights_whatever_is_looked_at_first_or_seeded_later() -> None:
    layers = "".join(
        f"layer {{ name: 'fc{i}' type: 'InnerProduct' bottom: 'x' top: 'fc{i}' inner_product_param "
        "{ num_output: 3 weight_filler { type: 'xavier' } bias_filler { type: 'gaussian' } } }"
        for i in range(3)
    )
    text = (
        "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 2 dim: 4 } } }"
        + layers
    )
    found = []
    for names in (["fc0", "fc1", "fc2"], ["fc2", "fc0", "fc1"]):
        caffe.set_random_seed(5)
        net = caffe.Net(text, caffe.TEST)
        caffe.set_random_seed(len(found))
        values = {name: [blob.data.copy() for blob in net.params[name]] for name in names}
        found.append([array for name in sorted(values) for array in values[name]])
    for first, second in zip(*found, strict=True):
        assert np.array_equal(first, second)
    assert not np.array_equal(found[0][0], found[0][2])


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("type: 'positive_unitball'", 1), ("type: 'constant' value: 3", 3)],
)
def test_a_number_without_axes_is_filled(text: str, wanted: float) -> None:
    array = torch.zeros(1)
    filler_for((), parse_text(text, FillerParameter()))(array)
    assert array.tolist() == [wanted]


@pytest.mark.parametrize("kind", ["xavier", "msra", "uniform", "gaussian"])
@pytest.mark.parametrize("shape", [(), (3,), (0, 3), (3, 0)])
def test_any_shape_is_filled(kind: str, shape: tuple[int, ...]) -> None:
    array = torch.full((math.prod(shape),), math.nan)
    filler_for(shape, FillerParameter(type=kind))(array)
    assert array.isfinite().all()


@pytest.mark.parametrize(
    "text",
    [
        "type: 'uniform' max: inf",
        "type: 'uniform' min: nan",
        "type: 'uniform' min: -3e38 max: 3e38",
        "type: 'gaussian' std: inf",
        "type: 'gaussian' mean: nan",
    ],
)
def test_numbers_are_drawn_from_finite_bounds(text: str) -> None:
    with pytest.raises(ShapeError, match="filler"):
        filler_for((2, 2), parse_text(text, FillerParameter()))


def test_a_sparse_filler_needs_an_axis() -> None:
    with pytest.raises(ShapeError, match="needs an axis of outputs"):
        filler_for((), FillerParameter(type="gaussian", sparse=1))
