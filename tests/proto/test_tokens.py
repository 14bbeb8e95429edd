"""Tokens of a prototxt: their kinds and places, and what numbers and strings say."""

from __future__ import annotations

import math

import pytest

from caffe.proto.tokens import Places, integer, number, string, tokens


def test_a_text_is_parted_into_words_strings_and_marks() -> None:
    text = "a: -1.5f # 'no' \"string\"\rb<'x\\'#y'\"z\">;["
    assert [(token.kind, token.text) for token in tokens(text)] == [
        ("word", "a"),
        ("mark", ":"),
        ("word", "-1.5f"),
        ("word", "b"),
        ("mark", "<"),
        ("string", r"'x\'#y'"),
        ("string", '"z"'),
        ("mark", ">"),
        ("mark", ";"),
        ("mark", "["),
    ]
    assert all(text[token.start : token.end] == token.text for token in tokens(text))


def test_a_quote_that_nothing_closes_is_a_token_of_its_own() -> None:
    kinds = [token.kind for token in tokens("a: 'b\\'\nc")]
    assert kinds == ["word", "mark", "quote", "word", "quote", "word"]


def test_places_count_lines_of_every_kind_of_end() -> None:
    places = Places("ab\rc\n\nlast")
    assert [places.at(position) for position in (0, 3, 5, 6, 9)] == [
        (1, 1, "ab"),
        (2, 1, "c"),
        (3, 1, ""),
        (4, 1, "last"),
        (4, 4, "last"),
    ]
    assert Places("x" * 300).at(299) == (1, 300, None)


@pytest.mark.parametrize(
    ("word", "value"),
    [("0", 0), ("-0", 0), ("007", 7), ("-0X1f", -31), ("0" * 50 + "1", 1), ("4294967296", 2**32)],
)
def test_integers_are_decimal_octal_or_hexadecimal(word: str, value: int) -> None:
    assert integer(word) == value


@pytest.mark.parametrize(
    "word", ["", "-", "08", "1.0", "1e3", "0x", "0xg", "+1", "1_0", "--1", "٣"]
)
def test_what_is_no_integer(word: str) -> None:
    assert integer(word) is None


def test_an_integer_of_many_digits_is_beyond_every_range() -> None:
    assert (integer("9" * 10**6) or 0) > 2**64
    assert (integer("-" + "9" * 10**6) or 0) < -(2**64)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        *[("1", 1), ("1.", 1), (".5", 0.5), ("-1.5E-2F", -0.015), ("3f", 3), ("1.f", 1)],
        *[("inf", math.inf), ("-INFINITY", -math.inf), ("Inff", math.inf), ("1e400", math.inf)],
    ],
)
def test_numbers_are_decimal(word: str, value: float) -> None:
    assert number(word) == value


@pytest.mark.parametrize("word", ["nan", "-NaN", "nanf"])
def test_nan_is_a_number(word: str) -> None:
    assert math.isnan(number(word) or 0)


@pytest.mark.parametrize(
    "word",
    [
        "",
        "-",
        ".",
        "010",
        "00",
        "01.5",
        "0x10",
        "1e",
        "1.2.3",
        "1ff",
        "+1",
        "1_0",
        "infi",
        "nanity",
    ],
)
def test_what_is_no_number(word: str) -> None:
    assert number(word) is None


@pytest.mark.parametrize(
    ("literal", "data"),
    [
        (r"'\a\b\f\n\r\t\v\\\?\'\"'", b"\a\b\f\n\r\t\v\\?'\""),
        (r"'\1\12\123\1234\400'", b"\1\n\x53\x534\0"),
        (r"'\x4\x41\X414'", b"\x04\x41\x414"),
        (r"'\u00e4\U0001F600\ud83d\ude00'", "ä😀😀".encode()),
        ("'ä\\\\x41'", "ä\\x41".encode()),
    ],
)
def test_escapes_of_strings(literal: str, data: bytes) -> None:
    assert string(literal) == data


@pytest.mark.parametrize("literal", [r"'a\q'", r"'\x'", r"'\u12'", r"'\U00110000'", r"'\9'"])
def test_a_backslash_that_escapes_nothing_is_refused(literal: str) -> None:
    with pytest.raises(ValueError, match="escape sequence"):
        string(literal)
