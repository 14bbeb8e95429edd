"""`caffe look`: figures of responses and filters from the command line."""

from __future__ import annotations

import io
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import caffe
from caffe.installation import install_command
from tests.helpers.command import caffe_command

pytest.importorskip("matplotlib")

NET = """
layer { name: "data" type: "Input" top: "data"
        input_param { shape { dim: 10 dim: 3 dim: 16 dim: 16 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 3 kernel_size: 1 bias_term: false } }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool"
        pooling_param { pool: AVE global_pooling: true } }
"""


run = partial(caffe_command, "look")


@pytest.fixture
def own(tmp_path: Path) -> list[object]:
    """The options for a net whose three maps are the picture's blue, green and red."""
    path = tmp_path / "net.prototxt"
    path.write_text(NET)
    net = caffe.Net(NET, caffe.TEST)
    net.params["conv"][0].data[...] = np.eye(3).reshape(3, 3, 1, 1)
    net.save(tmp_path / "net.caffemodel")
    return ["--net", path, "--weights", tmp_path / "net.caffemodel"]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """Red on the left, black on the right."""
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:, :8, 0] = 255
    path = tmp_path / "picture.png"
    Image.fromarray(pixels).save(path)
    return path


def opened(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def test_a_blobs_responses_are_drawn(own: list[object], picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    result = run(picture, "--blob", "conv", "-o", out, *own)
    assert result.exit_code == 0, result.stderr
    pixels = opened(out)
    assert min(pixels.shape[:2]) > 300
    # The third map is bright on the left and dark on the right, the others dark.
    colors = {tuple(color) for color in pixels.reshape(-1, 3)}
    assert {(253, 231, 36), (68, 1, 84)} <= colors
    one = tmp_path / "one.png"
    assert run(picture, "--blob", "conv", "--maps", 1, "-o", one, *own).exit_code == 0
    assert (opened(one) == (68, 1, 84)).all(-1).mean() > (pixels == (68, 1, 84)).all(-1).mean()


def test_a_picture_may_come_from_standard_input(
    own: list[object], picture: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.png"
    result = run("-", "--blob", "conv", "-o", out, *own, input=picture.read_bytes())
    assert result.exit_code == 0, result.stderr
    again = tmp_path / "again.png"
    run(picture, "--blob", "conv", "-o", again, *own)
    assert (opened(out) == opened(again)).all()


@pytest.mark.parametrize("blob", ["pool", "data"])
def test_other_blobs_are_drawn_too(
    own: list[object], picture: Path, tmp_path: Path, blob: str
) -> None:
    out = tmp_path / "out.svg"
    assert run(picture, "--blob", blob, "-o", out, *own).exit_code == 0
    assert out.read_bytes().startswith(b"<?xml")


def test_filters_need_no_picture(own: list[object], tmp_path: Path) -> None:
    out = tmp_path / "out.pdf"
    assert run("--filters", "conv", "-o", out, *own).exit_code == 0
    assert out.read_bytes().startswith(b"%PDF")


def test_the_default_model_is_looked_into(picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    result = run(picture, "--blob", "stem", "-o", out, "--each")
    assert result.exit_code == 0, result.stderr
    assert len(np.unique(opened(out))) > 100


def test_what_cannot_be_drawn_is_named(own: list[object], picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    out.write_text("before")
    refused = {
        "'canv'": [picture, "--blob", "canv", "-o", out],
        "'pool' (Pooling)": ["--filters", "pool", "-o", out],
        "gone.png": [tmp_path / "gone.png", "--blob", "conv", "-o", out],
        "'tga'": [picture, "--blob", "conv", "-o", tmp_path / "out.tga"],
    }
    for word, arguments in refused.items():
        result = run(*arguments, *own)
        assert result.exit_code == 1
        assert word in result.stderr
    assert out.read_text() == "before"


def test_options_that_do_not_go_together(own: list[object], picture: Path) -> None:
    for arguments in (
        [picture],
        [picture, "--filters", "conv"],
        ["--blob", "conv"],
        [picture, "--blob", "conv", "--filters", "conv"],
    ):
        assert run(*arguments, *own).exit_code == 2
    assert run(picture, "--blob", "conv", *own[:2]).exit_code == 2


def test_figures_are_pictures(own: list[object], picture: Path, tmp_path: Path) -> None:
    run(picture, "--blob", "conv", "-o", tmp_path / "out.jpg", *own)
    assert Image.open(io.BytesIO((tmp_path / "out.jpg").read_bytes())).format == "JPEG"


def test_without_matplotlib_the_command_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = caffe_command("look", "--filters", "stem", "-o", tmp_path / "filters.png")
    assert result.exit_code == 1
    assert "matplotlib is needed for caffe look" in result.stderr
    assert install_command("vis") in result.stderr
