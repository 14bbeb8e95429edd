"""BVLC's first notebook, step by step, on a CaffeNet of random weights in a file of full size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import caffe
from caffe.proto.text import write_text

BLOBS = {
    "data": (50, 3, 227, 227),
    "conv1": (50, 96, 55, 55),
    "pool1": (50, 96, 27, 27),
    "norm1": (50, 96, 27, 27),
    "conv2": (50, 256, 27, 27),
    "pool2": (50, 256, 13, 13),
    "norm2": (50, 256, 13, 13),
    "conv3": (50, 384, 13, 13),
    "conv4": (50, 384, 13, 13),
    "conv5": (50, 256, 13, 13),
    "pool5": (50, 256, 6, 6),
    "fc6": (50, 4096),
    "fc7": (50, 4096),
    "fc8": (50, 1000),
    "prob": (50, 1000),
}
PARAMS = {
    "conv1": ((96, 3, 11, 11), (96,)),
    "conv2": ((256, 48, 5, 5), (256,)),
    "conv3": ((384, 256, 3, 3), (384,)),
    "conv4": ((384, 192, 3, 3), (384,)),
    "conv5": ((256, 192, 3, 3), (256,)),
    "fc6": ((4096, 9216), (4096,)),
    "fc7": ((4096, 4096), (4096,)),
    "fc8": ((1000, 4096), (1000,)),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("caffenet")
    model, weights = folder / "deploy.prototxt", folder / "caffenet.caffemodel"
    description = caffe.zoo.record("bvlc_reference_caffenet").net()
    write_text(model, description)
    caffe.set_random_seed(0)
    net = caffe.Net(description, caffe.TEST)
    for blobs in net.params.values():
        count = blobs[0].data[0].size
        blobs[0].data[...] = np.resize(
            np.random.default_rng(0).normal(0, (1 / count) ** 0.5, 10007), blobs[0].shape
        )
    net.save(weights)
    assert weights.stat().st_size > 243_000_000
    return str(model), str(weights)


@pytest.fixture(scope="module")
def mean_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mean") / "ilsvrc_2012_mean.npy"
    np.save(path, np.broadcast_to(np.array([104.0, 116.7, 122.7])[:, None, None], (3, 256, 256)))
    return path


def test_the_steps_run_and_give_the_published_shapes(
    files: tuple[str, str], mean_file: Path
) -> None:
    caffe.set_mode_cpu()
    net = caffe.Net(files[0], files[1], caffe.TEST)

    mu = np.load(mean_file).mean(1).mean(1)
    transformer = caffe.io.Transformer({"data": net.blobs["data"].data.shape})
    transformer.set_transpose("data", (2, 0, 1))
    transformer.set_mean("data", mu)
    transformer.set_raw_scale("data", 255)
    transformer.set_channel_swap("data", (2, 1, 0))

    net.blobs["data"].reshape(50, 3, 227, 227)
    image = np.random.default_rng(1).random((360, 480, 3)).astype(np.float32)
    transformed = transformer.preprocess("data", image)
    net.blobs["data"].data[...] = transformed
    output = net.forward()
    probabilities = output["prob"][0].copy()
    assert probabilities.shape == (1000,)
    assert probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert np.allclose(output["prob"], probabilities, atol=1e-6)

    top = probabilities.argsort()[::-1][:5]
    assert probabilities[top[0]] == probabilities.max()

    assert [(name, blob.data.shape) for name, blob in net.blobs.items()] == list(BLOBS.items())
    shapes = [(n, (p[0].data.shape, p[1].data.shape)) for n, p in net.params.items()]
    assert shapes == list(PARAMS.items())

    filters = net.params["conv1"][0].data
    assert filters.transpose(0, 2, 3, 1).shape == (96, 11, 11, 3)
    assert net.blobs["conv1"].data[0, :36].min() == 0
    assert net.blobs["pool5"].data[0].max() > 0
    values = net.blobs["fc6"].data[0]
    counts, _ = np.histogram(values.flat[values.flat > 0], bins=100)
    assert counts.sum() == (values > 0).sum() > 0
    assert np.array_equal(net.blobs["prob"].data[0], probabilities)

    other = np.random.default_rng(2).random((100, 80, 3)).astype(np.float32)
    net.blobs["data"].data[...] = transformer.preprocess("data", other)
    net.forward()
    assert not np.array_equal(net.blobs["prob"].data[0], probabilities)
