"""WindowData: parts of pictures."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import caffe
from caffe.layers.sources.window_data import expand_box
from tests.helpers.sources import picture, save_picture, source


def window_net(folder: Path, lines: str, more: str = "", transform: str = "") -> caffe.Net:
    (folder / "windows.txt").write_text(lines)
    return source(
        f'type: "WindowData" window_data_param {{ source: "{folder}/windows.txt" batch_size: 4 '
        f"{more} }} transform_param {{ crop_size: 8 {transform} }}"
    )


def window_file(path: Path, *windows: str) -> str:
    return f"# 0\n{path}\n3\n20\n30\n{len(windows)}\n" + "\n".join(windows) + "\n"


def test_window_data_puts_background_before_objects(tmp_path: Path) -> None:
    image = picture(20, 30)
    save_picture(tmp_path / "a.png", image)
    lines = window_file(tmp_path / "a.png", "5 0.9 2 3 9 10", "5 0.1 10 8 17 15", "1 0.5 0 0 9 9")
    net = window_net(tmp_path, lines, "fg_threshold: 0.6 bg_threshold: 0.5 scale: 0.5")
    net.forward()
    assert net.blobs["label"].data.tolist() == [0, 0, 0, 5]
    bgr = image[:, :, ::-1].transpose(2, 0, 1) * 0.5
    np.testing.assert_array_equal(net.blobs["data"].data[0], bgr[:, 8:16, 10:18])
    np.testing.assert_array_equal(net.blobs["data"].data[3], bgr[:, 3:11, 2:10])


def test_window_data_fills_context_outside_the_picture_with_zeros(tmp_path: Path) -> None:
    save_picture(tmp_path / "a.png", np.full((20, 30, 3), 100, np.uint8))
    lines = window_file(tmp_path / "a.png", "5 0.9 0 0 9 9", "0 0 15 8 18 11")
    net = window_net(
        tmp_path, lines, "context_pad: 2 cache_images: true crop_mode: 'square'", "mean_value: 40"
    )
    net.forward()
    corner = net.blobs["data"].data[3, 0]
    assert (corner[:2] == 0).all()
    assert (corner[:, :2] == 0).all()
    assert (corner[3:, 3:] == 60).all()
    assert (net.blobs["data"].data[0] == 60).all()


def test_window_is_widened_so_that_the_context_is_as_wide_as_asked() -> None:
    # 10 x 10 pixels become 195 of 227, 32 are context.
    box, size, offset = expand_box((100, 100, 109, 109), (500, 500), 227, 16, False)
    assert box == (99, 99, 111, 111)
    assert size == (227, 227)
    assert offset == (0, 0, 0)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("", "no windows"),
        ("0 0", "windows.txt:1: .*'#' was expected"),
        ("# 0\na.png\n3\n20\n30\n2\n5 0.9 2 3", "ends in the middle"),
        ("# 0\na.png\n1\n20\n30\n0\n", "3 channels"),
        ("# 0\na.png\n3\n20\n30\n1\n5 0.9 2 3 9 10", "some of each"),
        ("# 0\na.png\n3\n20\n30\n1\n0 0.9 2 3 9 10", "its class is 0"),
    ],
)
def test_window_data_names_what_is_wrong(tmp_path: Path, lines: str, said: str) -> None:
    with pytest.raises(caffe.ParseError, match=said):
        window_net(tmp_path, lines)


def test_window_data_names_the_window_outside_its_picture(tmp_path: Path) -> None:
    save_picture(tmp_path / "a.png", picture(20, 30))
    lines = window_file(tmp_path / "a.png", "5 0.9 2 3 30 10", "0 0 15 8 18 11")
    net = window_net(tmp_path, lines)
    with pytest.raises(caffe.ShapeError, match=r"picture 0, window 2 3 30 10.*20 x 30"):
        net.forward()


@pytest.mark.parametrize("cache", ["true", "false"])
def test_a_pipe_is_not_waited_for(cache: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    lines = window_file(tmp_path / "pipe.png", "5 0.9 0 0 9 9", "0 0.1 5 8 18 11")
    with pytest.raises(caffe.ImageError, match=r"pipe\.png: not a regular file"):
        window_net(tmp_path, lines, f"cache_images: {cache}").forward()
