"""Crops, means, scales and mirrors of the data layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import caffe
from caffe.errors import NetError, ShapeError
from caffe.layers.sources.data_transformer import DataTransformer
from caffe.proto.caffe_pb2 import BlobProto, TransformationParameter
from tests.helpers.sources import RANDOM


def transformer(text: str, phase: int = caffe.TEST, **fields: Any) -> DataTransformer:
    from caffe.proto.text import parse_text

    param = parse_text(text, TransformationParameter())
    for name, value in fields.items():
        setattr(param, name, value)
    return DataTransformer(param, phase)


def test_transformer_subtracts_then_scales() -> None:
    image = RANDOM.integers(0, 256, (3, 4, 5), dtype=np.uint8)
    result = transformer("mean_value: 1 mean_value: 2 mean_value: 3 scale: 0.5")(image)
    expected = (image - np.array([1, 2, 3]).reshape(3, 1, 1)) * 0.5
    np.testing.assert_allclose(result, expected, rtol=1e-6)
    np.testing.assert_allclose(transformer("mean_value: 7")(image), image - 7.0)


def test_transformer_crops_the_middle_of_picture_and_mean_alike(tmp_path: Path) -> None:
    image = RANDOM.integers(0, 256, (3, 7, 8), dtype=np.uint8)
    mean = RANDOM.random((1, 3, 7, 8), dtype=np.float32)
    blob = BlobProto(data=mean.ravel().tolist(), num=1, channels=3, height=7, width=8)
    (tmp_path / "mean.binaryproto").write_bytes(blob.SerializeToString())
    crop = transformer("crop_size: 4", mean_file=str(tmp_path / "mean.binaryproto"))
    np.testing.assert_allclose(crop(image), (image - mean[0])[:, 1:5, 2:6], rtol=1e-5)
    with pytest.raises(caffe.ShapeError, match=r"mean.*\(3, 7, 8\).*\(3, 8, 8\)"):
        crop(np.zeros((3, 8, 8), np.uint8))


def test_transformer_crops_anywhere_when_training_and_repeats_with_the_seed() -> None:
    image = np.arange(100, dtype=np.float32).reshape(1, 10, 10)
    runs = []
    for _ in range(2):
        caffe.set_random_seed(5)
        crop = transformer("crop_size: 3 mirror: true", caffe.TRAIN)
        runs.append([crop(image) for _ in range(60)])
    np.testing.assert_array_equal(runs[0], runs[1])
    corners = {int(result.min()) for result in runs[0]}
    assert len(corners) > 20
    mirrored = [result[0, 0, 0] > result[0, 0, 2] for result in runs[0]]
    assert 5 < sum(mirrored) < 55
    for result in runs[0]:
        row, column = divmod(int(result.min()), 10)
        window = image[:, row : row + 3, column : column + 3]
        upright = result if result[0, 0, 0] < result[0, 0, 2] else result[:, :, ::-1]
        np.testing.assert_array_equal(upright, window)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('mean_value: 1 mean_file: "x"', "not both"),
        ("force_color: true force_gray: true", "not both"),
        ('mean_file: "nowhere.binaryproto"', "nowhere"),
    ],
)
def test_transformer_refuses(text: str, said: str) -> None:
    with pytest.raises(caffe.CaffeError, match=said):
        transformer(text)


def test_crops_may_be_no_squares() -> None:
    picture = np.arange(5 * 6, dtype=np.uint8).reshape(1, 5, 6)
    made = DataTransformer(TransformationParameter(crop_h=3, crop_w=4), caffe.TEST)
    np.testing.assert_array_equal(made(picture), picture[:, 1:4, 1:5])
    assert made.shape(picture) == (1, 3, 4)
    with pytest.raises(NetError, match="crop_h and crop_w both"):
        DataTransformer(TransformationParameter(crop_h=3), caffe.TEST)
    with pytest.raises(ShapeError, match="smaller than the crop of 3 x 4"):
        made(picture[:, :, :3])


def test_a_layer_may_have_a_seed_of_its_own() -> None:
    picture = np.arange(64, dtype=np.uint8).reshape(1, 8, 8)
    param = TransformationParameter(crop_size=2, random_seed=5)
    one, other = DataTransformer(param, caffe.TRAIN), DataTransformer(param, caffe.TRAIN)
    np.testing.assert_array_equal(
        [one(picture) for _ in range(9)], [other(picture) for _ in range(9)]
    )
