"""ImageData: pictures of a list."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import caffe
from caffe.layers.sources.image_data import read_list
from tests.helpers.sources import image_net, picture, save_picture


def test_image_data_gives_bgr_pictures_in_order(listed: tuple[Path, list[np.ndarray]]) -> None:
    folder, pictures = listed
    net = image_net(folder, transform="scale: 0.5")
    assert net.blobs["data"].shape == (2, 3, 6, 5)
    expected = [image[:, :, ::-1].transpose(2, 0, 1) * 0.5 for image in pictures]
    for first in (0, 2, 1):
        net.forward()
        for i in range(2):
            which = (first + i) % 3
            np.testing.assert_allclose(net.blobs["data"].data[i], expected[which])
            assert net.blobs["label"].data[i] == which + 10


def test_image_data_resizes_and_greys(listed: tuple[Path, list[np.ndarray]]) -> None:
    net = image_net(listed[0], "new_height: 4 new_width: 9 is_color: false")
    net.forward()
    assert net.blobs["data"].shape == (2, 1, 4, 9)


def test_image_data_shuffles_each_round(listed: tuple[Path, list[np.ndarray]]) -> None:
    net = image_net(listed[0], "shuffle: true")
    labels = []
    for _ in range(30):
        net.forward()
        labels += net.blobs["label"].data.tolist()
    rounds = [tuple(labels[i : i + 3]) for i in range(0, 60, 3)]
    assert all(sorted(r) == [10, 11, 12] for r in rounds)
    assert len(set(rounds)) > 1


def test_image_data_takes_the_batch_size_of_each_picture_alone(tmp_path: Path) -> None:
    for i, size in enumerate([(4, 5), (7, 3)]):
        save_picture(tmp_path / f"{i}.png", picture(*size))
    (tmp_path / "list.txt").write_text("0.png 0\n1.png 1\n")
    net = image_net(tmp_path, batch=1)
    for size in [(4, 5), (7, 3), (4, 5)]:
        net.forward()
        assert net.blobs["data"].shape == (1, 3, *size)
    pair = image_net(tmp_path)
    for _ in range(2):
        with pytest.raises(caffe.ShapeError, match=r"'1.png'.*\(3, 7, 3\).*\(3, 4, 5\)"):
            pair.forward()


def test_labels_are_read_as_far_as_they_are_whole_numbers(tmp_path: Path) -> None:
    labels = ["5", "2.7272", "-3.6", "4.0", "1e2", "x7", "+8kg"]
    listed = tmp_path / "list.txt"
    listed.write_text("".join(f"a picture.png {label}\n" for label in labels))
    with pytest.warns(caffe.CaffeWarning, match=r"list\.txt:2: the label '2\.7272' is no") as told:
        entries = read_list(str(listed))
    assert entries == [("a picture.png", label) for label in (5, 2, -3, 4, 1, 0, 8)]
    assert len(told) == 1


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("missing.png 0\n", "missing.png.*no such file"),
        ("\n", "holds no pictures"),
        ("list.txt 0\n", "list.txt.*not a picture"),
    ],
)
def test_image_data_names_what_is_wrong_with_the_list(
    tmp_path: Path, lines: str, said: str
) -> None:
    (tmp_path / "list.txt").write_text(lines)
    with pytest.raises(caffe.CaffeError, match=f"layer 'in' \\(ImageData\\).*{said}"):
        image_net(tmp_path)


def test_image_data_raises_in_forward_what_the_thread_found(
    listed: tuple[Path, list[np.ndarray]],
) -> None:
    folder, _ = listed
    (folder / "a picture 2.png").write_bytes(b"not a picture")
    net = image_net(folder)
    net.forward()
    for _ in range(2):
        with pytest.raises(caffe.ImageError, match=r"layer 'in'.*list.txt: picture 'a picture 2"):
            net.forward()


@pytest.mark.parametrize(
    ("transform", "shape"),
    [
        ("", (2, 3, 9, 8)),
        ("resize_param { height: 4 width: 5 }", (2, 3, 4, 5)),
        ("resize_param { height: 4 width: 5 } crop_h: 2 crop_w: 3", (2, 3, 2, 3)),
        ("resize_param { height: 4 width: 4 resize_mode: FIT_SMALL_SIZE }", None),
        ("min_side: 4", None),
    ],
)
def test_shapes_are_told_without_the_pictures(
    transform: str, shape: tuple[int, ...] | None, listed: tuple[Path, list[np.ndarray]]
) -> None:
    net = image_net(listed[0], "new_height: 9 new_width: 8", transform)
    declared = net.layers[0].declared_shapes()
    assert (declared and declared[0]) == shape
    assert shape is None or net.blobs["data"].shape == shape
