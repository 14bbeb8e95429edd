"""Pictures and stores for the tests of the layers that read them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import caffe

RANDOM = np.random.default_rng(0)


def picture(height: int, width: int) -> np.ndarray:
    return RANDOM.integers(0, 256, (height, width, 3), dtype=np.uint8)


def save_picture(path: Path, rgb: np.ndarray) -> None:
    Image.fromarray(rgb).save(path)


def source(text: str, tops: str = 'top: "data" top: "label"') -> caffe.Net:
    return caffe.Net(f'layer {{ name: "in" {tops} {text} }}', caffe.TEST)


def write_lmdb(path: Path, values: dict[bytes, bytes]) -> None:
    lmdb = pytest.importorskip("lmdb")
    with lmdb.open(str(path), map_size=2**22) as environment, environment.begin(write=True) as txn:
        for key, value in values.items():
            txn.put(key, value)


def encoded(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def image_net(folder: Path, more: str = "", transform: str = "", batch: int = 2) -> caffe.Net:
    return source(
        f'type: "ImageData" image_data_param {{ source: "{folder}/list.txt" '
        f'root_folder: "{folder}/" batch_size: {batch} {more} }} transform_param {{ {transform} }}'
    )
