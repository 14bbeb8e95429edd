"""What is told of files in old forms, in the original's words."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

import caffe
from caffe.logs import logger
from caffe.proto.caffe_pb2 import NetParameter
from caffe.proto.files import read_net, read_solver
from caffe.proto.text import parse_text
from tests.helpers.logs import lines

V1 = """name: "old" input: "x" input_dim: [1, 1, 2, 2]
layers { name: "d" type: DATA top: "d" data_param { source: "db" scale: 0.5 batch_size: 1 } }
layers { name: "fc" type: INNER_PRODUCT bottom: "x" top: "y" inner_product_param { num_output: 2 }
  blobs { num: 1 channels: 1 height: 2 width: 4 data: [1, 2, 3, 4, 5, 6, 7, 8] }
  blobs { num: 1 channels: 1 height: 1 width: 2 data: [0, 0] } }
"""
V0 = """layers { layer { name: "d" type: "data" source: "db" batchsize: 2 mirror: true } top: "d" }
layers { layer { name: "r" type: "relu" } bottom: "d" top: "r" }
"""
NORM = """layer { name: "n" type: "BatchNorm" bottom: "x" top: "y"
  param { lr_mult: 1 } param { lr_mult: 1 } param { lr_mult: 1 } }
"""
BEGIN = "Attempting to upgrade input file specified using deprecated"
END = "Successfully upgraded file specified using deprecated"
FUTURE = "Note that future Caffe releases will only support"


def told_of_v1(path: Path) -> list[str]:
    return [
        f"{BEGIN} transformation parameters: {path}",
        f"{END} data transformation parameters.",
        f"{FUTURE} transform_param messages for transformation fields.",
        f"{BEGIN} V1LayerParameter: {path}",
        f"{END} V1LayerParameter",
        f"{BEGIN} input fields: {path}",
        f"{END} input fields.",
        f"{FUTURE} input layers and not input fields.",
    ]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logger, "handlers", [])
    caffe.init_log()


@pytest.mark.usefixtures("told")
def test_an_old_text_is_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "old.prototxt"
    path.write_text(V1)
    read_net(path)
    written = capsys.readouterr().err
    assert lines(written) == told_of_v1(path)
    places = [(line[0], line.split("] ")[0].split()[-1]) for line in written.splitlines()]
    numbers = [46, 49, 51, 55, 63, 69, 72, 74]
    warned = (51, 74)
    assert places == [("W" if n in warned else "I", f"upgrade_proto.cpp:{n}") for n in numbers]


@pytest.mark.usefixtures("told")
def test_a_text_of_2013_is_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "old.prototxt"
    path.write_text(V0)
    read_net(path)
    first, second, note, *rest = lines(capsys.readouterr().err)
    assert (first, second) == (f"{BEGIN} V0LayerParameter: {path}", f"{END} V0LayerParameter")
    assert note.startswith("Note that future Caffe releases will not support V0NetParameter; use ")
    assert rest == told_of_v1(path)[3:5]


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("text", [V1, V0])
def test_old_weights_are_told_of_alike(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    path, binary = tmp_path / "old.prototxt", tmp_path / "old.caffemodel"
    path.write_text(text)
    binary.write_bytes(parse_text(text, NetParameter()).SerializeToString())
    read_net(path)
    as_text = lines(capsys.readouterr().err.replace(str(path), str(binary)))
    net = caffe.Net(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [1, 4] } } }'
        'layer { name: "fc" type: "InnerProduct" bottom: "x" top: "y" '
        "inner_product_param { num_output: 2 } }",
        caffe.TEST,
    )
    capsys.readouterr()
    if text is V0:
        with pytest.warns(caffe.CaffeWarning, match="nothing"):
            net.copy_from(binary)
    else:
        net.copy_from(binary)
    found = lines(capsys.readouterr().err)
    assert [line for line in found if "source layer" not in line] == as_text


@pytest.mark.usefixtures("told")
def test_batch_norms_of_old_texts_are_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "norm.prototxt"
    path.write_text(NORM)
    net = read_net(path)
    assert [spec.lr_mult for spec in net.layer[0].param] == [0, 0, 0]
    assert lines(capsys.readouterr().err) == [
        f"Attempting to upgrade batch norm layers using deprecated params: {path}",
        "Successfully upgraded batch norm layers using deprecated params.",
    ]


@pytest.mark.usefixtures("told")
def test_an_old_solver_is_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "old.prototxt"
    path.write_text(f'net: "net.prototxt" solver_type: ADAM snapshot_prefix: "{tmp_path}"')
    assert read_solver(path).type == "Adam"
    assert lines(capsys.readouterr().err) == [
        f"{BEGIN} 'solver_type' field (enum)': {path}",
        f"{END} 'solver_type' field (enum) to 'type' field (string).",
        f"{FUTURE} 'type' field (string) for a solver's type.",
        f"snapshot_prefix was a directory and is replaced to {tmp_path}/old",
    ]
    path.write_text('net: "net.prototxt"')
    read_solver(path)
    prefix = f"snapshot_prefix was not specified and is set to {tmp_path}/old"
    assert lines(capsys.readouterr().err) == [prefix]


def test_who_has_not_asked_is_told_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(logger, "propagate", False)
    logger.setLevel(logging.NOTSET)
    path = tmp_path / "old.prototxt"
    path.write_text(V1)
    read_net(path)
    assert capsys.readouterr().err == ""
