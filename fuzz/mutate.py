"""Bytes changed by chance, the same way for the same seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

ODD_BYTES = (0, 1, 9, 10, 34, 39, 92, 123, 125, 127, 128, 255)
ODD_NUMBERS = (-1, 0, 1, 2, 7, 255, 256, 65535, 2**31 - 1, -(2**31), 2**32 - 1, 2**40, 2**63 - 1)
SAID_NUMBERS = ("0", "-1", "1", "3", "1e9", "4294967295", "-2147483648", "99999999999", "nan",
                "inf", "-0.0", "1e-40", "0x7fffffff", "007", "1e400")  # fmt: skip
MOST_BYTES = 1 << 17
"""Inputs do not grow beyond this."""

Change = Callable[[Random, bytearray, Sequence[bytes], Sequence[bytes]], None]


def mutated(
    rng: Random, seeds: Sequence[bytes], words: Sequence[bytes] = (), most: int = 6
) -> bytes:
    """Return one of the seeds, changed.

    Parameters
    ----------
    rng : Random
        Where chance comes from.
    seeds : sequence of bytes
        What is right.
    words : sequence of bytes
        What may be put in, the format's own words.
    most : int
        How many changes there are at most; one is the most frequent.
    """
    data = bytearray(rng.choice(seeds))
    for _ in range(min(rng.randint(1, most), rng.randint(1, most))):
        rng.choice(CHANGES)(rng, data, seeds, words)
        del data[MOST_BYTES:]
    return bytes(data)


def _place(rng: Random, data: bytearray) -> int:
    # Heads are read first, and decide about the rest.
    end = len(data) if rng.random() < 0.7 else min(64, len(data))
    return rng.randrange(end + 1)


def _stretch(rng: Random, data: bytes | bytearray) -> slice:
    start = rng.randrange(len(data) + 1)
    length = rng.choice((1, 2, 4, 8, 16, 64, 512)) if rng.random() < 0.8 else len(data)
    return slice(start, start + rng.randint(1, length) if length else start)


def _flip(rng: Random, data: bytearray, seeds: Sequence[bytes], words: Sequence[bytes]) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _set(rng: Random, data: bytearray, seeds: Sequence[bytes], words: Sequence[bytes]) -> None:
    if data:
        at = min(_place(rng, data), len(data) - 1)
        data[at] = rng.choice(ODD_BYTES) if rng.random() < 0.6 else rng.randrange(256)


def _cut(rng: Random, data: bytearray, seeds: Sequence[bytes], words: Sequence[bytes]) -> None:
    del data[_place(rng, data) :]


def _take_out(rng: Random, data: bytearray, seeds: Sequence[bytes], words: Sequence[bytes]) -> None:
    del data[_stretch(rng, data)]


def _repeat(rng: Random, data: bytearray, seeds: Sequence[bytes], words: Sequence[bytes]) -> None:
    stretch = data[_stretch(rng, data)]
    times = rng.choice((1, 2, 3, 20, 300)) if len(stretch) < 64 else 1
    at = _place(rng, data)
    data[at:at] = stretch * times


def _put_number(
    rng: Random, data: bytearray, seeds: Sequence[bytes], words: Sequence[bytes]
) -> None:
    size = rng.choice((1, 2, 4, 8))
    number = rng.choice(ODD_NUMBERS) % (1 << 8 * size)
    at = _place(rng, data)
    data[at : at + size] = number.to_bytes(size, rng.choice(("little", "big")))


def _put_word(rng: Random, data: bytearray, seeds: Sequence[bytes], words: Sequence[bytes]) -> None:
    word = rng.choice(words) if words else bytes(rng.choices(ODD_BYTES, k=rng.randint(1, 8)))
    at = _place(rng, data)
    data[at : at + rng.choice((0, 0, len(word)))] = word * rng.choice((1, 1, 1, 1, 2, 50))


def _splice(rng: Random, data: bytearray, seeds: Sequence[bytes], words: Sequence[bytes]) -> None:
    other = rng.choice(seeds)
    stretch = other[_stretch(rng, other)]
    at = _place(rng, data)
    data[at : at + rng.choice((0, len(stretch)))] = stretch


def _say_number(
    rng: Random, data: bytearray, seeds: Sequence[bytes], words: Sequence[bytes]
) -> None:
    """Put another number where one is said in digits."""
    at = _place(rng, data)
    start = next((i for i in range(at, len(data)) if 48 <= data[i] <= 57), None)
    if start is not None:
        end = next((i for i in range(start, len(data)) if not 48 <= data[i] <= 57), len(data))
        data[start:end] = rng.choice(SAID_NUMBERS).encode()


CHANGES: tuple[Change, ...] = (
    _flip, _flip, _set, _set, _cut, _take_out, _repeat, _put_number, _put_word, _splice,
    _say_number,
)  # fmt: skip
