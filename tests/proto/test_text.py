"""Prototxt: what is read, how mistakes are reported, what happens to unknown fields."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from caffe.errors import CaffeWarning, ParseError
from caffe.proto import caffe_pb2
from caffe.proto.files import parse_net
from caffe.proto.text import format_text, parse_text, read_text, write_text


def parse(text: str) -> caffe_pb2.NetParameter:
    return parse_text(text, caffe_pb2.NetParameter(), "net.prototxt")


def failure(text: str) -> ParseError:
    with pytest.raises(ParseError) as caught:
        parse(text)
    return caught.value


def test_text_merges_into_the_message_given() -> None:
    net = caffe_pb2.NetParameter(name="old")
    assert parse_text('name: "new" layer { name: "a" }', net) is net
    assert net.name == "new"
    assert net.layer[0].name == "a"


def test_message_is_untouched_when_the_text_is_wrong() -> None:
    net = caffe_pb2.NetParameter(name="old")
    with pytest.raises(ParseError):
        parse_text('name: "new" layer { name: 3 }', net)
    assert net == caffe_pb2.NetParameter(name="old")


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ('layer {\n  name: "a"\n', 1, 7, ["'layer'", "not closed", "'a'"]),
        ("layer {\n  pooling_param {\n    stride: 2\n", 2, 17, ["'pooling_param'", "not closed"]),
        ('layer {\n  name: "a"\nlayer { name: "b" }\n', 1, 7, ["'a'", "missing before line 3"]),
        ('layer {\n  name: "a"\n  layer { name: "b" }\n}', 3, 3, ["inside layer 'a'", "missing"]),
        ('layer { name: "a" }\n}', 2, 1, ["closes nothing"]),
        ('layer { name: "a" >', 1, 19, ["'}' is wanted"]),
        ('layer {\n  name: "conv1\n}', 2, 9, ["no closing quote"]),
        ("name:", 1, 1, ["ends before the value of 'name'"]),
        ("layer { pooling_param { pool: AVG } }", 1, 31, ["AVG", "PoolMethod", "MAX, AVE"]),
        ("layer { phase: 7 }", 1, 16, ["7", "Phase", "TRAIN, TEST"]),
        ("layer { name: 3 }", 1, 15, ["string", "3"]),
        ('input_dim: "x"', 1, 12, ["integer", "x"]),
        ("input_dim: 99999999999", 1, 12, ["out of range"]),
        ('name: "a"\nname: "b"', 2, 7, ["multiple", "name"]),
        ("<!DOCTYPE html><html>", 1, 1, ["web page"]),
        ('solver_type: SGD\nnet: "x"', 1, 1, ["NetParameter", "another kind of file"]),
    ],
)
def test_mistakes_are_reported_where_they_are(
    text: str, line: int, column: int, words: list[str]
) -> None:
    error = failure(text)
    assert (error.source, error.line, error.column) == ("net.prototxt", line, column)
    for word in words:
        assert word in str(error)
    assert text.split("\n")[line - 1] in str(error)


def test_missing_required_field_is_named() -> None:
    assert "layer[0].clip_param.max" in str(failure("layer { clip_param { min: 1 } }"))


def test_deep_nesting_ends_in_an_error() -> None:
    assert "not closed" in str(failure("frob {" * 20000))
    assert "not closed" in str(failure("x: [" * 20000))


def test_unknown_fields_are_reported_once_and_kept() -> None:
    text = """name: "n"
    layer { frob { a: "}" b < c: 1 > } name: "one" pooling_param { ceil_modus: true; stride: 2 } }
    layer { pooling_param { ceil_modus: false, pad: 1 } name: "two"
            param: [{ lr_mult: 3 odd: 1 }, { lr_mult: 4 }] [some.extension]: 5 }
    """
    with pytest.warns(CaffeWarning) as caught:
        net = parse(text)
    wanted = caffe_pb2.NetParameter(name="n")
    wanted.layer.add(name="one").pooling_param.stride = 2
    wanted.layer.add(name="two").pooling_param.pad = 1
    wanted.layer[1].param.add(lr_mult=3)
    wanted.layer[1].param.add(lr_mult=4)
    known = caffe_pb2.NetParameter()
    known.CopyFrom(net)
    known.DiscardUnknownFields()  # what the schema does not know
    assert known == wanted
    again = format_text(net)
    assert [line.strip() for line in again.splitlines() if "odd" in line or "frob" in line] == [
        'frob { a: "}" b < c: 1 > }',
        "odd: 1",
    ]
    assert "    ceil_modus: true\n" in again
    assert "  [some.extension]: 5\n" in again
    with pytest.warns(CaffeWarning, match="has no field"):
        assert parse(again) == net
    shown = [str(warning.message) for warning in caught]
    assert [line.split(";")[0] for line in shown] == [
        "net.prototxt:2: layer 'one': LayerParameter has no field 'frob'",
        "net.prototxt:2: layer 'one': PoolingParameter has no field 'ceil_modus'",
        "net.prototxt:4: layer 'two': ParamSpec has no field 'odd'",
        "net.prototxt:4: layer 'two': LayerParameter has no field '[some.extension]'",
    ]
    assert "(2 times)" in shown[1]


def test_what_is_kept_of_a_v1_layer_is_kept_by_its_upgrade() -> None:
    text = 'layers { name: "a" type: RELU odd { thing: 1 } relu_param { even: 2 } }'
    with pytest.warns(CaffeWarning) as caught:
        net = parse_net(text)
    assert any("V1LayerParameter has no field 'odd'" in str(w.message) for w in caught)
    again = format_text(net)
    assert "odd { thing: 1 }" in again
    assert "even: 2" in again
    assert net.layer[0].type == "ReLU"


def test_a_mistake_behind_an_unknown_field_keeps_its_place() -> None:
    error = failure('name: "n"\nfrob { a: 1 }\nlayer { name: 3 }')
    assert (error.line, error.column) == (3, 15)


@pytest.mark.parametrize(
    "data",
    [
        b'\xef\xbb\xbfname: "n"\r\nlayer { name: "a" } # end\r\n',
        b'name: "n"\rlayer { name: "a" } # end\r',
        b'# gr\xfc\xdfe, \xc4\xe3\nname: "n" layer { name: "a" }',
        'name: "n" layer { name: "a" }'.encode("utf-16"),
    ],
    ids=["BOM and CRLF", "CR", "Latin-1 comment", "UTF-16"],
)
def test_what_editors_do_to_files_is_understood(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "net.prototxt"
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net = read_text(path, caffe_pb2.NetParameter())
    assert (net.name, net.layer[0].name) == ("n", "a")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"\x89PNG\r\n\x1a\n\0\0", "PNG picture"),
        (b"\0\1\2\3", "binary data"),
        (None, "no such file"),
    ],
)
def test_files_that_are_no_text_are_told_apart(
    tmp_path: Path, data: bytes | None, words: str
) -> None:
    path = tmp_path / "net.prototxt"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(ParseError, match=words) as caught:
        read_text(path, caffe_pb2.NetParameter())
    assert str(path) in str(caught.value)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ParseError, match="folder"):
        read_text(tmp_path, caffe_pb2.NetParameter())


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    net = parse('name: "n" layer { name: "a" type: "ReLU" bottom: "x" top: "x" phase: TEST }')
    path = tmp_path / "net.prototxt"
    write_text(path, net)
    assert read_text(path, caffe_pb2.NetParameter()) == net
    assert format_text(net).startswith('name: "n"\nlayer {\n  name: "a"\n')


def test_an_unknown_engine_is_ignored_and_reported() -> None:
    text = """layer { name: "a" type: "ReLU" relu_param { engine: MKL2017 negative_slope: 0.5 } }
    layer { name: "b" type: "ReLU" engine: "MKLDNN:CPU" relu_param { engine: MKL2017 } }"""
    with pytest.warns(CaffeWarning) as caught:
        net = parse_text(text, caffe_pb2.NetParameter(), "net.prototxt")
    (shown,) = [str(warning.message) for warning in caught]
    assert shown == (
        "net.prototxt:1: layer 'a': ReLUParameter has no engine 'MKL2017'; it is kept, but ignored "
        "(2 times)"
    )
    assert "engine: MKL2017" in format_text(net)
    assert net.layer[0].relu_param.negative_slope == 0.5


def test_another_unknown_value_is_an_error() -> None:
    with pytest.raises(ParseError, match=r"LARGEST is not a PoolMethod.*AVE_EXC_PAD"):
        parse_text("layer { pooling_param { pool: LARGEST } }", caffe_pb2.NetParameter())
