"""Pooling beyond the golden cases: every window is recomputed by hand, oddities included."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

import caffe
from caffe.compiled import llvm
from caffe.errors import CaffeError
from caffe.layers.asking import later
from caffe.layers.pooling import Windows, max_pool
from tests.helpers.precision import needs_bfloat16
from tests.helpers.running import SEEDS, close, feed, layer_net, run
from tests.helpers.second_store import CountingStore

LOWEST = -np.finfo(np.float32).max


def expected_size(size: int, k: int, s: int, p: int, padded: bool, floor: bool) -> int:
    count = (math.floor if floor else math.ceil)((size + 2 * p - k) / s) + 1
    return count - 1 if padded and (count - 1) * s >= size + p else count


def by_hand(
    x: np.ndarray,
    pool: str,
    k: tuple[int, int],
    s: tuple[int, int],
    p: tuple[int, int],
    floor: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Pool the picture x of shape (height, width) window by window, as Caffe's loops do."""
    h, w = x.shape
    oh, ow = (expected_size(x.shape[i], k[i], s[i], p[i], any(p), floor) for i in (0, 1))
    values, mask = np.empty((oh, ow), np.float32), np.full((oh, ow), -1.0)
    for i, j in itertools.product(range(oh), range(ow)):
        top, left = i * s[0] - p[0], j * s[1] - p[1]
        bottom, right = top + k[0], left + k[1]
        area = (min(bottom, h + p[0]) - top) * (min(right, w + p[1]) - left)
        best, total = LOWEST, np.float32(0)
        for r, c in itertools.product(
            range(max(top, 0), min(bottom, h)), range(max(left, 0), min(right, w))
        ):
            total += x[r, c]
            if x[r, c] > best:
                best, mask[i, j] = x[r, c], r * w + c
        with np.errstate(invalid="ignore"):
            values[i, j] = best if pool == "MAX" else total / np.float32(area)
    return values, mask


GEOMETRIES = [
    (size, k, s, p, mode)
    for size in ((5, 7), (8, 6))
    for k in ((1, 1), (2, 3), (3, 3), (4, 2))
    for s in ((1, 1), (2, 2), (3, 2), (5, 4))
    for p in ((0, 0), (0, 1), (1, 1), (2, 2), (3, 1))
    for mode in ("CEIL", "FLOOR")
    if all(a < b for a, b in zip(p, k, strict=True)) or p == (0, 0)
]


@pytest.mark.parametrize("pool", ["MAX", "AVE"])
def test_every_window_is_where_caffe_puts_it(pool: str) -> None:
    x = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)
    for (h, w), k, s, p, mode in GEOMETRIES:
        settings = (
            f"pool: {pool} kernel_h: {k[0]} kernel_w: {k[1]} stride_h: {s[0]} stride_w: {s[1]} "
            f"pad_h: {p[0]} pad_w: {p[1]} round_mode: {mode}"
        )
        net = layer_net(
            f'type: "Pooling" pooling_param {{ {settings} }}',
            [(1, 1, h, w)],
            tops=2 if pool == "MAX" else 1,
        )
        net.blobs["b0"].data[...] = x[:h, :w]
        net.forward()
        values, mask = by_hand(x[:h, :w], pool, k, s, p, mode == "FLOOR")
        np.testing.assert_allclose(net.blobs["t0"].data[0, 0], values, 1e-5, 1e-6, err_msg=settings)
        if pool == "MAX":
            np.testing.assert_array_equal(net.blobs["t1"].data[0, 0], mask, err_msg=settings)


@pytest.mark.parametrize(
    "settings", ["kernel_size: 2 stride: 2", "kernel_size: 3 stride: 2 pad: 2"]
)
def test_max_passes_over_what_is_not_a_number(settings: str) -> None:
    net = layer_net(f'type: "Pooling" pooling_param {{ {settings} }}', [(1, 1, 4, 4)], tops=2)
    x = np.full((4, 4), np.nan, np.float32)
    x[0, 1] = -3
    x[2, 2] = -np.inf
    net.blobs["b0"].data[...] = x
    net.forward()
    numbers = net.blobs["t0"].data[net.blobs["t1"].data == 1]
    assert numbers.size
    assert (numbers == -3).all()
    rest = net.blobs["t1"].data != 1
    assert (net.blobs["t1"].data[rest] == -1).all()
    assert (net.blobs["t0"].data[rest] == LOWEST).all()


@pytest.fixture
def in_bfloat16() -> Iterator[None]:
    caffe.set_precision("bfloat16")
    yield
    caffe.set_precision("float32")


@needs_bfloat16
@pytest.mark.filterwarnings("ignore::caffe.CaffeWarning")
@pytest.mark.usefixtures("in_bfloat16")
@pytest.mark.parametrize(
    "settings", ["kernel_size: 3 stride: 2", "kernel_size: 2 stride: 3", "kernel_size: 2 pad_r: 1"]
)
def test_the_largest_of_short_numbers(settings: str) -> None:
    layer = f'type: "Pooling" pooling_param {{ {settings} }}'
    net = layer_net(layer, [(1, 1, 36, 36)], tops=2)
    x = np.random.default_rng(0).permutation(36 * 36).reshape(36, 36) % 255
    net.blobs["b0"].data[...] = x
    net.forward()
    values, places = net.blobs["t0"].data, net.blobs["t1"].data.astype(int)
    # The last windows of a stride that is longer than they are lie behind the picture.
    assert (places >= 0).mean() > 0.8
    assert (x.flatten()[places] == values)[places >= 0].all()
    net.blobs["b0"].data[...] = np.nan
    net.forward()
    assert np.isfinite(net.blobs["t0"].data).all()


def test_infinity_beside_nan_is_the_largest_and_gets_the_gradient() -> None:
    net = layer_net(
        'type: "Pooling" pooling_param { kernel_size: 2 }', [(1, 1, 2, 2)], backward=True
    )
    net.blobs["b0"].data[...] = [[np.nan, 3], [np.inf, -np.inf]]
    net.forward()
    net.blobs["t0"].diff[...] = 1
    net.backward()
    assert net.blobs["t0"].data.item() == np.inf
    np.testing.assert_array_equal(net.blobs["b0"].diff[0, 0], [[0, 0], [1, 0]])


@pytest.mark.parametrize("windows", [((2, 2), (2, 2), (0, 0)), ((2, 2), (3, 3), (0, 0))])
def test_maxima_and_gradients_are_the_same_where_nothing_is_asked(windows: Any) -> None:
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 3, 7, 8))).float()
    x[0, 0, 0, 0], x[0, 0, 1, 1], x[0, 1, :2, :2] = torch.nan, torch.inf, torch.nan
    x[1, 0] = -torch.inf
    found = []
    for store in (None, CountingStore()):
        leaf = x.clone().requires_grad_()
        with later(store):
            values, places = max_pool(leaf, Windows(*windows))
            again, _ = max_pool(leaf, Windows(*windows), has_places=False)
        values.backward(torch.arange(values.numel()).float().view(values.shape))
        found.append((values.detach(), places, again.detach(), leaf.grad))
    for at_once, put_off in zip(*found, strict=True):
        torch.testing.assert_close(at_once, put_off, rtol=0, atol=0)


def test_of_equal_values_the_first_gets_the_gradient() -> None:
    net = layer_net(
        'type: "Pooling" pooling_param { kernel_size: 3 pad: 2 }', [(1, 1, 3, 3)], backward=True
    )
    net.blobs["b0"].data[...] = 7
    net.forward()
    net.blobs["t0"].diff[...] = 1
    net.backward()
    # Windows start at -2, -1, 0, 1 and 2; each gives its 1 to its first place in the picture.
    np.testing.assert_array_equal(net.blobs["b0"].diff[0, 0], np.outer([3, 1, 1], [3, 1, 1]))


@pytest.mark.skipif(not llvm.width(), reason="no kernels can be compiled here")
@pytest.mark.parametrize("phase", [caffe.TRAIN, caffe.TEST])
def test_kernels_have_the_gradient_of_pytorchs_maxima(
    phase: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = """force_backward: true
    layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [2, 3, 11, 14] } } }
    layer { name: "y" type: "Convolution" bottom: "x" top: "y" convolution_param {
        num_output: 16 kernel_size: 3 weight_filler { type: "msra" } } }
    layer { name: "relu" type: "ReLU" bottom: "y" top: "y" }
    layer { name: "z" type: "Pooling" bottom: "y" top: "z"
        pooling_param { kernel_size: 3 stride: 2 pad: 1 } }"""
    caffe.set_random_seed(1)
    net = caffe.Net(text, phase)
    net.blobs["x"].data[...] = np.random.default_rng(0).normal(size=(2, 3, 11, 14))
    found = []
    for width in (llvm.width(), 0):
        monkeypatch.setattr(llvm, "width", lambda width=width: width)
        for scale in (1, -2):
            net.forward()
            net.blobs["z"].diff[...] = scale
            net.backward()
            found.append((net.blobs["z"].data.copy(), net.blobs["y"].diff.copy()))
    for one, other in zip(found[:2], found[2:], strict=True):
        for ours, torchs in zip(one, other, strict=True):
            np.testing.assert_array_equal(ours, torchs)
    assert found[0][1].any()


def test_global_pooling_follows_the_size() -> None:
    net = layer_net(
        'type: "Pooling" pooling_param { pool: AVE global_pooling: true }', [(1, 2, 3, 4)]
    )
    net.blobs["b0"].reshape(1, 2, 5, 6)
    x = np.random.default_rng(0).normal(size=(1, 2, 5, 6))
    net.blobs["b0"].data[...] = x
    net.forward()
    np.testing.assert_allclose(net.blobs["t0"].data, x.mean((2, 3), keepdims=True), 1e-5, 1e-6)


def test_stochastic_at_test_weighs_values_by_themselves() -> None:
    net = layer_net(
        'type: "Pooling" pooling_param { pool: STOCHASTIC kernel_size: 2 stride: 2 }',
        [(1, 1, 2, 4)],
    )
    net.blobs["b0"].data[...] = [[1, 3, 0, 0], [0, 4, 0, 0]]
    net.forward()
    np.testing.assert_allclose(net.blobs["t0"].data[0, 0], [[(1 + 9 + 16) / 8, 0]], 1e-6)


def test_stochastic_at_train_draws_in_proportion() -> None:
    caffe.set_random_seed(1)
    net = layer_net(
        'type: "Pooling" pooling_param { pool: STOCHASTIC kernel_size: 2 stride: 2 }',
        [(1, 1, 2, 20000)],
        phase=0,
        backward=True,
    )
    net.blobs["b0"].data[...] = np.tile([[1, 3], [0, 4]], (1, 10000))
    y = feed(net)[0].copy()
    for value in (1, 3, 4):
        assert (y == value).mean() == pytest.approx(value / 8, abs=0.02)
    net.blobs["t0"].diff[...] = 1
    net.backward()
    windows = net.blobs["b0"].diff.reshape(2, 10000, 2)
    np.testing.assert_array_equal(windows.sum((0, 2)), 1)
    drawn = (windows * net.blobs["b0"].data.reshape(2, 10000, 2)).sum((0, 2))
    np.testing.assert_array_equal(drawn, y.ravel())


@pytest.mark.parametrize(
    ("settings", "culprit"),
    [
        ("", "kernel_size"),
        ("kernel_h: 2", "kernel_h and kernel_w"),
        ("kernel_size: 2 kernel_h: 2 kernel_w: 2", "kernel_size"),
        ("kernel_size: 2 pad: 2", "pad"),
        ("kernel_size: 2 stride: 0", "stride"),
        ("kernel_size: 2 global_pooling: true", "global_pooling"),
        ("global_pooling: true pad: 1", "global_pooling"),
        ("kernel_size: 3 pad: 1 pool: STOCHASTIC", "STOCHASTIC"),
        ("kernel_size: 30", "does not fit"),
    ],
)
def test_settings_that_caffe_refuses(settings: str, culprit: str) -> None:
    with pytest.raises(CaffeError, match=rf"'layer' \(Pooling\).*{culprit}"):
        layer_net(f'type: "Pooling" pooling_param {{ {settings} }}', [(1, 1, 5, 5)])


def test_pooling_needs_pictures() -> None:
    with pytest.raises(CaffeError, match="4 axes"):
        layer_net('type: "Pooling" pooling_param { kernel_size: 2 }', [(5, 5)])
    net = layer_net('type: "Pooling" pooling_param { kernel_size: 2 }', [(1, 1, 5, 5)])
    net.blobs["b0"].reshape(5, 5)
    with pytest.raises(CaffeError, match="4 axes"):
        net.forward()


def test_average_has_no_mask() -> None:
    with pytest.raises(CaffeError, match="only MAX"):
        layer_net(
            'type: "Pooling" pooling_param { kernel_size: 2 pool: AVE }', [(1, 1, 5, 5)], tops=2
        )


@pytest.mark.parametrize("pool", ["MAX", "AVE", "STOCHASTIC"])
def test_pyramid_of_one_level_keeps_four_axes(pool: str) -> None:
    net = caffe.Net(
        f"""layer {{ name: "x" type: "Input" top: "x"
                    input_param {{ shape {{ dim: 2 dim: 3 dim: 4 dim: 8 }} }} }}
        layer {{ name: "one" type: "SPP" bottom: "x" top: "one"
                 spp_param {{ pyramid_height: 1 pool: {pool} }} }}
        layer {{ name: "two" type: "SPP" bottom: "x" top: "two"
                 spp_param {{ pyramid_height: 2 pool: {pool} }} }}""",
        caffe.TEST,
    )
    x = np.random.default_rng(0).random((2, 3, 4, 8))
    net.blobs["x"].data[...] = x
    net.forward()
    assert net.blobs["one"].shape == (2, 3, 1, 1)
    assert net.blobs["two"].shape == (2, 3 * (1 + 4))
    whole = {
        "MAX": x.max((2, 3)),
        "AVE": x.mean((2, 3)),
        "STOCHASTIC": (x * x).sum((2, 3)) / x.sum((2, 3)),
    }
    np.testing.assert_allclose(net.blobs["one"].data[..., 0, 0], whole[pool], 1e-5)
    np.testing.assert_allclose(net.blobs["two"].data[:, :3], whole[pool], 1e-5)


def test_pyramid_too_fine_for_the_picture_is_refused() -> None:
    with pytest.raises(CaffeError, match="too small for level 2"):
        caffe.Net(
            """layer { name: "x" type: "Input" top: "x"
                       input_param { shape { dim: 1 dim: 1 dim: 3 dim: 8 } } }
            layer { name: "spp" type: "SPP" bottom: "x" top: "y"
                    spp_param { pyramid_height: 3 } }""",
            caffe.TEST,
        )


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


@pytest.mark.parametrize("levels", [0, 33, 2**32 - 1])
def test_a_pyramid_has_as_many_levels_as_a_picture_can_have(levels: int) -> None:
    with pytest.raises(CaffeError, match="pyramid_height"):
        layer_net(f'type: "SPP" spp_param {{ pyramid_height: {levels} }}', [(1, 1, 8, 8)])


@pytest.mark.parametrize("shape", [(), (6,), (1, 6)])
def test_a_pyramid_is_of_pictures(shape: tuple[int, ...]) -> None:
    with pytest.raises(CaffeError, match="must have 4 axes"):
        layer_net('type: "SPP" spp_param { pyramid_height: 2 }', [shape])
