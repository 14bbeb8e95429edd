"""`detect`: the answers of `caffe.Detector`, saved as CSV and HDF5."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

import caffe
from caffe.tools.detect import detect
from tests.helpers.command import tool
from tests.helpers.serving import SMALL_NET
from tests.helpers.sources import picture, save_picture

WINDOWS = {"a.png": [(0, 0, 9, 9), (2, 3, 12, 14)], "b.png": [(1, 1, 20, 20)]}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(SMALL_NET)
    caffe.Net("net.prototxt", caffe.TEST).save("net.caffemodel")
    lines = ["filename, xmin, ymin, xmax, ymax"]
    for name, windows in WINDOWS.items():
        save_picture(Path(name), picture(20, 24))
        lines += [f"{name},{x0},{y0},{x1},{y1}" for y0, x0, y1, x1 in windows]
    Path("in.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def run(*arguments: str, expected: int = 0) -> str:
    files = ("--model_def=net.prototxt", "--pretrained_model=net.caffemodel")
    result = tool(detect, *files, "--crop_mode=list", "--context_pad=2", *arguments)
    assert result.exit_code == expected, result.stderr
    return str(result.stderr)


def wanted() -> np.ndarray:
    mean = np.array([104.00698793, 116.66876762, 122.67891434])
    settings = {"mean": mean, "raw_scale": 255, "channel_swap": (2, 1, 0), "context_pad": 2}
    detector = caffe.Detector("net.prototxt", "net.caffemodel", **settings)
    return np.stack([one["prediction"] for one in detector.detect_windows(WINDOWS.items())])


@pytest.mark.usefixtures("folder")
def test_a_csv_has_a_row_for_each_window() -> None:
    run("in.csv", "out.csv")
    with open("out.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        *("filename", "ymin", "xmin", "ymax", "xmax"),
        *("class0", "class1", "class2"),
    ]
    assert [row["filename"] for row in rows] == ["a.png", "a.png", "b.png"]
    assert [int(rows[1][name]) for name in ("ymin", "xmin", "ymax", "xmax")] == [2, 3, 12, 14]
    found = np.array([[float(row[f"class{i}"]) for i in range(3)] for row in rows])
    assert np.allclose(found, wanted(), atol=1e-6)


@pytest.mark.usefixtures("folder")
def test_an_hdf5_file_has_the_same_in_data_sets() -> None:
    h5py = pytest.importorskip("h5py")
    run("in.csv", "out.h5")
    with h5py.File("out.h5") as file:
        assert file["df/filename"].asstr()[:].tolist() == ["a.png", "a.png", "b.png"]
        assert file["df/xmax"][:].tolist() == [9, 14, 20]
        assert np.allclose(file["df/prediction"][:], wanted(), atol=1e-6)


@pytest.mark.usefixtures("folder")
def test_what_cannot_be_done_is_told() -> None:
    Path("bad.csv").write_text("filename,xmin\na.png,1\n")
    Path("worse.csv").write_text("filename,xmin,ymin,xmax,ymax\na.png,1,2,three,4\n")
    assert "ymin" in run("bad.csv", "out.csv", expected=1)
    assert "worse.csv:2" in run("worse.csv", "out.csv", expected=1)
    assert "none.csv" in run("none.csv", "out.csv", expected=1)
    assert "selective search" in run(
        "in.csv", "out.csv", "--crop_mode=selective_search", expected=1
    )
    run("in.csv", "out.xlsx", expected=2)
    assert not Path("out.csv").exists()
