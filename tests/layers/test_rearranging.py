"""Layers that move numbers about and pad."""

from __future__ import annotations

import numpy as np
import pytest

from caffe.errors import NetError, ShapeError
from tests.helpers.running import SEEDS, close, run, shape


@pytest.mark.parametrize("seed", SEEDS)
def test_shuffle_channel(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, group, each, h, w = shape(rng, 2, 4, 3, 3, 3)
    x = rng.normal(size=(n, group * each, h, w))
    wanted = np.empty_like(x)
    for g in range(group):
        for i in range(each):
            wanted[:, i * group + g] = x[:, g * each + i]
    text = f'type: "ShuffleChannel" shuffle_channel_param {{ group: {group} }}'
    close(run(text, x)[0], wanted)


def test_shuffle_channel_names_what_does_not_divide() -> None:
    with pytest.raises(ShapeError, match=r"\(1, 5, 1, 1\).* 3 groups"):
        run('type: "ShuffleChannel" shuffle_channel_param { group: 3 }', np.zeros((1, 5, 1, 1)))


def test_reverse_and_transpose() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    close(run('type: "Reverse"', x)[0], x[::-1])
    close(run('type: "Reverse" reverse_param { axis: 1 axis: -1 }', x)[0], x[:, ::-1, ::-1])
    text = 'type: "Transpose" transpose_param { dim: 2 dim: 0 dim: 1 }'
    close(run(text, x)[0], x.transpose(2, 0, 1))
    with pytest.raises(ShapeError, match="each axis"):
        run('type: "Transpose" transpose_param { dim: 0 dim: 0 dim: 1 }', x)


@pytest.mark.parametrize("data_format", ["NHWC", "NCHW", "DCR", "CRD"])
def test_depth_to_space(data_format: str) -> None:
    rng = np.random.default_rng(1)
    n, depth, h, w, size = 2, 3, 2, 3, 2
    x = rng.normal(size=(n, depth * size * size, h, w))
    wanted = np.empty((n, depth, h * size, w * size))
    for d, i, j in np.ndindex(depth, size, size):
        crd = data_format == "CRD"
        channel = (d * size + i) * size + j if crd else (i * size + j) * depth + d
        wanted[:, d, i::size, j::size] = x[:, channel]
    text = (
        'type: "DepthToSpace" depth_to_space_param '
        f'{{ block_size: 2 data_format: "{data_format}" }}'
    )
    if data_format == "NHWC":
        found = run(text, x.transpose(0, 2, 3, 1))[0].transpose(0, 3, 1, 2)
    else:
        found = run(text, x)[0]
    close(found, wanted)


def test_padding_of_both_forks() -> None:
    x = np.random.default_rng(0).normal(size=(1, 2, 4, 5))
    wide = run('type: "Padding" padding_param { pad_beg: 1 pad_end: 2 }', x)[0]
    close(wide, np.pad(x, [(0, 0), (0, 0), (1, 2), (1, 2)]))
    cut = run('type: "Padding" padding_param { pad_beg: -1 pad_end: -2 }', x)[0]
    close(cut, x[:, :, 1:-2, 1:-2])
    sides = "pad_l: 1 pad_r: 2 pad_t: 3 pad_b: 0 pad_value: 7"
    found = run(f'type: "Padding" padding_param {{ {sides} }}', x)[0]
    close(found, np.pad(x, [(0, 0), (0, 0), (3, 0), (1, 2)], constant_values=7))
    numbers = " ".join(f"paddings: {n}" for n in (0, 1, 2, 0, 1, 1, 0, 3))
    found = run(f'type: "Pad" pad_param {{ {numbers} constant_values: -1 }}', x)[0]
    close(found, np.pad(x, [(0, 1), (2, 0), (1, 1), (0, 3)], constant_values=-1))
    with pytest.raises(NetError, match="positive or negative"):
        run('type: "Padding" padding_param { pad_beg: -1 pad_end: 1 }', x)


@pytest.mark.parametrize("message", ["pixel_shuffle_param", "pixelshuffle_param"])
def test_pixel_shuffle_makes_blocks_of_neighbouring_channels(message: str) -> None:
    x = np.random.default_rng(0).normal(size=(2, 12, 3, 4)).astype(np.float32)
    (top,) = run(f'type: "PixelShuffle" {message} {{ upscale_factor: 2 }}', x)
    expected = np.zeros((2, 3, 6, 8), np.float32)
    for c, row, column in np.ndindex(3, 2, 2):
        expected[:, c, row::2, column::2] = x[:, 4 * c + 2 * row + column]
    np.testing.assert_array_equal(top, expected)


def test_pass_through_makes_channels_of_blocks() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 9)).astype(np.float32)
    (top,) = run('type: "PassThrough" pass_through_param { block_height: 2 block_width: 3 }', x)
    expected = np.concatenate([x[:, :, y::2, z::3] for y in range(2) for z in range(3)], 1)
    np.testing.assert_array_equal(top, expected)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ('type: "PixelShuffle"', NetError, "upscale_factor must be at least 1"),
        ('type: "PixelShuffle" pixel_shuffle_param { upscale_factor: 3 }', ShapeError, "3 x 3"),
        ('type: "PassThrough"', NetError, "block_height and block_width must be positive"),
        (
            'type: "PassThrough" pass_through_param { block_height: 2 block_width: 2 }',
            ShapeError,
            "does not divide into blocks of 2 x 2",
        ),
    ],
)
def test_rearrangements_name_what_does_not_fit(
    text: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run(text, np.zeros((1, 4, 3, 4)))
