"""Paths of every kind that Python has: text, bytes, and objects."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import caffe
from caffe.paths import path_text
from caffe.proto import caffe_pb2
from caffe.proto.files import read_solver
from caffe.proto.text import read_text, write_text

TEXT = """layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 4 weight_filler { type: "gaussian" } } }"""


class InBytes:
    """A path-like object that gives bytes, as os.DirEntry of a folder in bytes does."""

    def __init__(self, path: str) -> None:
        self._path = os.fsencode(path)

    def __fspath__(self) -> bytes:
        return self._path


KINDS = [os.fsencode, Path, InBytes]


@pytest.mark.parametrize("kind", KINDS)
def test_nets_and_weights_are_read_and_written_by_any_path(
    kind: Callable[[str], str], tmp_path: Path
) -> None:
    model, weights = (str(tmp_path / name) for name in ("nét.prototxt", "w.caffemodel"))
    Path(model).write_text(TEXT, encoding="utf-8")
    net = caffe.Net(network_file=kind(model), phase=caffe.TEST)
    net.save(kind(weights))
    hdf5 = kind(weights + ".h5")
    net.save_hdf5(hdf5)
    x = np.ones((2, 3))
    want = net.forward(data=x)["ip"]
    for other in (
        caffe.Net(kind(model), kind(weights), caffe.TEST),
        caffe.Net(kind(model), caffe.TEST, weights=hdf5),
        caffe.Net(model, 1, weights=kind(weights)),
        caffe.Net(model, 1, 0, None, kind(weights)),
        caffe.Net(model=kind(model), weights=kind(weights), phase=caffe.TEST),
    ):
        assert np.array_equal(other.forward(data=x)["ip"], want)
    with pytest.raises(caffe.MissingFileError, match=r"^\S*absent\.prototxt: there is no such"):
        caffe.Net(kind(str(tmp_path / "absent.prototxt")), caffe.TEST)


@pytest.mark.parametrize("kind", KINDS)
def test_texts_solvers_and_means_are_read_by_any_path(
    kind: Callable[[str], str], tmp_path: Path
) -> None:
    solver = kind(str(tmp_path / "solver.prototxt"))
    write_text(solver, caffe_pb2.SolverParameter(net="net.prototxt", base_lr=0.5))
    assert read_text(solver, caffe_pb2.SolverParameter()).base_lr == 0.5
    assert read_solver(solver).snapshot_prefix == str(tmp_path / "solver")
    np.save(tmp_path / "mean.npy", np.ones((3, 2, 2)))
    assert caffe.io.load_mean(kind(str(tmp_path / "mean.npy"))).shape == (3, 2, 2)


def test_bytes_are_a_pictures_content_and_open_no_file(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    Image.new("RGB", (4, 2), (255, 0, 0)).save(picture)
    assert caffe.io.load_image(InBytes(str(picture))).shape == (2, 4, 3)
    assert caffe.io.load_image(picture.read_bytes()).shape == (2, 4, 3)
    with pytest.raises(caffe.ImageError, match="not a picture"):
        caffe.io.load_image(os.fsencode(picture))


def test_what_is_no_path_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="a file's path is wanted, not 3"):
        path_text(3)  # type: ignore[arg-type]
