"""Models in memory prepare pictures as their classifiers do."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import caffe
from caffe.preparing import PATIENCE
from caffe.web.loaded import Loaded

NET = """
layer { name: "data" type: "Input" top: "data"
        input_param { shape { dim: 1 dim: 3 dim: 20 dim: 24 } } }
layer { name: "root" type: "Power" bottom: "data" top: "root" power_param { scale: 0.5 } }
"""


def test_the_many_pictures_that_are_sent_are_prepared_like_the_first(tmp_path: Path) -> None:
    model, weights = tmp_path / "net.prototxt", tmp_path / "net.caffemodel"
    model.write_text(NET)
    caffe.Net(model, caffe.TEST).save(weights)
    classifier = caffe.Classifier(model, weights, image_dims=(24, 30), raw_scale=255)
    loaded = Loaded(classifier, None)
    image = np.random.default_rng(0).integers(0, 256, (30, 90, 3), np.uint8)
    expected = classifier.prepare(image, False, 255)
    for _ in range(PATIENCE + 2):
        crops, _ = loaded.prepare(image, 255)
        np.testing.assert_array_equal(crops, expected)
