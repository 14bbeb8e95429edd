"""FlowNet 2's layers against what its source says, place by place."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import caffe
from caffe.errors import NetError, ShapeError
from tests.helpers.formulas import c_round
from tests.helpers.running import floats, run


def test_channel_norm_is_the_length_over_the_channels() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    (top,) = run('type: "ChannelNorm"', x)
    np.testing.assert_allclose(top, np.sqrt((x**2).sum(1, keepdims=True)), rtol=1e-5)


def kernel(kind: str, d: float) -> float:
    d = abs(d)
    if kind == "LINEAR":
        return max(0.0, 1 - d)
    if d <= 1:
        return d * d * (1.5 * d - 2.5) + 1
    return d * (d * (-0.5 * d + 2.5) - 4) + 2 if d < 2 else 0.0


def reference_resample(
    x: np.ndarray, size: tuple[int, int], kind: str, antialias: bool
) -> np.ndarray:
    height, width = x.shape
    fy, fx = height / size[0], width / size[1]
    antialias = antialias and (fx > 1 or fy > 1)
    ax, ay = (1 / f if antialias else 1.0 for f in (fx, fy))
    wide = 4 if kind == "CUBIC" else 2
    rx, ry = (2 if f < 1 else math.ceil(wide / a) for f, a in ((fx, ax), (fy, ay)))
    top = np.zeros(size)
    for i in range(size[0]):
        for j in range(size[1]):
            # The half step is that of the other axis, as in the original.
            at_x, at_y = j * fx + fy / 2 - 0.5, i * fy + fx / 2 - 0.5
            total = weights = 0.0
            for row in range(c_round(at_y) - ry, c_round(at_y) + ry + 1):
                for column in range(c_round(at_x) - rx, c_round(at_x) + rx + 1):
                    if 0 <= row < height and 0 <= column < width:
                        w = kernel(kind, ax * (at_x - column)) * kernel(kind, ay * (at_y - row))
                        total += w * x[row, column]
                        weights += w
            top[i, j] = total / weights if weights else 0
    return top


@pytest.mark.parametrize("kind", ["LINEAR", "CUBIC"])
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("size", [(8, 12), (2, 3), (3, 9), (4, 6), (1, 1)])
def test_resample_weighs_the_places_around(
    kind: str, antialias: bool, size: tuple[int, int]
) -> None:
    x = np.random.default_rng(1).normal(size=(1, 2, 4, 6))
    text = f"resample_param {{ height: {size[0]} width: {size[1]} type: {kind} "
    text += f"antialias: {str(antialias).lower()} }}"
    (top,) = run(f'type: "Resample" {text}', x)
    expected = [reference_resample(plane, size, kind, antialias) for plane in x[0]]
    np.testing.assert_allclose(top[0], expected, atol=2e-5)


def test_resample_takes_its_size_from_a_factor_or_the_second_bottom() -> None:
    x = np.arange(12.0).reshape(1, 1, 3, 4)
    (double,) = run('type: "Resample" resample_param { factor: 2 type: NEAREST }', x)
    assert double[0, 0, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    (like,) = run('type: "Resample"', x, np.zeros((1, 7, 5, 2)))
    assert like.shape == (1, 1, 5, 2)
    with pytest.raises(ShapeError, match="width and height, a factor, or a second bottom"):
        run('type: "Resample"', x)
    with pytest.raises(NetError, match="AREA"):
        run('type: "Resample" resample_param { factor: 2 type: AREA }', x)


@pytest.mark.parametrize("direction", [-1, 0, 1])
@pytest.mark.parametrize("pad", [1, 3])
def test_correlation_1d_compares_along_rows(direction: int, pad: int) -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(2, 1, 3, 4, 9))
    most, kernel_size, step = 3, 3, 2
    text = f"""correlation_param {{ pad: {pad} kernel_size: {kernel_size} max_displacement: {most}
        stride_1: 2 stride_2: {step} single_direction: {direction} }}"""
    if pad == 1:
        # 9 + 2 - 2 * 4 leaves three columns.
        assert math.ceil((9 + 2 - 8) / 2) == 2
    (top,) = run(f'type: "Correlation1D" {text}', a, b)
    reach = most // step
    first = {-1: -reach - 1, 0: -reach, 1: 0}[direction]
    count = 2 * reach + 1 if direction == 0 else reach + 1
    padded = [np.pad(x[0], ((0, 0), (0, 0), (pad, pad))) for x in (a, b)]
    height, width = math.ceil((4 - 2) / 2), math.ceil((9 + 2 * pad - 2 * (most + 1)) / 2)
    assert top.shape == (1, count, height, width)
    wide = padded[0].shape[2]
    for c in range(count):
        for i in range(height):
            for j in range(width):
                y, x = 2 * i, 2 * j + most
                total = 0.0
                for dy in range(kernel_size):
                    for dx in range(kernel_size):
                        other = x + dx + (first + c) * step
                        if 0 <= other < wide:
                            total += padded[0][:, y + dy, x + dx] @ padded[1][:, y + dy, other]
                expected = total / (3 * kernel_size**2)
                assert top[0, c, i, j] == pytest.approx(expected, abs=1e-5)


def test_mean_scales_and_shifts() -> None:
    x = np.random.default_rng(0).normal(size=(1, 2, 3, 3))
    text = """mean_param { operation: SUBTRACT value: 1 value: 2 mean_scale: 3 input_scale: 4
              output_scale: 0.5 }"""
    (top,) = run(f'type: "Mean" {text}', x)
    expected = 0.5 * (4 * x - 3 * np.array([1, 2])[:, None, None])
    np.testing.assert_allclose(top, expected, rtol=1e-5)


AUGMENT = """
input: "x" input_shape {{ dim: 1 dim: 3 dim: {h} dim: {w} }}
layer {{ name: "aug" type: "DataAugmentation" bottom: "x" top: "y" augmentation_param {{
        recompute_mean: 1000 mean_per_pixel: {by_place} {more} }} }}
"""


@pytest.mark.parametrize("by_place", ["true", "false"])
def test_data_augmentation_takes_the_mean_of_its_weights(by_place: str, tmp_path: Path) -> None:
    small = caffe.Net(AUGMENT.format(h=4, w=5, by_place=by_place, more=""), caffe.TEST)
    means = np.random.default_rng(0).normal(size=(1, 3, 4, 5))
    small.params["aug"][1].data[...] = means
    small.params["aug"][2].data[...] = [[[[7]], [[8]], [[9]]]]
    x = np.random.default_rng(1).normal(size=(1, 3, 4, 5))
    expected = means if by_place == "true" else np.array([7, 8, 9]).reshape(1, 3, 1, 1)
    np.testing.assert_allclose(small.forward(x=x)["y"], x - expected, atol=1e-5)
    # A net for other pictures takes the mean of each channel.
    path = tmp_path / "w.caffemodel"
    small.save(path)
    large = caffe.Net(AUGMENT.format(h=6, w=9, by_place=by_place, more=""), caffe.TEST)
    large.copy_from(path)
    x = np.random.default_rng(2).normal(size=(1, 3, 6, 9))
    expected = expected.mean((2, 3), keepdims=True)
    np.testing.assert_allclose(large.forward(x=x)["y"], x - expected, atol=1e-5)


def test_data_augmentation_disturbs_nothing() -> None:
    text = AUGMENT.format(h=6, w=9, by_place="false", more="crop_width: 4 crop_height: 4")
    assert caffe.Net(text, caffe.TEST).blobs["y"].data.shape == (1, 3, 4, 4)
    with pytest.raises(NetError, match="at TEST only"):
        caffe.Net(text, caffe.TRAIN)


def test_lpq_loss_leaves_out_what_is_not_a_number() -> None:
    a, b = np.random.default_rng(3).normal(size=(2, 2, 3, 2, 2))
    a[0, :, 0, 0] = np.nan
    (top,) = run('type: "LpqLoss" lpq_loss_param { p: 2 q: 0.5 q_epsilon: 0.01 }', a, b)
    powers = np.nan_to_num((a - b) ** 2).sum(1)
    assert float(top) == pytest.approx(np.sqrt(powers + 0.01).sum() / 2, rel=1e-5)


def test_flow_layers_take_floats_of_any_order() -> None:
    # A view that is not laid out in rows.
    x = np.asfortranarray(np.random.default_rng(0).normal(size=(1, 2, 5, 6)))
    (top,) = run('type: "Resample" resample_param { height: 3 width: 4 }', x)
    assert top.dtype == np.float32
    assert np.isfinite(floats(top)).all()
