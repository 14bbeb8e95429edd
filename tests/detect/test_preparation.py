"""How a picture goes into a detector: guessed from its net, each value with its reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from caffe import detect
from caffe.detect.preparation import guess_preparation
from caffe.io.recipe import PictureRecipe
from caffe.net.construction import read_model
from tests.helpers.detectors import SSD, cells


@pytest.mark.parametrize(
    ("text", "kind", "order", "mean", "scale"),
    [
        (SSD, "rows", "bgr", (104, 117, 123), 1),
        (SSD.replace('"cells"', '"PELEE_VOC"'), "rows", "bgr", (103.94, 116.78, 123.68), 0.017),
        (SSD.replace("dim: 3 dim: 48", "dim: 1 dim: 48"), "rows", "grey", (0,), 1 / 255),
        (
            SSD.replace(
                'top: "mean"', 'top: "mean" transform_param { mean_value: 9 scale: 0.5 }', 1
            ),
            "rows",
            "bgr",
            (9, 9, 9),
            0.5,
        ),
        (SSD, "maps", "rgb", (0, 0, 0), 1 / 255),
        (SSD, "regions", "bgr", (102.9801, 115.9465, 122.7717), 1),
        (SSD, "offsets", "rgb", (127, 127, 127), 1 / 128),
    ],
)
def test_the_preparation_is_guessed_from_the_text(
    text: str, kind: str, order: str, mean: tuple[float, ...], scale: float
) -> None:
    _, param = read_model(text)
    shape = (1, 1 if order == "grey" else 3, 48, 64)
    guess = guess_preparation(param, kind, shape)
    assert isinstance(guess, PictureRecipe)
    assert (guess.order, guess.scale) == (order, pytest.approx(scale))
    np.testing.assert_allclose(guess.mean, mean, rtol=1e-6)
    assert guess.why


@pytest.mark.parametrize(
    ("kind", "group"), [("Convolution", "group: 32"), ("DepthwiseConvolution", "")]
)
def test_depthwise_convolutions_take_values_from_minus_1_to_1(kind: str, group: str) -> None:
    depthwise = f"""layer {{ name: "dw" type: "{kind}" bottom: "conf" top: "dw"
        convolution_param {{ num_output: 32 kernel_size: 3 {group} }} }}"""
    guess = guess_preparation(read_model(SSD + depthwise)[1], "rows", (1, 3, 48, 64))
    assert guess.mean == (127.5,) * 3
    assert guess.scale == 1 / 127.5


def test_each_value_of_the_preparation_has_its_reason(tmp_path: Path) -> None:
    guessed = detect.ObjectDetector(*cells(tmp_path)).preparation
    assert guessed.why == "order, mean and scale: an SSD net; size: the net's input"
    said = detect.ObjectDetector(
        *cells(tmp_path), mean=9, fit="letterbox", reasons={"mean": "a letter"}
    ).preparation
    assert said.why == (
        "order and scale: an SSD net; mean: a letter; size: the net's input; fit: as said"
    )
    text = SSD.replace('top: "mean"', 'top: "mean" transform_param { mean_value: 9 }', 1)
    assert detect.ObjectDetector(text).preparation.why == (
        "order: Caffe's usual; mean and scale: transform_param in the net's text; "
        "size: the net's input"
    )
