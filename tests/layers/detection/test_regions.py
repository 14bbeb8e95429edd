"""Pooling of regions, bin by bin."""

from __future__ import annotations

import math

import numpy as np
import pytest

from caffe.errors import CaffeError, ShapeError
from tests.helpers.formulas import c_round
from tests.helpers.running import floats, run


def random_regions(
    rng: np.random.Generator, count: int, pictures: int, size: tuple[float, float]
) -> np.ndarray:
    """Regions that may reach over the edges of a picture of this height and width."""
    corner = rng.uniform(-0.2, 0.9, size=(count, 2)) * size[::-1]
    far = corner + rng.uniform(0.05, 0.8, size=(count, 2)) * size[::-1]
    picture = rng.integers(0, pictures, size=(count, 1))
    return floats(np.concatenate([picture, corner, np.maximum(far, 1)], 1))


def of_bins(edges: list[tuple[int, int]], size: int) -> list[slice]:
    return [slice(min(max(a, 0), size), min(max(b, 0), size)) for a, b in edges]


@pytest.mark.parametrize("seed", range(10))
def test_roi_pooling_takes_the_largest_of_each_bin(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = floats(rng.normal(size=(2, 3, *rng.integers(3, 12, 2))))
    ph, pw, scale = int(rng.integers(1, 8)), int(rng.integers(1, 8)), float(rng.choice([0.5, 0.25]))
    height, width = x.shape[2:]
    rois = random_regions(rng, 7, 2, (height / scale, width / scale))
    (top,) = run(
        f'type: "ROIPooling" roi_pooling_param {{ pooled_h: {ph} pooled_w: {pw} '
        f"spatial_scale: {scale} }}",
        x,
        rois,
    )
    expected = np.zeros((7, 3, ph, pw), np.float32)
    for r, (picture, *corners) in enumerate(rois.astype(np.float64)):
        x1, y1, x2, y2 = (c_round(c * scale) for c in corners)
        sides = [(y1, max(y2 - y1 + 1, 1), ph), (x1, max(x2 - x1 + 1, 1), pw)]
        rows, columns = (
            [(start + i * side // bins, start + -(-(i + 1) * side // bins)) for i in range(bins)]
            for start, side, bins in sides
        )
        for i, a in enumerate(of_bins(rows, height)):
            for j, b in enumerate(of_bins(columns, width)):
                values = x[int(picture), :, a, b]
                if values.size:
                    expected[r, :, i, j] = values.max((1, 2))
    np.testing.assert_array_equal(top, expected)


def test_roi_pooling_with_a_pad_ratio_sees_more() -> None:
    x = np.random.default_rng(0).normal(size=(1, 2, 12, 14))
    regions = np.array([[0, 0.0, 8.0, 13.0, 17.0]])
    text = "pooled_h: 2 pooled_w: 2 spatial_scale: 0.5"
    (top,) = run(f'type: "ROIPooling" roi_pooling_param {{ {text} pad_ratio: 0.2 }}', x, regions)
    pad = np.array([14, 10]) * 0.2
    start = [max(0, c_round((c - p) / 2)) for c, p in zip((0, 8), pad, strict=True)]
    end = [c_round((c + p) / 2) for c, p in zip((13, 17), pad, strict=True)]
    grown = np.array([[0, 2 * start[0], 2 * start[1], 2 * end[0], 2 * end[1]]])
    (plain,) = run(f'type: "ROIPooling" roi_pooling_param {{ {text} }}', x, grown)
    np.testing.assert_array_equal(top, plain)


@pytest.mark.parametrize("seed", range(10))
def test_psroi_pooling_takes_the_mean_of_each_bin_from_its_own_channel(seed: int) -> None:
    rng = np.random.default_rng(seed)
    group, channels, scale = int(rng.integers(1, 5)), 2, 0.25
    x = floats(rng.normal(size=(2, channels * group * group, *rng.integers(3, 12, 2))))
    height, width = x.shape[2:]
    rois = random_regions(rng, 6, 2, (height / scale, width / scale))
    (top,) = run(
        f'type: "PSROIPooling" psroi_pooling_param {{ output_dim: {channels} group_size: {group} '
        f"spatial_scale: {scale} }}",
        x,
        rois,
    )
    expected = np.zeros((6, channels, group, group))
    for r, (picture, *corners) in enumerate(rois.astype(np.float64)):
        x1, y1 = (c_round(c) * scale for c in corners[:2])
        x2, y2 = ((c_round(c) + 1) * scale for c in corners[2:])
        w, h = max(x2 - x1, 0.1) / group, max(y2 - y1, 0.1) / group
        rows = [(math.floor(y1 + i * h), math.ceil(y1 + (i + 1) * h)) for i in range(group)]
        columns = [(math.floor(x1 + i * w), math.ceil(x1 + (i + 1) * w)) for i in range(group)]
        for c in range(channels):
            for i, a in enumerate(of_bins(rows, height)):
                for j, b in enumerate(of_bins(columns, width)):
                    values = x[int(picture), (c * group + i) * group + j, a, b]
                    expected[r, c, i, j] = values.mean() if values.size else 0
    np.testing.assert_allclose(top, expected, atol=1e-5)


def interpolated(x: np.ndarray, at_y: float, at_x: float, margin: float) -> np.ndarray:
    height, width = x.shape[1:]
    if not (-margin <= at_y <= height - 1 + margin and -margin <= at_x <= width - 1 + margin):
        return np.zeros(len(x))
    at_y, at_x = min(max(at_y, 0), height - 1), min(max(at_x, 0), width - 1)
    y, u = int(at_y), at_y - int(at_y)
    z, v = int(at_x), at_x - int(at_x)
    below, right = min(y + 1, height - 1), min(z + 1, width - 1)
    upper = (1 - v) * x[:, y, z] + v * x[:, y, right]
    lower = (1 - v) * x[:, below, z] + v * x[:, below, right]
    return (1 - u) * upper + u * lower


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("ratio", [-1, 2])
def test_roi_align_takes_means_of_interpolated_points(seed: int, ratio: int) -> None:
    rng = np.random.default_rng(seed)
    ph, pw, scale = int(rng.integers(1, 5)), int(rng.integers(1, 5)), 0.25
    x = rng.normal(size=(2, 3, *rng.integers(3, 12, 2)))
    rois = random_regions(rng, 5, 2, (x.shape[2] / scale, x.shape[3] / scale))
    (top,) = run(
        f'type: "ROIAlign" roi_align_param {{ pooled_h: {ph} pooled_w: {pw} '
        f"spatial_scale: {scale} sampling_ratio: {ratio} }}",
        x,
        rois,
    )
    for r, (picture, *corners) in enumerate(rois.astype(np.float64)):
        x1, y1, x2, y2 = (c * scale for c in corners)
        w, h = max(x2 - x1, 1) / pw, max(y2 - y1, 1) / ph
        many_y, many_x = (ratio, ratio) if ratio > 0 else (math.ceil(h), math.ceil(w))
        for i in range(ph):
            for j in range(pw):
                points = [
                    interpolated(
                        x[int(picture)],
                        y1 + (i + (a + 0.5) / many_y) * h,
                        x1 + (j + (b + 0.5) / many_x) * w,
                        1,
                    )
                    for a in range(many_y)
                    for b in range(many_x)
                ]
                np.testing.assert_allclose(top[r, :, i, j], np.mean(points, 0), atol=2e-4)


def test_roi_align_of_cascade_rcnn_gives_the_values_at_the_corners_of_bins() -> None:
    rng = np.random.default_rng(0)
    x, scale, pad = rng.normal(size=(1, 3, 6, 8)), 0.25, 0.1
    rois = random_regions(rng, 5, 1, (24, 32))
    (top,) = run(
        'type: "ROIAlign" roi_pooling_param { pooled_h: 3 pooled_w: 4 spatial_scale: 0.25 '
        "pad_ratio: 0.1 }",
        x,
        rois,
    )
    assert top.shape == (5, 3, 4, 5)
    for r, (_, x1, y1, x2, y2) in enumerate(rois.astype(np.float64)):
        pad_w, pad_h = (x2 - x1 + 1) * pad, (y2 - y1 + 1) * pad
        x1, x2 = (x1 - pad_w) * scale - 0.5, (x2 + pad_w) * scale - 0.5
        y1, y2 = (y1 - pad_h) * scale - 0.5, (y2 + pad_h) * scale - 0.5
        for i in range(4):
            for j in range(5):
                at = (y1 + i * (y2 - y1) / 3, x1 + j * (x2 - x1) / 4)
                np.testing.assert_allclose(top[r, :, i, j], interpolated(x[0], *at, 0.5), atol=1e-4)


REGION_LAYERS = {
    "ROIPooling": "roi_pooling_param { pooled_h: 2 pooled_w: 2 spatial_scale: 0.5 }",
    "PSROIPooling": "psroi_pooling_param { output_dim: 1 group_size: 2 spatial_scale: 0.5 }",
    "ROIAlign": "roi_align_param { pooled_h: 2 pooled_w: 2 spatial_scale: 0.5 }",
}


@pytest.mark.parametrize("kind", REGION_LAYERS)
@pytest.mark.parametrize(
    ("region", "message"),
    [
        ([2, 0, 0, 5, 5], "region 1 is of picture 2, but the map has 2, from 0 to 1"),
        ([-1, 0, 0, 5, 5], "region 1 is of picture -1"),
        (
            [0, 900, 0, 950, 5],
            r"region 1 = \(900, 0, 950, 5\) lies outside the map of 4 x 6 places",
        ),
        ([0, 0, -90, 5, -80], r"region 1 = \(0, -90, 5, -80\) lies outside"),
        ([0, 0, 0, np.nan, 5], "region 1 = .* lies outside"),
    ],
)
def test_regions_off_the_map_are_named(kind: str, region: list[float], message: str) -> None:
    with pytest.raises(CaffeError, match=rf"layer 'layer' \({kind}\): {message}"):
        run(
            f'type: "{kind}" {REGION_LAYERS[kind]}',
            np.zeros((2, 4, 4, 6)),
            floats([[0, 0, 0, 3, 3], region]),
        )


@pytest.mark.parametrize("kind", REGION_LAYERS)
@pytest.mark.parametrize("shape", [(3, 4), (5,), (1, 3, 5)])
def test_regions_are_rows_of_five(kind: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"rows of 5 numbers .* their shape is"):
        run(f'type: "{kind}" {REGION_LAYERS[kind]}', np.zeros((1, 4, 4, 4)), np.zeros(shape))


@pytest.mark.parametrize("kind", REGION_LAYERS)
def test_regions_of_four_axes_are_rows_too(kind: str) -> None:
    x = np.random.default_rng(0).normal(size=(1, 4, 4, 6))
    rois = floats([[0, 0, 0, 3, 3], [0, 2, 1, 9, 7]])
    text = f'type: "{kind}" {REGION_LAYERS[kind]}'
    np.testing.assert_array_equal(run(text, x, rois), run(text, x, rois.reshape(2, 5, 1, 1)))


def test_psroi_pooling_refuses_a_map_of_other_channels() -> None:
    with pytest.raises(ShapeError, match="need 4 channels, but the map has 5"):
        run(
            f'type: "PSROIPooling" {REGION_LAYERS["PSROIPooling"]}',
            np.zeros((1, 5, 4, 4)),
            np.zeros((1, 5)),
        )


def interpolated_at(x: np.ndarray, v: float, u: float) -> float:
    """A map's value between its places."""
    top, left, low, right = math.floor(v), math.floor(u), math.ceil(v), math.ceil(u)
    dv, du = v - top, u - left
    upper = x[top, left] * (1 - du) + x[top, right] * du
    return float(upper * (1 - dv) + (x[low, left] * (1 - du) + x[low, right] * du) * dv)


@pytest.mark.parametrize("moving", [True, False])
@pytest.mark.parametrize("seed", range(6))
def test_deformable_psroi_pooling_moves_its_bins(seed: int, moving: bool) -> None:
    rng = np.random.default_rng(seed)
    group, part, samples, channels, classes, scale = 3, 2, 2, 4, 2, 0.5
    x = floats(rng.normal(size=(2, channels * group * group, *rng.integers(5, 12, 2))))
    height, width = x.shape[2:]
    rois = random_regions(rng, 5, 2, (height / scale, width / scale))
    offsets = floats(rng.normal(size=(5, 2 * classes, part, part)))
    text = f"output_dim: {channels} group_size: {group} spatial_scale: {scale} part_size: {part} "
    text += f"sample_per_part: {samples} trans_std: 0.2 no_trans: {str(not moving).lower()}"
    (top,) = run(
        f'type: "DeformablePSROIPooling" deformable_psroi_pooling_param {{ {text} }}',
        x,
        rois,
        offsets,
    )
    expected = np.zeros((5, channels, group, group))
    for r, c, i, j in np.ndindex(expected.shape):
        picture, *corners = rois[r].astype(np.float64)
        x1, y1 = (c_round(corner) * scale - 0.5 for corner in corners[:2])
        x2, y2 = ((c_round(corner) + 1) * scale - 0.5 for corner in corners[2:])
        wide, high = max(x2 - x1, 0.1), max(y2 - y1, 0.1)
        own = 2 * (c // (channels // classes))
        at = (i * part // group, j * part // group)
        dx, dy = (offsets[r, own + k][at] * 0.2 if moving else 0.0 for k in (0, 1))
        values = []
        for a, b in np.ndindex(samples, samples):
            u = x1 + (j + b / samples) * wide / group + dx * wide
            v = y1 + (i + a / samples) * high / group + dy * high
            if -0.5 <= u <= width - 0.5 and -0.5 <= v <= height - 0.5:
                u, v = min(max(u, 0), width - 1), min(max(v, 0), height - 1)
                channel = x[int(picture), (c * group + i) * group + j]
                values.append(interpolated_at(channel, v, u))
        expected[r, c, i, j] = np.mean(values) if values else 0
    np.testing.assert_allclose(top, expected, rtol=1e-4, atol=1e-4)


def test_deformable_psroi_pooling_names_offsets_that_do_not_fit() -> None:
    text = "output_dim: 4 group_size: 2 spatial_scale: 1 part_size: 2"
    layer = f'type: "DeformablePSROIPooling" deformable_psroi_pooling_param {{ {text} }}'
    x, rois = np.zeros((1, 16, 5, 5)), np.zeros((3, 5))
    with pytest.raises(ShapeError, match=r"offsets of the shape \(3, 2 K, 2, 2\)"):
        run(layer, x, rois, np.zeros((3, 2, 3, 3)))
    with pytest.raises(ShapeError, match="does not divide by the offsets' 3 classes"):
        run(layer, x, rois, np.zeros((3, 6, 2, 2)))
