"""Sources whose labels are pictures: both go through the same crops and mirrors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import caffe
from caffe.errors import CaffeError, NetError, ParseError, ShapeError


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
        ("", "mirror: true crop_h: 3 crop_w: 5", (3, 5)),
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


def test_noise_is_in_the_picture_alone_and_parts_it_not_from_its_labels(pictures: Path) -> None:
    noise = """noise_param { prob: 0.7 inverse: true
        saltpepper: true saltpepper_param { fraction: 0.1 value: 1 } }"""
    net = source("DenseImageData", pictures, "", f"mirror: true crop_size: 4 {noise}")
    inverted = 0
    for _ in range(8):
        net.forward()
        for data, label in zip(net.blobs["data"].data, net.blobs["label"].data, strict=True):
            is_noisy = data[0].max() == 255
            expected = 255 - label[0] * 20 if is_noisy else label[0] * 20
            assert (data[2] == expected).mean() >= 0.5
            assert ((data[2] == expected) | (data[2] == 1)).all()
            inverted += is_noisy
    assert 4 < inverted < 16


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


def net(folder: Path, more: str = "", transform: str = "", tops: int = 3) -> caffe.Net:
    names = " ".join(f'top: "{name}"' for name in ("data", "label", "dim")[:tops])
    return caffe.Net(
        f"""layer {{ name: "d" type: "ImageSegData" {names}
            transform_param {{ mean_value: 10 mean_value: 20 mean_value: 30 {transform} }}
            image_data_param {{ source: "{folder / "list.txt"}" root_folder: "{folder}/"
                                batch_size: 2 {more} }} }}""",
        caffe.TEST,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    lines = []
    for i, (height, width) in enumerate([(6, 8), (9, 5)]):
        picture = rng.integers(0, 255, size=(height, width, 3), dtype=np.uint8)
        Image.fromarray(picture).save(tmp_path / f"p{i}.png")
        Image.fromarray(rng.integers(0, 21, size=(height, width), dtype=np.uint8)).save(
            tmp_path / f"l{i}.png"
        )
        lines.append(f"p{i}.png l{i}.png")
    (tmp_path / "list.txt").write_text("\n".join(lines))
    return tmp_path


def test_smaller_pictures_are_filled_up_with_mean_and_ignored_labels(folder: Path) -> None:
    source = net(folder, transform="crop_size: 10")
    source.forward()
    data, labels, dims = (source.blobs[name].data for name in ("data", "label", "dim"))
    assert data.shape == (2, 3, 10, 10)
    assert labels.shape == (2, 1, 10, 10)
    assert dims.reshape(2, 2).tolist() == [[6, 8], [9, 5]]
    for i, (height, width) in enumerate([(6, 8), (9, 5)]):
        picture = np.asarray(Image.open(folder / f"p{i}.png"), np.float32)
        bgr = picture[:, :, ::-1].transpose(2, 0, 1) - np.reshape([10, 20, 30], (3, 1, 1))
        np.testing.assert_array_equal(data[i, :, :height, :width], bgr)
        assert not data[i, :, height:].any()
        assert not data[i, :, :, width:].any()
        own = np.asarray(Image.open(folder / f"l{i}.png"))
        np.testing.assert_array_equal(labels[i, 0, :height, :width], own)
        assert (labels[i, 0, height:] == 255).all()
        assert (labels[i, 0, :, width:] == 255).all()


def test_two_tops_will_do_and_other_fillings(folder: Path) -> None:
    source = net(folder, "ignore_label: 7", "crop_size: 12", tops=2)
    source.forward()
    assert source.blobs["label"].data[0, 0, -1, -1] == 7


def test_labels_of_another_size_and_of_another_kind_are_refused(folder: Path) -> None:
    with pytest.raises(NetError, match="PIXEL"):
        net(folder, "label_type: NONE", tops=2)
    (folder / "list.txt").write_text("p0.png l1.png\n")
    with pytest.raises(CaffeError, match=r"'l1.png' is \(9, 5\)"):
        net(folder).forward()


def test_smaller_pictures_are_filled_up_to_what_is_no_square_too(folder: Path) -> None:
    source = net(folder, "ignore_label: 7", "crop_h: 7 crop_w: 12 max_color_shift: 1", tops=2)
    source.forward()
    assert source.blobs["data"].shape == (2, 3, 7, 12)
    assert (source.blobs["label"].data[0, 0, 6] == 7).all()
    with pytest.raises(NetError, match="new_height and new_width both"):
        net(folder, "new_height: 5", tops=2)
