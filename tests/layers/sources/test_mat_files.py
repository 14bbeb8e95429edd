"""Blobs from and to MATLAB's files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import caffe
from caffe.errors import CaffeError, NetError, ShapeError
from tests.helpers.damage import damaged

io = pytest.importorskip("scipy.io")


def save(path: Path, blob: np.ndarray) -> None:
    """Write a blob (C, H, W) as MATLAB has it, the width first."""
    io.savemat(path, {"data": np.asfortranarray(blob.T.astype(np.float32)), "other": "text"})


def reader(folder: Path, text: str = "", tops: str = 'top: "t"') -> caffe.Net:
    param = f'mat_read_param {{ prefix: "{folder}/" {text} }}'
    return caffe.Net(f'layer {{ name: "read" type: "MatRead" {tops} {param} }}', caffe.TEST)


def test_names_are_read_in_their_order_and_again(tmp_path: Path) -> None:
    blobs = np.random.default_rng(0).normal(size=(3, 2, 3, 4)).astype(np.float32)
    for name, blob in zip("abc", blobs, strict=True):
        save(tmp_path / f"{name}_blob_0.mat", blob)
        save(tmp_path / f"{name}_blob_1.mat", blob[:1])
    names = tmp_path / "names.txt"
    names.write_text("a.jpg 1\nb.jpg 0\nc.jpg\n")
    text = f'source: "{names}" strip: 4 batch_size: 2'
    net = reader(tmp_path, text, 'top: "t" top: "u"')
    assert net.blobs["t"].shape == (2, 2, 3, 4)
    for order in ([0, 1], [2, 0], [1, 2]):
        net.forward()
        np.testing.assert_array_equal(net.blobs["t"].data, blobs[order])
        np.testing.assert_array_equal(net.blobs["u"].data, blobs[order, :1])


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    text = f"""
    layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ dim: [1, 2, 3, 4] }} }} }}
    layer {{ name: "write" type: "MatWrite" bottom: "x"
      mat_write_param {{ prefix: "{tmp_path}/" period: 2 }} }}
    """
    net = caffe.Net(text, caffe.TEST)
    values = np.random.default_rng(0).normal(size=(4, 1, 2, 3, 4)).astype(np.float32)
    for value in values:
        net.forward(x=value)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "iter_0_blob_0.mat",
        "iter_2_blob_0.mat",
    ]
    back = reader(tmp_path)
    np.testing.assert_array_equal(back.forward()["t"], values[0])
    with pytest.raises(CaffeError, match=r"iter_1_blob_0\.mat"):
        back.forward()


def test_files_that_do_not_fit_are_named(tmp_path: Path) -> None:
    path = tmp_path / "iter_0_blob_0.mat"
    for content, message in (
        (b"", "a MATLAB file was expected"),
        (b"MATLAB 5.0" + bytes(200), "a MATLAB file was expected"),
    ):
        path.write_bytes(content)
        with pytest.raises(CaffeError, match=message):
            reader(tmp_path)
    io.savemat(path, {"date": 1})
    with pytest.raises(CaffeError, match="no variable of that name"):
        reader(tmp_path)
    io.savemat(path, {"data": "text"})
    with pytest.raises(CaffeError, match="must hold single or double numbers"):
        reader(tmp_path)
    save(path, np.zeros((2, 3, 4)))
    net = reader(tmp_path, "batch_size: 2")
    save(tmp_path / "iter_1_blob_0.mat", np.zeros((2, 3, 5)))
    with pytest.raises(ShapeError, match=r"iter_1_blob_0\.mat holds the shape \(1, 2, 3, 5\)"):
        net.forward()


def test_damaged_files_are_refused_cleanly(tmp_path: Path) -> None:
    path = tmp_path / "iter_0_blob_0.mat"
    rng = np.random.default_rng(0)
    for compressed in (False, True):
        io.savemat(path, {"data": rng.normal(size=(4, 3, 2))}, do_compression=compressed)
        for content in damaged(path.read_bytes(), 150, rng):
            path.write_bytes(content)
            try:
                reader(tmp_path)
            except CaffeError:
                continue


@pytest.mark.parametrize(
    ("text", "message"),
    [("batch_size: 0", "batch_size must be positive"), ("strip: -1", "strip must not be negative")],
)
def test_settings_that_cannot_be_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(NetError, match=message):
        reader(tmp_path, text)
