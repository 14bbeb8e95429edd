"""NumPy's .npy form: what NumPy writes is read; no damage does more than an error."""

from __future__ import annotations

import contextlib
import io
import random

import numpy as np
import pytest

from caffe.io.npy import NpyError, parse_npy

NUMBERS = np.arange(24).reshape(2, 3, 4)


def written(array: np.ndarray, version: tuple[int, int] | None = None) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version)
    return stream.getvalue()


@pytest.mark.parametrize("dtype", ["f4", ">f8", "f2", "u1", "<i8", ">u2", "?"])
@pytest.mark.parametrize("shape", [(), (0, 3), (24,), (2, 3, 4), (1, 24, 1)])
def test_what_numpy_writes_is_read(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.resize(NUMBERS, shape).astype(dtype)
    for given in (array, np.asfortranarray(array)):
        for version in ((1, 0), (2, 0)):
            found = parse_npy(written(given, version))
            assert found.dtype == given.dtype
            np.testing.assert_array_equal(found, given)


def test_headers_of_python_2_are_read() -> None:
    content = written(NUMBERS.astype("f4")).replace(b"(2, 3, 4), }   ", b"(2L, 3L, 4L), }")
    np.testing.assert_array_equal(parse_npy(content), NUMBERS)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (written(NUMBERS)[:-1], "needs more than the 191 bytes"),
        (written(NUMBERS)[:40], "header is longer"),
        (written(NUMBERS).replace(b"}", b" "), "no braces"),
        (written(NUMBERS).replace(b"(2, 3, 4), ", b"(2, -3, 4),"), "impossible"),
        (written(NUMBERS).replace(b"(2, 3, 4), ", b"(9**9**9,),"), "impossible"),
        (written(NUMBERS).replace(b"<i8", b"<i7"), "i7"),
        (written(NUMBERS).replace(b"<i8", b"|O8"), "no array of numbers"),
        (written(NUMBERS).replace(b", 'shape'", b"  'shape'"), "comma"),
        (written(NUMBERS).replace(b"'fortran_order': False, ", b" " * 24), "type, order and shape"),
        (written(NUMBERS).replace(b"(2, 3, 4)", b"(2,,3, 4)"), "impossible"),
        (
            written(np.zeros((0, 1, 1, 1)))
            .replace(b"(0, 1, 1, 1)", b"(0," + b"999999999," * 6 + b")")
            .replace(b" " * 54, b""),
            "impossible",
        ),
        (written(np.array(["text"])), "no array of numbers"),
        (written(np.zeros(2, [("a", "f4")])), "no array of numbers"),
        (b"PK\x03\x04", "does not begin"),
    ],
)
def test_what_is_no_array_of_numbers_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(NpyError, match=words):
        parse_npy(content)


def test_no_damage_does_more_than_an_error() -> None:
    good, chance = written(NUMBERS.astype("f4")), random.Random(0)
    for _ in range(3000):
        content = bytearray(good)
        for _ in range(chance.choice([1, 2, 5])):
            content[chance.randrange(6, 128)] = chance.choice([chance.randrange(256), *b"(),L{}'9"])
        with contextlib.suppress(NpyError):
            parse_npy(bytes(content))
