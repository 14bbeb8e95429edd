"""What is told of a net's parameters when weights are read."""

from __future__ import annotations

from pathlib import Path

import pytest

import caffe
from caffe.errors import CaffeWarning

NET = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [1, 3] } } }
layer { name: "one" type: "InnerProduct" bottom: "x" top: "a"
        inner_product_param { num_output: 2 } }
layer { name: "relu" type: "ReLU" bottom: "a" top: "a" }
layer { name: "two" type: "InnerProduct" bottom: "a" top: "b"
        inner_product_param { num_output: 2 } }
"""


def net(folder: Path, text: str) -> caffe.Net:
    path = folder / "net.prototxt"
    path.write_text(text)
    return caffe.Net(path, caffe.TEST)


def test_it_says_what_is_from_the_file_and_what_is_not(tmp_path: Path) -> None:
    net(tmp_path, NET).save(tmp_path / "old.caffemodel")
    tuned = net(tmp_path, NET.replace('"two"', '"two_new"'))
    assert tuned.weights_report is None
    report = tuned.copy_from(tmp_path / "old.caffemodel")
    file = str(tmp_path / "old.caffemodel")
    assert report.sources == {"one": file, "two_new": ""}
    assert (report.taken(file), report.missing, report.unused) == (
        ["one"],
        ["two_new"],
        {file: ["two"]},
    )
    assert "two_new (did you mean 'two'?)" in str(report)
    assert tuned.weights_report == report


def test_several_files_are_told_of_together(tmp_path: Path) -> None:
    net(tmp_path, NET.replace('"two"', '"old"')).save(tmp_path / "one.caffemodel")
    net(tmp_path, NET.replace('"one"', '"old"')).save(tmp_path / "two.caffemodel")
    tuned = net(tmp_path, NET)
    tuned.copy_from(tmp_path / "one.caffemodel")
    tuned.copy_from(tmp_path / "two.caffemodel")
    report = tuned.weights_report
    assert report is not None
    assert [Path(path).stem for path in report.sources.values()] == ["one", "two"]
    assert report.missing == []
    assert list(report.unused.values()) == [["old"], ["old"]]


def test_weights_of_another_net_are_warned_of(tmp_path: Path) -> None:
    net(tmp_path, NET).save(tmp_path / "old.caffemodel")
    other = net(tmp_path, NET.replace('"one"', '"1"').replace('"two"', '"2"'))
    with pytest.warns(CaffeWarning, match="no layer of the net is in the file"):
        other.copy_from(tmp_path / "old.caffemodel")
