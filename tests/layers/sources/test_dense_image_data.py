"""Sources whose labels are pictures: both go through the same crops and mirrors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import caffe
from caffe.errors import ParseError, ShapeError


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A list of two pictures, and of labels that lie where the pictures are red."""
    rng = np.random.default_rng(0)
    lines = []
    for name in ("a", "b"):
        labels = rng.integers(0, 9, size=(6, 8)).astype(np.uint8)
        red = np.zeros((6, 8, 3), np.uint8)
        red[..., 0] = labels * 20
        Image.fromarray(red).save(tmp_path / f"{name}.png")
        Image.fromarray(labels).save(tmp_path / f"{name}_labels.png")
        lines.append(f"{name}.png {name}_labels.png\n")
    (tmp_path / "list.txt").write_text("".join(lines))
    return tmp_path


def source(kind: str, folder: Path, more: str = "", transform: str = "") -> caffe.Net:
    message = "dense_image_data_param" if kind == "DenseImageData" else "image_data_param"
    caffe.set_random_seed(3)
    return caffe.Net(
        f"""layer {{ name: "d" type: "{kind}" top: "data" top: "label"
            transform_param {{ {transform} }}
            {message} {{ source: "{folder}/list.txt" root_folder: "{folder}/"
                         batch_size: 2 {more} }} }}""",
        caffe.TRAIN,
    )


@pytest.mark.parametrize(
    ("more", "transform", "size"),
    [
        ("", "", (6, 8)),
        ("", "mirror: true crop_size: 4", (4, 4)),
        ("mirror: true crop_height: 5 crop_width: 3", "", (5, 3)),
        ("shuffle: true", "scale: 2", (6, 8)),
    ],
)
def test_dense_image_data_keeps_pictures_and_labels_together(
    pictures: Path, more: str, transform: str, size: tuple[int, int]
) -> None:
    net = source("DenseImageData", pictures, more, transform)
    for _ in range(5):
        net.forward()
        data, label = net.blobs["data"].data, net.blobs["label"].data
        assert data.shape == (2, 3, *size)
        assert label.shape == (2, 1, *size)
        scale = 2 if "scale" in transform else 1
        np.testing.assert_allclose(data[:, 2:], label * 20 * scale)


def test_dense_image_data_resizes_labels_without_new_values(pictures: Path) -> None:
    net = source("DenseImageData", pictures, "new_height: 12 new_width: 16 label_divide_factor: 4")
    net.forward()
    assert net.blobs["data"].data.shape == (2, 3, 12, 16)
    labels = np.asarray(Image.open(pictures / "a_labels.png"))
    np.testing.assert_allclose(net.blobs["label"].data[0, 0], labels[::2, ::2])


def test_edge_maps_are_zero_or_one(pictures: Path) -> None:
    edges = np.array([[0, 127, 128, 255]] * 2, np.uint8)
    for name in ("a", "b"):
        Image.fromarray(edges).save(pictures / f"{name}_labels.png")
        Image.fromarray(np.stack([edges] * 3, -1)).save(pictures / f"{name}.png")
    net = source("ImageLabelmapData", pictures)
    net.forward()
    np.testing.assert_allclose(net.blobs["label"].data[0, 0], np.array([[0, 0, 1, 1]] * 2))


def test_lists_and_labels_that_do_not_fit_are_named(pictures: Path) -> None:
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(pictures / "a_labels.png")
    with pytest.raises(ShapeError, match=r"a\.png.*a_labels\.png"):
        source("DenseImageData", pictures)
    (pictures / "list.txt").write_text("a.png\n")
    with pytest.raises(ParseError, match="its labels"):
        source("DenseImageData", pictures)
