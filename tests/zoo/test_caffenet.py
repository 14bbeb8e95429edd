"""The published answer of the real CaffeNet; runs where RECAFFE_CAFFENET names its weights."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import caffe
from caffe import zoo

PUBLISHED = [
    (0.31243625, "n02123045 tabby, tabby cat"),
    (0.23797135, "n02123159 tiger cat"),
    (0.12387258, "n02124075 Egyptian cat"),
    (0.10075716, "n02119022 red fox, Vulpes vulpes"),
    (0.070957333, "n02127052 lynx, catamount"),
]


@pytest.mark.skipif("RECAFFE_CAFFENET" not in os.environ, reason="RECAFFE_CAFFENET is not set")
def test_the_real_caffenet_gives_the_published_probabilities(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECAFFE_HOME", str(tmp_path))
    files = zoo.fetch("bvlc_reference_caffenet", quiet=True)
    recipe = zoo.record("bvlc_reference_caffenet").recipe
    net = caffe.Net(str(files.net), str(files.weights), caffe.TEST)
    transformer = caffe.io.Transformer({"data": net.blobs["data"].data.shape})
    transformer.set_transpose("data", (2, 0, 1))
    transformer.set_mean("data", np.array(recipe.mean))
    transformer.set_raw_scale("data", recipe.raw_scale)
    transformer.set_channel_swap("data", recipe.channel_swap)
    net.blobs["data"].reshape(50, 3, 227, 227)
    cat = shared / "models" / "bvlc_caffe" / "examples" / "images" / "cat.jpg"
    net.blobs["data"].data[...] = transformer.preprocess("data", caffe.io.load_image(str(cat)))
    probabilities = net.forward()["prob"][0]
    labels = zoo.record("bvlc_reference_caffenet").labels()
    best = probabilities.argsort()[::-1][:5]
    assert [labels[i] for i in best] == [label for _, label in PUBLISHED]
    np.testing.assert_allclose(probabilities[best], [p for p, _ in PUBLISHED], rtol=1e-4)
