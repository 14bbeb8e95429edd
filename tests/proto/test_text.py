"""Prototxt: what is read, how mistakes are reported, what happens to unknown fields."""

from __future__ import annotations

import contextlib
import math
import random
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from caffe.errors import CaffeWarning, ParseError
from caffe.proto import caffe_pb2
from caffe.proto.files import parse_net
from caffe.proto.text import format_text, parse_text, read_text, write_text
from tests.helpers.stopwatch import MOST, growth


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


# What protobuf's own reader in C++ makes of these was found out by it.


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("input_dim: - 5", {"input_dim": [-5]}),
        ("input_dim: -#c\n5", {"input_dim": [-5]}),
        ("input_dim: 010 input_dim: 0x1F, input_dim: -0X10;", {"input_dim": [8, 31, -16]}),
        ("input_dim: [] input_dim:[1,-2] input_dim:3", {"input_dim": [1, -2, 3]}),
        ("name: 'a' \"b\"#c\n'c'", {"name": "abc"}),
        ("name: 'it\"s' \"'\"", {"name": "it\"s'"}),
        ("name:\v'a\rb'\f", {"name": "a\rb"}),
        ("name: '\\400\\x414'", {"name": "\0A4"}),
        ('input: ["a" "b", "c"]', {"input": ["ab", "c"]}),
        ("layer [{name:'a'}, <name:'b'>];", {"layer": [{"name": "a"}, {"name": "b"}]}),
        ("layer: <name:'a'>, layer{} layer : [ ]", {"layer": [{"name": "a"}, {}]}),
        ("# c\rforce_backward: t # c\r", {"force_backward": True}),
        ("\ufefflayer { phase: 0x1 } force_backward: 00",
         {"layer": [{"phase": 1}], "force_backward": False}),
        ("layer { loss_weight: [1, -2.5f, .5, 5., 1e3, - inf] }",
         {"layer": [{"loss_weight": [1, -2.5, 0.5, 5, 1000, -math.inf]}]}),
        ("layer { loss_weight: 1e99 loss_weight: -1e400 }",
         {"layer": [{"loss_weight": [math.inf, -math.inf]}]}),
    ],
)  # fmt: skip
def test_what_the_text_format_allows_is_read(text: str, wanted: dict[str, Any]) -> None:
    assert parse(text) == caffe_pb2.NetParameter(**wanted)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("input_dim: +5", "takes an integer, not +5"),
        ("input_dim: 08", "takes an integer, not 08"),
        ("input_dim: - - 5", "value of '5'"),
        ("input_dim: 5.0", "takes an integer, not 5.0"),
        ("input_dim: 5input_dim: 6", "field's name"),
        ("input_dim: [1, 2,]", "element is wanted"),
        ("input_dim: [, 1]", "element is wanted"),
        ("input_dim: [1 2]", "',' is wanted"),
        ("input_dim: [1; 2]", "',' is wanted"),
        ("input_dim: [; 1]", "no place in a list"),
        ("input_dim: [[1]]", "value of 'input_dim' is wanted"),
        ("input_dim: {}", "one value"),
        ("input_dim [1]", "':' is wanted"),
        ("input_dim: 1;;", "field's name"),
        (";", "field's name"),
        ("name: }", "value of 'name' is wanted"),
        ("name 'a'", "':' is wanted"),
        ("name: a", "string in quotes"),
        ("name: ['a']", "one value"),
        ("name: 'a\\q'", "escape sequence"),
        ("name: '\\377'", "not UTF-8"),
        ("name: '\ud800'", "surrogate"),
        ("force_backward: TRUE", "true or false"),
        ("force_backward: -0", "true or false"),
        ("force_backward: 2", "true or false"),
        ("state {} state {}", "multiple"),
        ("state: 3", "is a message"),
        ("layer: [3]", "is a message"),
        ("layer { loss_weight: 010 }", "decimal number"),
        ("layer { loss_weight: '1' }", "decimal number"),
        ("layer { transform_param { crop_size: -0 } }", "out of range"),
        ("layer { phase: '1' }", "not a Phase"),
    ],
)
def test_what_the_text_format_forbids_is_refused(text: str, words: str) -> None:
    assert words in str(failure(text))


class Speller:
    """Writes messages as texts in ever other ways that the grammar allows."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def pick(self, *choices: str) -> str:
        return self.random.choice(choices)

    def gap(self) -> str:
        return self.pick("", "", " ", "\n", "\t", "\r\n", "\r", "\v", " # { ' \" [\n", "#\r")

    def space(self) -> str:
        return self.gap() + self.pick(" ", "\n", "#;\n")

    def text(self, message: Message) -> str:
        fields = [(field, value) for field, value in message.ListFields()]
        self.random.shuffle(fields)
        parts = []
        for field, value in fields:
            values = list(value) if hasattr(value, "extend") else None
            parts.append(self.field(field, value) if values is None else self.many(field, values))
        return self.gap() + "".join(parts) + self.gap()

    def many(self, field: FieldDescriptor, values: list[Any]) -> str:
        if self.random.random() < 0.5:
            return "".join(self.field(field, value) for value in values)
        inner = ",".join(self.gap() + self.value(field, value) + self.gap() for value in values)
        colon = self.pick(":", "") if field.message_type else ":"
        return f"{field.name}{self.gap()}{colon}{self.gap()}[{inner or self.gap()}]{self.end()}"

    def field(self, field: FieldDescriptor, value: Any) -> str:
        colon = self.pick(":", "") if field.message_type else ":"
        return f"{field.name}{self.gap()}{colon}{self.gap()}{self.value(field, value)}{self.end()}"

    def end(self) -> str:
        return self.gap() + self.pick(",", ";", self.space())

    def value(self, field: FieldDescriptor, value: Any) -> str:
        if field.message_type:
            left, right = self.random.choice([("{", "}"), ("<", ">")])
            return left + self.text(value) + right
        if field.enum_type:
            return self.pick(field.enum_type.values_by_number[value].name, self.integer(value))
        if isinstance(value, bool):
            return self.pick("true", "True", "t", "1") if value else self.pick("false", "f", "00")
        if isinstance(value, int):
            return self.integer(value)
        if isinstance(value, float):
            return self.number(value)
        return self.string(value.encode() if isinstance(value, str) else value)

    def signed(self, digits: str, is_negative: bool) -> str:
        return ("-" + self.gap() if is_negative else "") + digits

    def integer(self, value: int) -> str:
        size = abs(value)
        return self.signed(
            self.pick(f"{size}", f"0{size:o}", f"0x{size:X}", f"0X{size:x}"), value < 0
        )

    def number(self, value: float) -> str:
        size = abs(value)
        if math.isnan(value):
            return self.pick("nan", "NaN", "NAN")
        if math.isinf(value):
            return self.signed(self.pick("inf", "Infinity", "INF"), value < 0)
        digits = self.pick(f"{size!r}", f"{size:.20e}", f"{size:.17E}f")
        return self.signed(digits, math.copysign(1, value) < 0)

    def string(self, data: bytes) -> str:
        cuts = sorted(self.random.randint(0, len(data)) for _ in range(self.random.randint(0, 2)))
        pieces = zip([0, *cuts], [*cuts, len(data)], strict=True)
        return self.gap().join(self.piece(data[start:end]) for start, end in pieces)

    def piece(self, data: bytes) -> str:
        quote = self.pick("'", '"')
        plain = set(range(32, 127)) - {ord(quote), ord("\\")}
        return (
            quote
            + "".join(
                chr(byte)
                if byte in plain and self.random.random() < 0.8
                # Always as long as may be, as what follows might be taken for a further digit.
                else self.pick(f"\\{byte:03o}", f"\\x{byte:02x}", f"\\X{byte:02X}")
                for byte in data
            )
            + quote
        )


STRINGS = [
    "",
    "plain",
    "it's",
    'say "so"',
    "a\nb\r\\x41",
    "größe \u2028 😀",
    "\0\x01\x7f",
    "# { < [",
]
NUMBERS = [0.0, -0.0, 1.5, -2e-30, 0.1, 1e30, math.inf, -math.inf, math.nan, 3.4028234663852886e38]


def scalars(field: FieldDescriptor) -> Iterator[Any]:
    """Values that a field takes."""
    if field.enum_type:
        yield from (value.number for value in field.enum_type.values)
    elif field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        is_bytes = field.type == FieldDescriptor.TYPE_BYTES
        yield from (text.encode() + b"\xff" if is_bytes else text for text in STRINGS)
    elif field.cpp_type in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        yield from NUMBERS
    elif field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        yield from (True, False)
    else:
        bits = 32 if field.cpp_type in (field.CPPTYPE_INT32, field.CPPTYPE_UINT32) else 64
        is_signed = field.cpp_type in (
            FieldDescriptor.CPPTYPE_INT32,
            FieldDescriptor.CPPTYPE_INT64,
        )
        yield from (0, 7, 2 ** (bits - is_signed) - 1)
        if is_signed:
            yield from (-1, -(2 ** (bits - 1)))


def fill(message: Message, choose: random.Random, depth: int = 0) -> None:
    """Give a message some values at random, and all that it must have."""
    for field in message.DESCRIPTOR.fields:
        is_required = field.is_required
        if not is_required and choose.random() > (0.3 if depth < 2 else 0.08):
            continue
        many = hasattr(getattr(message, field.name), "extend")
        for _ in range(choose.randint(1, 3) if many else 1):
            if field.message_type:
                value = getattr(message, field.name)
                value = value.add() if many else value
                value.SetInParent()
                if depth < 4 or is_required:
                    fill(value, choose, depth + 1)
                continue
            scalar = choose.choice(list(scalars(field)))
            if many:
                getattr(message, field.name).append(scalar)
            else:
                setattr(message, field.name, scalar)


@pytest.mark.parametrize("seed", range(12))
def test_what_is_written_is_read_again_whatever_it_is(seed: int) -> None:
    choose = random.Random(seed)
    for kind in (caffe_pb2.NetParameter, caffe_pb2.SolverParameter, caffe_pb2.LayerParameter):
        message = kind()
        fill(message, choose)
        wanted = message.SerializeToString(deterministic=True)
        texts = [format_text(message), *(Speller(choose.random()).text(message) for _ in range(3))]  # type: ignore[arg-type]
        for text in texts:
            again = parse_text(text, kind())
            assert again.SerializeToString(deterministic=True) == wanted, text


LONG = {
    "deep": lambda n: "frob { " * n + "}" * n,
    "deep, kept": lambda n: "name: 'n' " + "frob { " * n + "a: 1 " + "}" * n,
    "backslashes": lambda n: "name: '" + "\\" * (4 * n) + "'",
    "escapes": lambda n: "name: '" + "\\x41" * n + "'",
    "open string": lambda n: "name: '" + "\\" * (4 * n) + "q",
    "unknown": lambda n: "layer { odd: 1 } " * n,
    "one unknown": lambda n: "odd: 1 " * n + "name: 'n'",
    "many unknown": lambda n: "".join(f"odd{i}: 1\n" for i in range(n)) + "name: 'n'",
    "layers": lambda n: "layer { name: 'a' }\n" * n,
    "list": lambda n: "input_dim: [" + "1, " * n + "1]",
    "digits": lambda n: "input_dim: " + "9" * (10 * n),
    "comments": lambda n: "# x \n" * n + "name: 'n'",
    "strings": lambda n: "name: " + "'a' " * n,
    "extension": lambda n: "[" * n,
    "lists": lambda n: "x: [" * n + "]" * n,
    "words": lambda n: "x " * n,
}


@pytest.mark.parametrize("make", LONG.values(), ids=LONG)
def test_time_grows_with_the_text_not_with_its_square(make: Any) -> None:
    def read(text: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with contextlib.suppress(ParseError):
                format_text(parse(text))

    assert growth(read, make, 3000) <= MOST
