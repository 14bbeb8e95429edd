"""ImageSegData, DeepLab's source of pictures with pictures of their labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import caffe
from caffe.errors import CaffeError, NetError


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
