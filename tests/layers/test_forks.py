"""Layers of the forks against small references written out in numpy, on randomised shapes."""

from __future__ import annotations

import math

import numpy as np
import pytest

import caffe
from caffe.errors import CaffeError, NetError, ShapeError
from caffe.layers.sequences import edit_distance
from tests.helpers.running import close, run

SEEDS = range(4)


def shape(rng: np.random.Generator, *most: int, least: int = 1) -> tuple[int, ...]:
    return tuple(int(rng.integers(least, m + 1)) for m in most)


# Element by element.


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


# Sums and products.


@pytest.mark.parametrize("seed", SEEDS)
def test_axpy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, c, h, w = shape(rng, 3, 4, 3, 3)
    a, x, y = rng.normal(size=(n, c)), rng.normal(size=(n, c, h, w)), rng.normal(size=(n, c, h, w))
    wanted = np.array([[a[i, j] * x[i, j] + y[i, j] for j in range(c)] for i in range(n)])
    close(run('type: "Axpy"', a, x, y)[0], wanted)
    close(run('type: "Axpy"', a.reshape(n, c, 1, 1), x, y)[0], wanted)


def test_add_and_mul_spread_their_bottoms() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3, 1, 4)), rng.normal(size=(5, 4))
    close(run('type: "Add"', a, b)[0], a + b)
    close(run('type: "Mul"', a, b)[0], a * b)
    close(run('type: "Mul"', a, np.array(3.0))[0], a * 3)
    learned = 'type: "Mul" mul_param { mul_shape: 5 mul_shape: 4 }'
    close(run(learned, a, params=[b])[0], a * b)
    with pytest.raises(ShapeError, match="must agree or be 1"):
        run('type: "Add"', a, np.zeros(3))


# The same numbers elsewhere.


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


# Larger and smaller.


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


def test_a_sum_of_one_bottom_is_multiplied_by_its_coeff() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3))
    for coeff in (1, 20):
        close(run(f'type: "Eltwise" eltwise_param {{ coeff: {coeff} }}', x)[0], coeff * x)
    for text in ("", "eltwise_param { operation: MAX coeff: 2 }"):
        with pytest.raises(NetError, match="2 or more bottoms"):
            run(f'type: "Eltwise" {text}', x)


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


# Windows.


@pytest.mark.parametrize("kind", ["ConvolutionDepthwise", "DepthwiseConvolution"])
def test_depthwise_convolution(kind: str) -> None:
    rng = np.random.default_rng(0)
    x, weight, bias = (
        rng.normal(size=(2, 3, 5, 6)),
        rng.normal(size=(3, 1, 3, 3)),
        rng.normal(size=3),
    )
    rest = "num_output: 3 kernel_size: 3 pad: 1 stride: 2"
    plain = f'type: "Convolution" convolution_param {{ {rest} group: 3 }}'
    wanted = run(plain, x, params=[weight, bias])[0]
    for group in ("", "group: 3"):
        text = f'type: "{kind}" convolution_param {{ {rest} {group} }}'
        close(run(text, x, params=[weight, bias])[0], wanted)


@pytest.mark.parametrize("seed", SEEDS)
def test_convolution_padded_side_by_side(seed: int) -> None:
    rng = np.random.default_rng(seed)
    left, right, top, bottom = (int(v) for v in rng.integers(0, 4, size=4))
    bottom += not any((left, right, top, bottom))
    x, weight = rng.normal(size=(1, 2, 5, 6)), rng.normal(size=(2, 2, 3, 3))
    rest = "num_output: 2 kernel_size: 3 stride: 2 bias_term: false"
    sides = f"pad_l: {left} pad_r: {right} pad_t: {top} pad_b: {bottom}"
    padded = np.pad(x, [(0, 0), (0, 0), (top, bottom), (left, right)])
    wanted = run(f'type: "Convolution" convolution_param {{ {rest} }}', padded, params=[weight])[0]
    text = f'type: "Convolution" convolution_param {{ {rest} {sides} }}'
    close(run(text, x, params=[weight])[0], wanted)


def test_same_padding() -> None:
    x, weight = np.ones((1, 1, 5, 6)), np.ones((1, 1, 3, 3))
    rest = "num_output: 1 kernel_size: 3 stride: 2 bias_term: false pad_type: 1"
    found = run(f'type: "Convolution" convolution_param {{ {rest} }}', x, params=[weight])[0]
    # 5 rows get one above and below, 6 columns one behind.
    close(found[0, 0], np.array([[6, 6, 4], [9, 9, 6], [6, 6, 4]]))
    pool = (
        'type: "Pooling" pooling_param { kernel_size: 3 stride: 2 pad_type: 1 pool: AVE_EXC_PAD }'
    )
    close(run(pool, x)[0], np.ones((1, 1, 3, 3)))


def test_padding_given_twice_is_refused() -> None:
    text = 'type: "Convolution" convolution_param { num_output: 1 kernel_size: 3 pad: 1 pad_l: 1 }'
    with pytest.raises(NetError, match="not both"):
        run(text, np.ones((1, 1, 5, 5)))


@pytest.mark.parametrize("pool", ["MAX", "AVE", "AVE_EXC_PAD"])
@pytest.mark.parametrize("seed", SEEDS)
def test_pooling_padded_side_by_side(pool: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    left, right, top, bottom = (int(v) for v in rng.integers(0, 3, size=4))
    left += not any((left, right, top, bottom))
    ceil = bool(seed % 2)
    h, w, kernel, stride = 6, 7, 3, 2
    x = rng.normal(size=(1, 2, h, w))

    def count(n: int, before: int, after: int) -> int:
        room = n + before + after - kernel
        number = (math.ceil(room / stride) if ceil else room // stride) + 1
        return number - ((number - 1) * stride >= n + before)

    wanted = np.empty((1, 2, count(h, top, bottom), count(w, left, right)))
    for i, j in np.ndindex(*wanted.shape[2:]):
        y, z = i * stride - top, j * stride - left
        inside = x[:, :, max(y, 0) : y + kernel, max(z, 0) : z + kernel]
        ends = (min(y + kernel, h + bottom) - y) * (min(z + kernel, w + right) - z)
        wanted[:, :, i, j] = {
            "MAX": inside.max((2, 3)),
            "AVE": inside.sum((2, 3)) / ends,
            "AVE_EXC_PAD": inside.mean((2, 3)),
        }[pool]
    sides = f"pad_l: {left} pad_r: {right} pad_t: {top} pad_b: {bottom}"
    rest = f"kernel_size: 3 stride: 2 ceil_mode: {str(ceil).lower()}"
    text = f"pooling_param {{ pool: {pool} {rest} {sides} }}"
    close(run(f'type: "Pooling" {text}', x)[0], wanted)
    if pool == "MAX":
        values, mask = run(f'type: "Pooling" {text}', x, tops=2)
        flat = x.reshape(1, 2, -1)
        found = np.take_along_axis(flat, mask.reshape(1, 2, -1).astype(int), 2)
        close(found.reshape(values.shape), values)


def test_ceil_mode_is_the_old_rule_or_floor() -> None:
    x = np.zeros((1, 1, 6, 6))
    for ceil, size in (("true", 3), ("false", 2)):
        text = f'type: "Pooling" pooling_param {{ kernel_size: 3 stride: 2 ceil_mode: {ceil} }}'
        assert run(text, x)[0].shape == (1, 1, size, size)


# Normalisation.


def normalized(x: np.ndarray, mean: np.ndarray, variance: np.ndarray, eps: float) -> np.ndarray:
    spread = (slice(None), *[np.newaxis] * (x.ndim - 2))
    return (x - mean[spread]) / np.sqrt(variance[spread] + eps)


def test_batch_norm_with_eps_outside_the_root() -> None:
    rng = np.random.default_rng(0)
    x, mean, variance = rng.normal(size=(2, 3, 4, 4)), rng.normal(size=3), rng.uniform(1, 2, size=3)
    text = 'type: "BatchNorm" batch_norm_param { add_eps_before_sqrt: false eps: 0.5 }'
    found = run(text, x, params=[2 * mean, 2 * variance, np.array([2.0])])[0]
    spread = (slice(None), np.newaxis, np.newaxis)
    close(found, (x - mean[spread]) / (np.sqrt(variance[spread]) + 0.5))


def test_batch_norm_with_scale_and_bias() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 3, 2, 2))
    mean, scale, bias = rng.normal(size=(3, 3))
    variance = rng.uniform(1, 2, size=3)
    params = [mean, variance, np.ones(1), scale, bias]
    text = 'type: "BatchNorm" batch_norm_param { scale_bias: true }'
    spread = (slice(None), np.newaxis, np.newaxis)
    wanted = normalized(x, mean, variance, 1e-5) * scale[spread] + bias[spread]
    close(run(text, x, params=params)[0], wanted, 1e-4)
    wanted = normalized(x, x.mean((0, 2, 3)), x.var((0, 2, 3)), 1e-5) * scale[spread] + bias[spread]
    close(run(text, x, params=params, phase=caffe.TRAIN)[0], wanted, 1e-4)


def test_scaled_batch_norm_trains_and_keeps_running_means() -> None:
    net = caffe.Net(
        """force_backward: true
        layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 4 dim: 2 } } }
        layer { name: "bn" type: "BatchNorm" bottom: "x" top: "y"
                batch_norm_param { scale_bias: true moving_average_fraction: 0.5 } }
        layer { name: "s" type: "Reduction" bottom: "y" top: "s" loss_weight: 1 }""",
        caffe.TRAIN,
    )
    rng = np.random.default_rng(0)
    running = None
    for step in range(4):
        x = rng.normal(size=(4, 2)).astype(np.float32)
        net.forward(x=x)
        batch = np.stack([x.mean(0), x.var(0)])
        running = batch if step < 2 else (running + batch) / 2
        close(np.stack([net.params["bn"][i].data for i in range(2)]), running, 1e-4)
    net.backward()
    close(net.params["bn"][4].diff, np.full(2, 4.0))


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


# Reading text.


def test_continuation_indicator() -> None:
    text = 'type: "ContinuationIndicator" continuation_indicator_param { time_step: 3 axis: 1 }'
    close(run(text, np.zeros((3, 2, 5)))[0], np.array([[0, 0], [1, 1], [1, 1]]))
    text = (
        'type: "ContinuationIndicator" continuation_indicator_param { time_step: 2 batch_size: 1 }'
    )
    close(run(text)[0], np.array([[0], [1]]))


def test_continuation_indicator_without_a_bottom_in_a_net() -> None:
    net = caffe.Net(
        """layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 1 } } }
        layer { name: "c" type: "ContinuationIndicator" top: "c"
                continuation_indicator_param { time_step: 2 batch_size: 1 } }
        layer { name: "a" type: "Add" bottom: "x" bottom: "c" top: "y" }""",
        caffe.TEST,
    )
    for value in (1, 2):
        found = net.forward(x=np.full((2, 1), value))["y"]
        assert found.tolist() == [[value], [value + 1]]


def lstm(x: np.ndarray, w_x: np.ndarray, w_h: np.ndarray, bias: np.ndarray) -> np.ndarray:
    sigmoid = lambda v: 1 / (1 + np.exp(-v))  # noqa: E731
    count, size = x.shape[1], w_h.shape[1]
    hidden = cell = np.zeros((count, size))
    tops = []
    for step in x:
        i, f, o, g = np.split(step @ w_x.T + bias + hidden @ w_h.T, 4, axis=1)
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
        hidden = sigmoid(o) * np.tanh(cell)
        tops.append(hidden)
    return np.array(tops)


def test_lstm_of_the_ocr_forks() -> None:
    rng = np.random.default_rng(0)
    steps, count, inputs, size = 4, 3, 5, 2
    x = rng.normal(size=(steps, count, inputs))
    params = [rng.normal(size=s) for s in ((4 * size, inputs), (4 * size, size), (4 * size,))]
    wanted = lstm(x, *params)
    text = f'type: "Lstm" lstm_param {{ num_output: {size} clipping_threshold: 0.1 }}'
    close(run(text, x, params=params)[0], wanted)
    text = f'type: "Lstm" lstm_param {{ num_output: {size} batch_size: {count} }}'
    flat = run(text, x.reshape(-1, inputs), params=params)[0]
    close(flat, wanted.reshape(-1, size))
    # Markers: the second sequence begins anew at step 2.
    marks = np.array([[0, 0, 0], [1, 1, 1], [1, 0, 1], [1, 1, 1]])
    found = run(f'type: "Lstm" lstm_param {{ num_output: {size} }}', x, marks, params=params)[0]
    close(found[:, 0], wanted[:, 0])
    close(found[2:, 1], lstm(x[2:, 1:2], *params)[:, 0])


def test_ctc_loss_is_that_of_all_paths() -> None:
    rng = np.random.default_rng(0)
    steps, count, classes = 4, 2, 3
    x = rng.normal(size=(steps, count, classes))
    labels = np.array([[1, 2, 0], [1, 1, 0]])
    odds = np.exp(x) / np.exp(x).sum(2, keepdims=True)
    total = 0.0
    for n in range(count):
        wanted = [label for label in labels[n] if label]
        chance = 0.0
        for path in np.ndindex(*[classes] * steps):
            merged = [c for c, last in zip(path, (None, *path), strict=False) if c != last]
            if [c for c in merged if c] == wanted:
                chance += math.prod(odds[t, n, c] for t, c in enumerate(path))
        total -= math.log(chance)
    text = 'type: "CtcLoss" ctc_loss_param { alphabet_size: 3 time_step: 4 }'
    close(run(text, x, labels)[0], np.array(total / count), 1e-4)
    with pytest.raises(CaffeError, match="between 0 and 2"):
        run(text, x, labels + 2)


def test_ctc_greedy_decoder() -> None:
    path = np.array([[1, 1, 0, 1, 2, 2], [2, 0, 0, 0, 1, 1]])
    x = np.eye(3)[path].transpose(1, 0, 2)
    marks = np.ones((6, 2))
    marks[0] = 0
    marks[5, 1] = 0
    right = np.full((6, 2), -1.0)
    right[:3, 0] = 1, 1, 2
    right[:1, 1] = 2
    param = "ctc_decoder_param { blank_index: 0 }"
    text = f'type: "CTCGreedyDecoder" {param}'
    labels, score, accuracy = run(text, x, marks, right, tops=3)
    assert labels.reshape(2, 6).tolist() == [[1, 1, 2, -1, -1, -1], [2, 1, -1, -1, -1, -1]]
    assert score.ravel().tolist() == [-6, -5]
    close(accuracy.ravel(), np.array([0.75]))
    assert run(text, x)[0][1, :3, 0, 0].tolist() == [2, 1, -1]


def test_edit_distance() -> None:
    assert edit_distance("kitten", "sitting") == 3  # type: ignore[arg-type]
    assert edit_distance([], [1, 2]) == 2


def test_labelsequence_accuracy() -> None:
    path = np.array([[0, 1, 1, 0, 2], [1, 0, 0, 0, 0]])
    labels = np.array([[1, 2, 0], [1, 1, 0]])
    assert run('type: "LabelsequenceAccuracy"', np.eye(3)[path], labels)[0] == 0.5


# FlowNet.


@pytest.mark.parametrize("kind", ["MULTIPLY", "SUBTRACT"])
@pytest.mark.parametrize("seed", SEEDS)
def test_correlation(kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    kernel = int(rng.choice([1, 3]))
    reach, stride_1, stride_2, pad = shape(rng, 3, 2, 2, 4)
    n, c, h, w = 2, 3, 9, 8
    a, b = rng.normal(size=(2, n, c, h, w))
    margin = reach + kernel // 2
    size = [math.ceil((m + 2 * pad - 2 * margin) / stride_1) for m in (h, w)]
    params = (
        f"kernel_size: {kernel} max_displacement: {reach} stride_1: {stride_1} "
        f"stride_2: {stride_2} pad: {pad} correlation_type: {kind}"
    )
    text = f'type: "Correlation" correlation_param {{ {params} }}'
    if min(size) < 1:
        with pytest.raises(ShapeError, match="do not fit"):
            run(text, a, b)
        return
    around = [(0, 0), (0, 0), (pad, pad), (pad, pad)]
    first, second = np.pad(a, around), np.pad(b, around)
    grid = reach // stride_2
    moves = [d * stride_2 for d in range(-grid, grid + 1)]
    wanted = np.zeros((n, len(moves) ** 2, *size))
    for k, (dy, dx) in enumerate((dy, dx) for dy in moves for dx in moves):
        for i, j in np.ndindex(*size):
            y, z = i * stride_1 + reach, j * stride_1 + reach
            one = first[:, :, y : y + kernel, z : z + kernel]
            two = second[:, :, y + dy : y + dy + kernel, z + dx : z + dx + kernel]
            value = one * two if kind == "MULTIPLY" else np.abs(one - two)
            wanted[:, k, i, j] = value.mean((1, 2, 3))
    close(run(text, a, b)[0], wanted)


@pytest.mark.parametrize("seed", SEEDS)
def test_flow_warp(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, c, h, w = shape(rng, 2, 3, 5, 5)
    x, flow = rng.normal(size=(n, c, h, w)), 2 * rng.normal(size=(n, 2, h, w))
    wanted = np.full_like(x, np.nan)
    for i, y, z in np.ndindex(n, h, w):
        u, v = z + flow[i, 0, y, z], y + flow[i, 1, y, z]
        if 0 <= u < w and 0 <= v < h:
            a, b = int(v), int(u)
            a2, b2 = min(a + 1, h - 1), min(b + 1, w - 1)
            p, q = v - a, u - b
            wanted[i, :, y, z] = (1 - p) * ((1 - q) * x[i, :, a, b] + q * x[i, :, a, b2]) + p * (
                (1 - q) * x[i, :, a2, b] + q * x[i, :, a2, b2]
            )
    text = 'type: "FlowWarp" flow_warp_param { fill_value: NOT_A_NUMBER }'
    close(run(text, x, flow)[0], wanted, 1e-4)
    close(run('type: "FlowWarp"', x, flow)[0], np.nan_to_num(wanted), 1e-4)
