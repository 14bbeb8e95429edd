"""Enlarging, shrinking and unpooling, one place at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest

from caffe.errors import CaffeError, NetError, ShapeError
from tests.helpers.running import SEEDS, close, run, shape


def interpolated(x: np.ndarray, height: int, width: int) -> np.ndarray:
    """Corner on corner, one place at a time."""
    n, c, h, w = x.shape
    top = np.empty((n, c, height, width))
    for i, j in np.ndindex(height, width):
        y = i * (h - 1) / (height - 1) if height > 1 else 0.0
        z = j * (w - 1) / (width - 1) if width > 1 else 0.0
        a, b = min(int(y), h - 1), min(int(z), w - 1)
        a2, b2 = min(a + 1, h - 1), min(b + 1, w - 1)
        p, q = y - a, z - b
        top[:, :, i, j] = (1 - p) * ((1 - q) * x[:, :, a, b] + q * x[:, :, a, b2]) + p * (
            (1 - q) * x[:, :, a2, b] + q * x[:, :, a2, b2]
        )
    return top


@pytest.mark.parametrize("seed", range(8))
def test_interp(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape(rng, 2, 2, 7, 7))
    h, w = x.shape[2:]
    height, width, zoom, shrink = (int(v) for v in rng.integers(1, 6, size=4))
    cases = {
        f"height: {height} width: {width}": (height, width),
        f"zoom_factor: {zoom}": ((h - 1) * zoom + 1, (w - 1) * zoom + 1),
        f"shrink_factor: {shrink}": ((h - 1) // shrink + 1, (w - 1) // shrink + 1),
        f"full_zoom_factor: {zoom}": (h * zoom, w * zoom),
        f"shrink_factor: {shrink} zoom_factor: {zoom}": tuple(
            ((n - 1) // shrink) * zoom + 1 for n in (h, w)
        ),
    }
    for text, size in cases.items():
        found = run(f'type: "Interp" interp_param {{ {text} }}', x)[0]
        close(found, interpolated(x, *size), 1e-4)


def test_interp_cuts_the_border_off_first() -> None:
    x = np.random.default_rng(0).normal(size=(1, 2, 6, 7))
    text = 'type: "Interp" interp_param { zoom_factor: 2 pad_beg: -1 pad_end: -2 }'
    close(run(text, x)[0], interpolated(x[:, :, 1:-2, 1:-2], 5, 7), 1e-4)
    with pytest.raises(NetError, match="0 or negative"):
        run('type: "Interp" interp_param { zoom_factor: 2 pad_beg: 1 }', x)
    with pytest.raises(NetError, match="give zoom_factor"):
        run('type: "Interp"', x)


@pytest.mark.parametrize("seed", SEEDS)
def test_upsample_puts_values_where_pooling_found_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, c, h, w = shape(rng, 2, 3, 4, 4)
    less = rng.integers(0, 2, size=2)
    big = rng.normal(size=(n, c, 2 * h - less[0], 2 * w - less[1]))
    pool = 'type: "Pooling" pooling_param { kernel_size: 2 stride: 2 }'
    values, mask = run(pool, big, tops=2)
    wanted = np.zeros_like(big)
    for i in np.ndindex(n, c, h, w):
        row, column = divmod(int(mask[i]), big.shape[3])
        wanted[i[0], i[1], row, column] = values[i]
    pads = " ".join(f"pad_out_{a}: true" for a, one in zip("hw", less, strict=True) if one)
    found = run(f'type: "Upsample" upsample_param {{ scale: 2 {pads} }}', values, mask)[0]
    close(found, wanted)
    size = f"upsample_h: {big.shape[2]} upsample_w: {big.shape[3]}"
    close(run(f'type: "Upsample" upsample_param {{ {size} }}', values, mask)[0], wanted)


@pytest.mark.parametrize("size", ["unpool_size: 7", "unpool_h: 7 unpool_w: 7", ""])
def test_unpooling_of_deconvnet(size: str) -> None:
    big = np.random.default_rng(1).normal(size=(2, 3, 7, 7))
    pooling = 'type: "Pooling" pooling_param { kernel_size: 3 stride: 2 }'
    values, mask = run(pooling, big, tops=2)
    windows = "kernel_size: 3 stride: 2"
    found = run(f'type: "Unpooling" unpooling_param {{ {windows} {size} }}', values, mask)[0]
    # A value is the largest of its window, so that all others are zeros.
    wanted = np.zeros_like(big)
    for i in np.ndindex(values.shape):
        row, column = divmod(int(mask[i]), 7)
        wanted[i[0], i[1], row, column] = big[i[0], i[1], row, column]
    close(found, wanted)


def test_unpooling_refuses_what_it_cannot_do() -> None:
    x = np.ones((1, 1, 2, 2))
    with pytest.raises(NetError, match="unpool must be MAX"):
        run('type: "Unpooling" unpooling_param { unpool: TILE unpool_size: 4 }', x, x)
    with pytest.raises(NetError, match="give unpool_size"):
        run('type: "Unpooling"', x, x)
    with pytest.raises(ShapeError, match="mask of the same shape"):
        run('type: "Unpooling" unpooling_param { unpool_size: 4 }', x, np.ones((1, 1, 2, 3)))
    with pytest.raises(CaffeError, match=r"names the place 9, but a top of 3 x 3 has 9"):
        run('type: "Unpooling" unpooling_param { unpool_size: 3 }', x, 9 * x)


def test_upsample_refuses_a_mask_of_another_pooling() -> None:
    x, mask = np.ones((1, 1, 1, 1)), np.full((1, 1, 1, 1), 4)
    with pytest.raises(CaffeError, match=r"names the place 4.*2 x 2"):
        run('type: "Upsample"', x, mask)


def test_nearest_upsampling() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 2, 3))
    wanted = np.kron(x, np.ones((3, 3)))
    close(run('type: "Upsample" upsample_param { scale: 3 }', x)[0], wanted)
    text = 'type: "UpsampleDarknet" upsample_darknet_param { stride: 3 }'
    close(run(text, x)[0], wanted)


@pytest.mark.parametrize("rule", ["", "align_corners: true", "half_pixel_centers: true"])
@pytest.mark.parametrize("seed", SEEDS)
def test_resize(rule: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, c, h, w = shape(rng, 2, 2, 5, 5)
    height, width = shape(rng, 8, 8)
    x = rng.normal(size=(n, c, h, w))
    linear, nearest = (np.empty((n, c, height, width)) for _ in range(2))

    def point(i: int, old: int, new: int) -> tuple[float, float]:
        """Where a place lies, for the linear and for the nearest rule."""
        if rule.startswith("align") and new > 1:
            return i * (old - 1) / (new - 1), i * (old - 1) / (new - 1) + 0.5
        if rule.startswith("half"):
            return (i + 0.5) * old / new - 0.5, (i + 0.5) * old / new
        # With a single place the corners cannot be aligned, but the nearest still rounds.
        return i * old / new, i * old / new + 0.5 * rule.startswith("align")

    for i, j in np.ndindex(height, width):
        y, near_y = point(i, h, height)
        z, near_z = point(j, w, width)
        a, b = math.floor(y + 1e-6), math.floor(z + 1e-6)
        p, q = y - a, z - b
        a1, b1 = max(a, 0), max(b, 0)
        a2, b2 = min(max(a + 1, 0), h - 1), min(max(b + 1, 0), w - 1)
        linear[:, :, i, j] = (1 - p) * ((1 - q) * x[:, :, a1, b1] + q * x[:, :, a1, b2]) + p * (
            (1 - q) * x[:, :, a2, b1] + q * x[:, :, a2, b2]
        )
        row, column = (min(math.floor(v + 1e-6), m - 1) for v, m in ((near_y, h), (near_z, w)))
        nearest[:, :, i, j] = x[:, :, row, column]
    size = f"output_height: {height} output_width: {width} {rule}"
    for kind, field, wanted in (
        ("ResizeBilinear", "resize_bilinear_param", linear),
        ("ResizeNearestNeighbor", "resize_nearest_neighbor_param", nearest),
    ):
        text = f'type: "{kind}" {field} {{ {size} data_format: "NCHW" }}'
        close(run(text, x)[0], wanted, 1e-4)
        text = f'type: "{kind}" {field} {{ {size} }}'
        close(run(text, x.transpose(0, 2, 3, 1))[0].transpose(0, 3, 1, 2), wanted, 1e-4)


def test_interp_takes_its_size_from_a_second_bottom() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    (top,) = run('type: "Interp"', x, np.zeros((1, 7, 9, 6)))
    close(top, interpolated(x, 9, 6))


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("", (6, 9)),
        ("size_divisible_by: 4", (8, 12)),
        # Only where both are larger.
        ("size_divisible_by: 3", (6, 9)),
        ("top_height: 10 top_width: 11", (10, 11)),
        ("top_height: 4 top_width: 20", (6, 9)),
    ],
)
def test_accum_brings_maps_to_one_size(text: str, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    maps = [rng.normal(size=(2, 3, 6, 5)), rng.normal(size=(2, 1, 4, 9))]
    (top,) = run(f'type: "Accum" accum_param {{ {text} }}', *maps)
    close(top, np.concatenate([interpolated(x, *size) for x in maps], 1))


def test_accum_takes_its_size_from_a_reference() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 6, 5))
    text = 'type: "Accum" accum_param { have_reference: true }'
    (top,) = run(text, x, np.zeros((2, 4, 3, 8)))
    close(top, interpolated(x, 3, 8))
    with pytest.raises(NetError, match="beside the reference"):
        run(text, x)
    with pytest.raises(ShapeError, match="as many pictures"):
        run('type: "Accum"', x, x[:1])
