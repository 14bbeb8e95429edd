"""BatchNorm's statistics over several batches; norms; MVN."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import caffe
from caffe.io import array_to_blobproto
from caffe.proto import caffe_pb2
from tests.helpers.formulas import normalized
from tests.helpers.running import close, feed, layer_net, run


def test_batch_norm_with_eps_outside_the_root() -> None:
    rng = np.random.default_rng(0)
    x, mean, variance = rng.normal(size=(2, 3, 4, 4)), rng.normal(size=3), rng.uniform(1, 2, size=3)
    text = 'type: "BatchNorm" batch_norm_param { add_eps_before_sqrt: false eps: 0.5 }'
    found = run(text, x, params=[2 * mean, 2 * variance, np.array([2.0])])[0]
    spread = (slice(None), np.newaxis, np.newaxis)
    close(found, (x - mean[spread]) / (np.sqrt(variance[spread]) + 0.5))


def test_batch_norm_needs_a_batch() -> None:
    with pytest.raises(caffe.ShapeError, match="but the bottom has no axes"):
        caffe.Net(
            'layer { name: "x" type: "Input" top: "x" input_param { shape { } } }'
            'layer { name: "n" type: "BatchNorm" bottom: "x" top: "y" }',
            caffe.TRAIN,
        )


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


@pytest.mark.parametrize("is_old", [False, True])
@pytest.mark.parametrize("shape", [(3,), (1, 3), (1, 3, 1, 1)])
@pytest.mark.parametrize("reserved", [0.0, 1.0, 999.98])
@pytest.mark.parametrize("engine", ["layerwise", "torch"])
def test_files_of_nvidias_batch_norm_are_read_in_both_orders_and_any_shape(
    is_old: bool, shape: tuple[int, ...], reserved: float, engine: str, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    mean, variance, scale, bias = rng.uniform(1, 2, size=(4, 3))
    statistics = [mean.reshape(shape), variance.reshape(shape), np.array([reserved])]
    learned = [scale.reshape(shape), bias.reshape(shape)]
    blobs = [*learned, *statistics] if is_old else [*statistics, *learned]
    model = caffe_pb2.NetParameter()
    model.layer.add(name="bn", type="BatchNorm").blobs.extend(map(array_to_blobproto, blobs))
    (tmp_path / "w.caffemodel").write_bytes(model.SerializeToString())
    text = """layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [2, 3, 4, 4] } } }
        layer { name: "bn" type: "BatchNorm" bottom: "x" top: "y"
                batch_norm_param { scale_bias: true eps: 0.0001 } }"""
    net = caffe.Net(text, str(tmp_path / "w.caffemodel"), caffe.TEST)
    x = rng.normal(size=(2, 3, 4, 4))
    spread = (slice(None), np.newaxis, np.newaxis)
    wanted = normalized(x, mean, variance, 1e-4) * scale[spread] + bias[spread]
    caffe.set_engine(engine)
    try:
        close(net.forward(x=x)["y"], wanted, 1e-4)
    finally:
        caffe.set_engine("auto")


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


@pytest.mark.parametrize("across_spatial", [True, False])
@pytest.mark.parametrize("channel_shared", [True, False])
def test_normalize_divides_by_the_norm(across_spatial: bool, channel_shared: bool) -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    text = (
        f"norm_param {{ across_spatial: {str(across_spatial).lower()} "
        f"channel_shared: {str(channel_shared).lower()} eps: 0.01 "
        'scale_filler { type: "constant" value: 7 } }'
    )
    (top,) = run(f'type: "Normalize" {text}', x)
    expected = np.empty_like(x)
    for n in range(2):
        for h in range(4):
            for w in range(5):
                part = x[n] if across_spatial else x[n, :, h, w]
                expected[n, :, h, w] = 7 * x[n, :, h, w] / math.sqrt((part**2).sum() + 0.01)
    np.testing.assert_allclose(top, expected, rtol=1e-5)


def test_normalize_has_a_factor_for_each_channel_or_one_for_all() -> None:
    net = caffe.Net(
        """input: "x" input_shape { dim: 1 dim: 3 dim: 2 dim: 2 }
           layer { name: "one" type: "Normalize" bottom: "x" top: "a" }
           layer { name: "each" type: "Normalize" bottom: "x" top: "b"
                   norm_param { channel_shared: false } }""",
        caffe.TEST,
    )
    assert net.params["one"][0].shape == ()
    assert net.params["each"][0].shape == (3,)
    assert net.params["each"][0].data.tolist() == [1, 1, 1]


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1, 1), (3,)])
def test_weights_of_forks_are_taken_in_whatever_shape_they_have(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    net = caffe.Net(
        """input: "x" input_shape { dim: 1 dim: 3 dim: 2 dim: 2 }
        layer { name: "bn" type: "BN" bottom: "x" top: "y" bn_param { frozen: true } }
        layer { name: "norm" type: "Normalize" bottom: "y" top: "z"
                norm_param { channel_shared: false } }""",
        caffe.TEST,
    )
    values = {"bn": [[1.0, 2, 3], [4, 5, 6], [7, 8, 9], [1, 2, 3]], "norm": [[5, 6, 7]]}
    weights = caffe.proto.caffe_pb2.NetParameter()
    for name, blobs in values.items():
        layer = weights.layer.add(name=name)
        for blob in blobs:
            layer.blobs.add(data=blob).shape.dim.extend(shape)
    path = tmp_path / "w.caffemodel"
    path.write_bytes(weights.SerializeToString())
    net.copy_from(path)
    for name, blobs in values.items():
        assert [blob.data.ravel().tolist() for blob in net.params[name]] == blobs


def test_batch_norm_gathers_statistics_that_test_then_uses() -> None:
    text = "batch_norm_param { moving_average_fraction: 0.5 eps: 0 }"
    train = layer_net(f'type: "BatchNorm" {text}', [(4, 3, 2)], phase=caffe.TRAIN)
    rng = np.random.default_rng(0)
    mean, variance, factor = np.zeros(3), np.zeros(3), 0.0
    for _ in range(3):
        x = rng.normal(2, 3, size=(4, 3, 2))
        y = feed(train, x)[0]
        np.testing.assert_allclose(y.mean((0, 2)), 0, atol=1e-5)
        np.testing.assert_allclose(y.var((0, 2)), 1, rtol=1e-4)
        mean = 0.5 * mean + x.mean((0, 2))
        variance = 0.5 * variance + x.var((0, 2), ddof=1)
        factor = 0.5 * factor + 1
    for blob, expected in zip(train.params["layer"], (mean, variance, [factor]), strict=True):
        np.testing.assert_allclose(blob.data, expected, rtol=1e-5)
    test = layer_net(f'type: "BatchNorm" {text}', [(4, 3, 2)])
    test.share_with(train)
    expected = (x - (mean / factor)[:, None]) / np.sqrt(variance / factor)[:, None]
    np.testing.assert_allclose(feed(test, x)[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(6,), (3, 4), (3, 4, 2), (3, 4, 2, 2)])
def test_mvn_sees_and_gives_four_axes(shape: tuple[int, ...]) -> None:
    net = layer_net(
        'type: "MVN" mvn_param { across_channels: true eps: 0.5 }', [shape], backward=True
    )
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    y = feed(net, x)[0]
    assert y.shape == (*shape, 1, 1, 1)[:4]
    rows = x.reshape(shape[0], -1)
    centred = rows - rows.mean(1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(1, keepdims=True)) + 0.5
    np.testing.assert_allclose(y.reshape(rows.shape), centred / deviation, atol=1e-6)
    net.blobs["t0"].diff[...] = 1
    net.backward()
    assert net.blobs["b0"].diff.shape == shape
