"""`caffe demo-picture` writes photographs that the other commands read."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import caffe
from caffe.cli.demo_picture import PICTURES
from tests.helpers.command import caffe_command

data = pytest.importorskip("skimage.data", reason="the pictures are scikit-image's")


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_is_written_with_its_owner(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = caffe_command("demo-picture", name)
    assert result.exit_code == 0, result.stderr
    assert PICTURES[name][1] in result.stdout
    with Image.open(f"{name}.jpg") as picture:
        difference = np.asarray(picture).astype(int) - getattr(data, PICTURES[name][0])()
    assert np.abs(difference).mean() < 5


def test_a_png_is_the_picture_itself(tmp_path: Path) -> None:
    assert caffe_command("demo-picture", "-o", tmp_path / "a.png").exit_code == 0
    pixels = caffe.io.load_image(tmp_path / "a.png")
    np.testing.assert_allclose(pixels * 255, data.chelsea(), atol=1e-3)


def test_what_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for words, said in (
        (["cta"], "did you mean 'cat'?"),
        (["zebra"], "there are cat, coffee"),
        (["cat", "-o", "cat.xyz"], "end the name in .jpg or .png"),
    ):
        result = caffe_command("demo-picture", *words)
        assert result.exit_code == 1
        assert said in result.stderr
    monkeypatch.setitem(sys.modules, "skimage.data", None)
    result = caffe_command("demo-picture", "cat", "-o", tmp_path / "cat.jpg")
    assert "[demo]'" in result.stderr
    assert not list(tmp_path.iterdir())
