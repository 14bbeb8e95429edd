"""Weights as .safetensors files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import caffe
from caffe.weights import safetensors_file
from caffe.weights.files import read_weights

pytest.importorskip("safetensors")


def test_tensors_become_layers_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    many = [np.full(2, i, np.float32) for i in range(11)]
    safetensors_file.write(path, [("b/c.d", many), ("a", [np.zeros((), np.float32)])], half=False)
    layers = {layer.name: layer.blobs for layer in read_weights(path)}
    assert [blob.data[0] for blob in layers["b/c.d"] if blob is not None] == list(range(11))
    (scalar,) = layers["a"]
    assert scalar is not None
    assert scalar.shape == ()


def test_names_that_are_no_layers(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    safetensors_file.write(path, [("features.weight", [])], half=False)
    from safetensors.numpy import save_file

    save_file({"features.weight": np.zeros(2, np.float32)}, path)
    with pytest.raises(caffe.ParseError, match=r"'features\.weight' is not called <layer>\.<i>"):
        read_weights(path)


@pytest.mark.parametrize("cut", [20, 80, -1])
def test_a_damaged_file(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "a.safetensors"
    safetensors_file.write(path, [("a", [np.ones((4, 5), np.float32)])], half=False)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(caffe.ParseError):
        [blob.data for layer in read_weights(path) for blob in layer.blobs if blob is not None]
