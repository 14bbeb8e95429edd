"""Functions of numbers, written for vectors: exponentials, and what activations make of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from .code import Code, Vector

MAGIC = 1.5 * 2**23
"""A number to which others are added to be rounded: its last bit counts 1."""

LN2 = 355 / 512, math.log(2) - 355 / 512
"""The logarithm of 2, in two parts, so that whole multiples of the first are exact."""

LEAST, MOST = -87.0, 88.0
"""Between what exponents are kept: their powers are numbers in all their digits."""

SERIES = [1 / math.factorial(n) for n in range(2, 8)]
"""Factors of x ** 2 to x ** 7 in e ** x; those behind are lost for |x| < ln(2) / 2."""

MOST_POWER = 8
"""Up to which power numbers are multiplied with themselves."""


def exponential(code: Code, x: Vector) -> Vector:
    """Return e ** x."""
    power, part = _parted(code, x)
    return code.plus_product(power, power, part)


def _less_one(code: Code, x: Vector) -> Vector:
    """Return e ** x - 1, exact where x is small."""
    power, part = _parted(code, x)
    return code.plus_product(code.minus(power, code.constant(1.0)), power, part)


def _parted(code: Code, x: Vector) -> tuple[Vector, Vector]:
    """Return a power of two, p, and f, so that p * (1 + f) is e ** x."""
    x = code.within(x, LEAST, MOST)
    magic = code.constant(MAGIC)
    rounded = code.plus_product(magic, x, code.constant(1 / math.log(2)))
    count = code.minus(rounded, magic)
    for part in LN2:
        x = code.plus_product(x, count, code.constant(-part))
    total = _polynomial(code, x, SERIES)
    return code.power_of_two(rounded), code.plus_product(x, code.times(x, x), total)


def _polynomial(code: Code, x: Vector, factors: list[float]) -> Vector:
    """Return the sum of the factors times x ** 0, x ** 1, ..."""
    total = code.constant(factors[-1])
    for factor in reversed(factors[:-1]):
        total = code.plus_product(code.constant(factor), total, x)
    return total


def _sigmoid(code: Code, x: Vector) -> Vector:
    return code.over(code.constant(1.0), _beside_one(code, x, 1.0))


def _beside_one(code: Code, x: Vector, factor: float) -> Vector:
    """1 + e ** (-factor * x)."""
    return code.plus(code.constant(1.0), exponential(code, code.scaled(x, -factor)))


def _swish(code: Code, x: Vector, beta: float) -> Vector:
    return code.over(x, _beside_one(code, x, beta))


def _tanh(code: Code, x: Vector) -> Vector:
    double = _less_one(code, code.scaled(x, 2.0))
    return code.over(double, code.plus(double, code.constant(2.0)))


def _elu(code: Code, x: Vector, alpha: float) -> Vector:
    below = code.scaled(_less_one(code, x), alpha)
    return code.larger(x, code.constant(0.0), x, below)


def _mish(code: Code, x: Vector) -> Vector:
    # tanh(log(1 + e)) is n / (n + 2), n being (1 + e) ** 2 - 1; behind 20 that is 1.
    power, two = exponential(code, code.within(x, -math.inf, 20.0)), code.constant(2.0)
    n = code.times(power, code.plus(power, two))
    return code.times(x, code.over(n, code.plus(n, two)))


def _bnll(code: Code, x: Vector) -> Vector:
    """log(1 + e ** x), as the larger one of x and 0 plus the same of -|x|."""
    power = exponential(code, code.scaled(_absolute(code, x), -1.0))
    # log(1 + p) is twice the area tangent of p / (2 + p), at most 1 / 3.
    share = code.over(power, code.plus(power, code.constant(2.0)))
    factors = [2 / n for n in range(1, 16, 2)]
    log = code.times(share, _polynomial(code, code.times(share, share), factors))
    zero = code.constant(0.0)
    return code.plus(code.larger(zero, x, zero, x), log)


def _absolute(code: Code, x: Vector) -> Vector:
    return code.larger(code.constant(0.0), x, code.scaled(x, -1.0), x)


def _hard_sigmoid(code: Code, x: Vector, alpha: float, beta: float) -> Vector:
    return code.within(code.plus(code.scaled(x, alpha), code.constant(beta)), 0.0, 1.0)


def _hard_swish(code: Code, x: Vector) -> Vector:
    gate = code.within(code.plus(x, code.constant(3.0)), 0.0, 6.0)
    return code.scaled(code.times(x, gate), 1 / 6)


def _threshold(code: Code, x: Vector, threshold: float) -> Vector:
    return code.larger(x, code.constant(threshold), code.constant(1.0), code.constant(0.0))


def _power(code: Code, x: Vector, power: float, scale: float, shift: float) -> Vector:
    x = code.scaled(x, scale)
    if shift:
        x = code.plus(x, code.constant(shift))
    found = x
    for _ in range(int(power) - 1):
        found = code.times(found, x)
    return found


FUNCTIONS: dict[str, Callable[..., Vector]] = {
    "absolute": _absolute,
    "bnll": _bnll,
    "elu": _elu,
    "hard sigmoid": _hard_sigmoid,
    "hard swish": _hard_swish,
    "mish": _mish,
    "power": _power,
    "sigmoid": _sigmoid,
    "swish": _swish,
    "tanh": _tanh,
    "threshold": _threshold,
}
"""Each is given the code, a vector, and numbers of its own."""


WITHOUT_POWERS = frozenset(
    ("absolute", "hard sigmoid", "hard swish", "power", "threshold")
)  # fmt: skip
"""Those that take few registers, having no exponentials."""


@dataclass(frozen=True)
class Function:
    """One of `FUNCTIONS`, with numbers of its own."""

    name: str
    numbers: tuple[float, ...] = ()

    @property
    def has_powers(self) -> bool:
        """Whether it has exponentials."""
        return self.name not in WITHOUT_POWERS

    def write(self, code: Code, value: Vector) -> Vector:
        """Write it for one vector; what is no number stays so, but for the threshold."""
        return FUNCTIONS[self.name](code, value, *self.numbers)
