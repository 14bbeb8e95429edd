"""Writing kernels in LLVM's language: loops over whole numbers, and vectors of float32 in them."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NewType

Number = NewType("Number", str)
"""A whole number of 64 bits: a name in the text, or its digits."""

Vector = NewType("Vector", str)
"""A vector of float32."""

Condition = NewType("Condition", str)
"""Whether something holds."""

Factors = Sequence[Sequence[float]]


@dataclass
class Sums:
    """What a loop adds up: its number so far, and the sums, in whose places new ones are put."""

    index: Number
    values: list[Vector]


class Code:
    """The text of one kernel, as it grows.

    Parameters
    ----------
    fields : sequence of str
        What the whole numbers are called that the kernel is given.
    width : int
        How many float32 numbers its vectors have.
    short : bool
        Whether values, what `value` and `put` are for, are bfloat16 in memory.
    exact : bool
        Whether each operation is rounded by itself, as numpy does it.

    Examples
    --------
    >>> code = Code(["array", "count"], 16)
    >>> with code.shared(code.given["count"]) as i:
    ...     place = code.add(code.given["array"], code.multiply(i, 64))
    ...     code.store(code.scaled(code.load(place), 2.0), place)
    >>> print(code.text.splitlines()[0])
    define void @kernel(ptr %given) {
    """

    def __init__(
        self, fields: Sequence[str], width: int, short: bool = False, exact: bool = False
    ) -> None:
        self.width = width
        self._exact = exact
        self._short = short
        self.bytes = 2 if short else 4
        self.type = f"<{width} x float>"
        self._lines: list[str] = []
        self._count = 0
        self._label = "entry"
        threads, *numbers = (
            self._value(f"load i64, ptr {self._value(f'getelementptr i64, ptr %given, i64 {i}')}")
            for i in range(len(fields) + 2)
        )
        self._threads = threads, numbers[0]
        self.given = dict(zip(fields, map(Number, numbers[1:]), strict=True))

    @property
    def text(self) -> str:
        """The whole function."""
        return "\n".join(
            ["define void @kernel(ptr %given) {", "entry:", *self._lines, "  ret void", "}"]
        )

    # Whole numbers.

    def add(self, a: Number | int, b: Number | int) -> Number:
        """Return a + b."""
        return Number(self._value(f"add i64 {a}, {b}"))

    def subtract(self, a: Number | int, b: Number | int) -> Number:
        """Return a - b."""
        return Number(self._value(f"sub i64 {a}, {b}"))

    def multiply(self, a: Number | int, b: Number | int) -> Number:
        """Return a * b."""
        return Number(self._value(f"mul i64 {a}, {b}"))

    def divide(self, a: Number | int, b: Number | int) -> tuple[Number, Number]:
        """Return how often b goes into a, and what is left."""
        return Number(self._value(f"udiv i64 {a}, {b}")), Number(self._value(f"urem i64 {a}, {b}"))

    def covering(self, count: Number, size: Number | int) -> Number:
        """Return how many pieces of a size it takes for so many."""
        whole = self.add(count, self.subtract(size, 1))
        return self.divide(whole, size)[0]

    def is_within(self, a: Number | int, size: Number | int) -> Condition:
        """Return whether 0 <= a < size."""
        return Condition(self._value(f"icmp ult i64 {a}, {size}"))

    def least(self, a: Number | int, b: Number | int) -> Number:
        """Return the smaller one."""
        return Number(self._value(f"call i64 @llvm.smin.i64(i64 {a}, i64 {b})"))

    def most(self, a: Number | int, b: Number | int) -> Number:
        """Return the larger one."""
        return Number(self._value(f"call i64 @llvm.smax.i64(i64 {a}, i64 {b})"))

    def share(self, count: Number, part: Number, parts: Number) -> tuple[Number, Number]:
        """Return where one of some equal parts of so many begins, and where it stops."""
        bounds = (self.multiply(count, n) for n in (part, self.add(part, 1)))
        start, stop = (self.divide(bound, parts)[0] for bound in bounds)
        return start, stop

    def number(self, address: Number) -> Number:
        """Return the whole number that lies at an address."""
        pointer = self._value(f"inttoptr i64 {address} to ptr")
        return Number(self._value(f"load i64, ptr {pointer}"))

    def clamped(self, a: Number | int, size: Number) -> Number:
        """Return a, or of 0 to size - 1 what is next to it."""
        return self.least(self.most(a, 0), self.subtract(size, 1))

    def where(self, conditions: Sequence[Condition], a: Number, b: Number) -> Number:
        """Return a where all of the conditions hold, b otherwise."""
        holds = conditions[0]
        for other in conditions[1:]:
            holds = Condition(self._value(f"and i1 {holds}, {other}"))
        return Number(self._value(f"select i1 {holds}, i64 {a}, i64 {b}"))

    def memory(self, size: Number) -> Number:
        """Return the address of some bytes for each thread, before any loop."""
        # As stacks are aligned: for more a register is lost to all loops.
        space = self._value(f"alloca i8, i64 {size}, align 16")
        return Number(self._value(f"ptrtoint ptr {space} to i64"))

    # Running.

    @contextmanager
    def loop(self, start: Number | int, stop: Number | int, step: int = 1) -> Iterator[Number]:
        """Repeat what is written inside for each number from `start` to before `stop`."""
        n = self._next()
        head, body, last, end = (f"{name}{n}" for name in ("head", "body", "last", "end"))
        before = self._label
        self._goes_to(head)
        self._lines.append(f"  %i{n} = phi i64 [{start}, %{before}], [%next{n}, %{last}]")
        holds = self.is_within(Number(f"%i{n}"), stop)
        self._lines.append(f"  br i1 {holds}, label %{body}, label %{end}")
        self._begin(body)
        yield Number(f"%i{n}")
        self._goes_to(last)
        self._lines.append(f"  %next{n} = add i64 %i{n}, {step}")
        self._lines.append(f"  br label %{head}")
        self._begin(end)

    @contextmanager
    def vectors(self, start: Number | int, stop: Number, step: int) -> Iterator[Number]:
        """Repeat what is written inside for each vector of what lies from `start` to `stop`.

        There is one vector, `step`, at least. Where the last one would not be whole it begins
        before: some places are in two of them.
        """
        with self.overlapping(start, stop, step) as (place, _):
            yield place

    @contextmanager
    def overlapping(
        self, start: Number | int, stop: Number, step: int
    ) -> Iterator[tuple[Number, Number]]:
        """Do as `vectors`, and tell how much of each was in the one before."""
        with self.loop(start, stop, step) as begin:
            place = self.least(begin, self.subtract(stop, step))
            yield place, self.subtract(begin, place)

    @contextmanager
    def shared(self, count: Number) -> Iterator[Number]:
        """Repeat what is written inside for each number below `count`, parted among the threads."""
        with self.loop(*self.share(count, self.thread, self.threads)) as i:
            yield i

    @contextmanager
    def adding_up(self, stop: Number | int, firsts: Sequence[Vector]) -> Iterator[Sums]:
        """Repeat what is written inside, which changes sums, for each number below `stop`.

        There is one at least. Behind the loop the sums are what they were at its end.
        """
        n = self._next()
        before, body, end = self._label, f"body{n}", f"end{n}"
        self._goes_to(body)
        sums = Sums(Number(f"%i{n}"), [Vector(f"%sum{n}x{k}") for k in range(len(firsts))])
        names, place = list(sums.values), len(self._lines)
        yield sums
        last = self._label
        phis = [f"  %i{n} = phi i64 [0, %{before}], [%next{n}, %{last}]"]
        for name, first, value in zip(names, firsts, sums.values, strict=True):
            phis.append(f"  {name} = phi {self.type} [{first}, %{before}], [{value}, %{last}]")
        self._lines[place:place] = phis
        self._lines.append(f"  %next{n} = add i64 %i{n}, 1")
        goes_on = self.is_within(Number(f"%next{n}"), stop)
        self._lines.append(f"  br i1 {goes_on}, label %{body}, label %{end}")
        self._begin(end)

    @property
    def thread(self) -> Number:
        """Which of the threads runs this, from 0 on."""
        return self._asked(self._threads[0])

    @property
    def threads(self) -> Number:
        """How many threads run this."""
        return self._asked(self._threads[1])

    def _asked(self, function: str) -> Number:
        address = self._value(f"inttoptr i64 {function} to ptr")
        return Number(self._value(f"zext i32 {self._value(f'call i32 {address}()')} to i64"))

    # Vectors.

    def value(self, address: Number) -> Vector:
        """Return the values that lie at an address."""
        if not self._short:
            return self.load(address)
        pointer = self._value(f"inttoptr i64 {address} to ptr")
        short = f"<{self.width} x bfloat>"
        loaded = self._value(f"load {short}, ptr {pointer}, align 2")
        return Vector(self._value(f"fpext {short} {loaded} to {self.type}"))

    def put(self, values: Vector, address: Number, count: Number | None = None) -> None:
        """Put values to an address: all or the first `count`, rounded where they are short."""
        if not self._short:
            self.store(values, address, count)
            return
        short = self._value(f"fptrunc {self.type} {values} to <{self.width} x bfloat>")
        bits = self._value(f"bitcast <{self.width} x bfloat> {short} to <{self.width} x i16>")
        self._store(bits, "i16", 2, address, count)

    def move(self, source: Number, target: Number) -> None:
        """Put the one value that lies at an address to another."""
        bits = f"i{8 * self.bytes}"
        pointers = [self._value(f"inttoptr i64 {address} to ptr") for address in (source, target)]
        value = self._value(f"load {bits}, ptr {pointers[0]}, align {self.bytes}")
        self._lines.append(f"  store {bits} {value}, ptr {pointers[1]}, align {self.bytes}")

    def load(self, address: Number) -> Vector:
        """Return the numbers that lie at an address."""
        pointer = self._value(f"inttoptr i64 {address} to ptr")
        return Vector(self._value(f"load {self.type}, ptr {pointer}, align 4"))

    def bytes_at(self, address: Number) -> Vector:
        """Return the numbers of 0 to 255 that lie at an address, a byte each."""
        pointer = self._value(f"inttoptr i64 {address} to ptr")
        loaded = self._value(f"load <{self.width} x i8>, ptr {pointer}, align 1")
        return Vector(self._value(f"uitofp <{self.width} x i8> {loaded} to {self.type}"))

    def gathered(self, start: Number, numbers: Number) -> Vector:
        """Return numbers from all over an array.

        Parameters
        ----------
        start : Number
            The array's address.
        numbers : Number
            The address of which of its numbers are wanted, 32 bits each.
        """
        width = self.width
        pointer, array = (self._value(f"inttoptr i64 {a} to ptr") for a in (numbers, start))
        which = self._value(f"load <{width} x i32>, ptr {pointer}, align 4")
        places = self._value(f"getelementptr float, ptr {array}, <{width} x i32> {which}")
        every = ", ".join(["i1 true"] * width)
        return Vector(
            self._value(
                f"call {self.type} @llvm.masked.gather.v{width}f32.v{width}p0("
                f"<{width} x ptr> {places}, i32 4, <{width} x i1> <{every}>, {self.type} poison)"
            )
        )

    def parts(self, addresses: Sequence[Number]) -> Vector:
        """Return a vector of equal parts, which lie at these addresses; a power of two of them."""
        size = self.width // len(addresses)
        found = []
        for address in addresses:
            pointer = self._value(f"inttoptr i64 {address} to ptr")
            found.append(self._value(f"load <{size} x float>, ptr {pointer}, align 4"))
        while len(found) > 1:
            kind, size = f"<{size} x float>", 2 * size
            places = ", ".join(f"i32 {n}" for n in range(size))
            found = [
                self._value(f"shufflevector {kind} {a}, {kind} {b}, <{size} x i32> <{places}>")
                for a, b in zip(found[::2], found[1::2], strict=True)
            ]
        return Vector(found[0])

    def prefetch(self, address: Number, is_written: bool = False) -> None:
        """Have what lies at an address brought into the cache; there need be nothing."""
        pointer = self._value(f"inttoptr i64 {address} to ptr")
        how = f"i32 {int(is_written)}, i32 3, i32 1"
        self._lines.append(f"  call void @llvm.prefetch.p0(ptr {pointer}, {how})")

    def spread(self, address: Number) -> Vector:
        """Return the number, or the two short ones, at an address, in all of a vector's places."""
        pointer = self._value(f"inttoptr i64 {address} to ptr")
        return self._splat(self._value(f"load float, ptr {pointer}, align {self.bytes}"))

    def store(self, values: Vector, address: Number, count: Number | None = None) -> None:
        """Put numbers to an address: the first `count`, which may be more than there are."""
        self._store(values, "float", 4, address, count)

    def _store(
        self, values: str, kind: str, size: int, address: Number, count: Number | None
    ) -> None:
        pointer = self._value(f"inttoptr i64 {address} to ptr")
        vector = f"<{self.width} x {kind}>"
        if count is None:
            self._lines.append(f"  store {vector} {values}, ptr {pointer}, align {size}")
            return
        self._lines.append(
            f"  call void @llvm.masked.store.v{self.width}{kind[0]}{8 * size}.p0("
            f"{vector} {values}, ptr {pointer}, i32 {size}, "
            f"<{self.width} x i1> {self._first(count)})"
        )

    def first(self, count: Number, values: Vector, others: Vector) -> Vector:
        """Return the first `count` numbers of a vector, and another one's behind them."""
        both = f"{self.type} {values}, {self.type} {others}"
        return Vector(self._value(f"select <{self.width} x i1> {self._first(count)}, {both}"))

    def _first(self, count: Number) -> str:
        """Whether places are among the first `count`."""
        places = ", ".join(f"i64 {i}" for i in range(self.width))
        numbers = f"<{self.width} x i64>"
        first = self._value(f"insertelement {numbers} poison, i64 {count}, i32 0")
        every = self._value(
            f"shufflevector {numbers} {first}, {numbers} poison, "
            f"<{self.width} x i32> zeroinitializer"
        )
        return self._value(f"icmp slt {numbers} <{places}>, {every}")

    def picked(self, a: Vector, b: Vector, places: Sequence[int]) -> Vector:
        """Return the numbers at these places of a and, behind them, b."""
        mask = ", ".join(f"i32 {place}" for place in places)
        both = f"{self.type} {a}, {self.type} {b}"
        return Vector(self._value(f"shufflevector {both}, <{len(places)} x i32> <{mask}>"))

    def everywhere(self, bits: Number) -> Vector:
        """Return the number whose bits are given, in all of a vector's places."""
        single = self._value(f"bitcast i32 {self._value(f'trunc i64 {bits} to i32')} to float")
        return self._splat(single)

    def _splat(self, single: str) -> Vector:
        first = self._value(f"insertelement {self.type} poison, float {single}, i32 0")
        places = f"<{self.width} x i32> zeroinitializer"
        return Vector(
            self._value(f"shufflevector {self.type} {first}, {self.type} poison, {places}")
        )

    def constant(self, value: float) -> Vector:
        """Return a number, as often as a vector has places."""
        (single,) = struct.unpack("<f", struct.pack("<f", value))
        (bits,) = struct.unpack("<Q", struct.pack("<d", single))
        return Vector("<" + ", ".join([f"float 0x{bits:016X}"] * self.width) + ">")

    def plus(self, a: Vector, b: Vector) -> Vector:
        """Return a + b."""
        return self._of("fadd", a, b)

    def minus(self, a: Vector, b: Vector) -> Vector:
        """Return a - b."""
        return self._of("fsub", a, b)

    def times(self, a: Vector, b: Vector) -> Vector:
        """Return a * b."""
        return self._of("fmul", a, b)

    def plus_product(self, sum: Vector, a: Vector, b: Vector) -> Vector:
        """Return sum + a * b, rounded once."""
        numbers = ", ".join(f"{self.type} {x}" for x in (a, b, sum))
        return Vector(self._value(f"call {self.type} @llvm.fma.v{self.width}f32({numbers})"))

    def plus_pairs(self, sum: Vector, a: Vector, b: Vector) -> Vector:
        """Return sum + a0 * b0 + a1 * b1, where each place of a and b holds two short numbers."""
        pairs = f"<{2 * self.width} x bfloat>"
        numbers = [self._value(f"bitcast {self.type} {x} to {pairs}") for x in (a, b)]
        name = f"@llvm.x86.avx512bf16.dpbf16ps.{32 * self.width}"
        given = f"{self.type} {sum}, {pairs} {numbers[0]}, {pairs} {numbers[1]}"
        return Vector(self._value(f"call {self.type} {name}({given})"))

    def over(self, a: Vector, b: Vector) -> Vector:
        """Return a / b."""
        return self._of("fdiv", a, b)

    def power_of_two(self, a: Vector) -> Vector:
        """Return 2 ** n, n being what the last nine bits of a say, -126 to 127."""
        bits = f"<{self.width} x i32>"
        (all_23, all_one) = (
            "<" + ", ".join([f"i32 {n}"] * self.width) + ">" for n in (23, 127 << 23)
        )
        exponent = self._value(
            f"shl {bits} {self._value(f'bitcast {self.type} {a} to {bits}')}, {all_23}"
        )
        biased = self._value(f"add {bits} {exponent}, {all_one}")
        return Vector(self._value(f"bitcast {bits} {biased} to {self.type}"))

    def all_together(self, a: Vector) -> Vector:
        """Return the sum of a vector's numbers, in all places."""
        name = f"@llvm.vector.reduce.fadd.v{self.width}f32"
        return self._splat(self._value(f"call reassoc float {name}(float 0.0, {self.type} {a})"))

    def largest(self, a: Vector) -> Vector:
        """Return the largest of a vector's numbers, in all places."""
        name = f"@llvm.vector.reduce.fmax.v{self.width}f32"
        return self._splat(self._value(f"call float {name}({self.type} {a})"))

    def root(self, a: Vector) -> Vector:
        """Return the square root."""
        name = f"@llvm.sqrt.v{self.width}f32"
        return Vector(self._value(f"call {self.type} {name}({self.type} {a})"))

    def scaled(self, a: Vector, factor: float) -> Vector:
        """Return a times a number."""
        return a if factor == 1 else self.times(a, self.constant(factor))

    def within(self, a: Vector, least: float, most: float) -> Vector:
        """Return a, but at least the one number and at most the other; what is none stays so."""
        for bound, is_least in ((least, True), (most, False)):
            if math.isfinite(bound):
                edge = self.constant(bound)
                pair = (edge, a) if is_least else (a, edge)
                a = self.larger(*pair, edge, a)
        return a

    def larger(self, a: Vector, b: Vector, then: Vector, otherwise: Vector) -> Vector:
        """Return `then` where a is larger than b; `otherwise` also where either is no number."""
        return self._chosen(f"fcmp ogt {self.type} {a}, {b}", then, otherwise)

    def same(self, a: Vector, b: Vector, then: Vector, otherwise: Vector) -> Vector:
        """Return `then` where a is equal to b; `otherwise` also where either is no number."""
        return self._chosen(f"fcmp oeq {self.type} {a}, {b}", then, otherwise)

    def _chosen(self, condition: str, then: Vector, otherwise: Vector) -> Vector:
        both = f"{self.type} {then}, {self.type} {otherwise}"
        holds = self._value(condition)
        return Vector(self._value(f"select <{self.width} x i1> {holds}, {both}"))

    def both(self, a: Vector, b: Vector) -> Vector:
        """Return the bits that both have."""
        numbers = f"<{self.width} x i32>"
        bits = [self._value(f"bitcast {self.type} {x} to {numbers}") for x in (a, b)]
        found = self._value(f"and {numbers} {bits[0]}, {bits[1]}")
        return Vector(self._value(f"bitcast {numbers} {found} to {self.type}"))

    def total(self, factors: Sequence[float], values: Sequence[Vector]) -> Vector:
        """Return the sum of the values, each times its factor; one at least is not 0."""
        found: Vector | None = None
        # A factor of 1 needs no product to begin with.
        for factor, value in sorted(zip(factors, values, strict=True), key=lambda t: t[0] != 1):
            if factor == -1 and found is not None:
                found = self.minus(found, value)
            elif factor:
                term = self.scaled(value, factor)
                found = term if found is None else self.plus(found, term)
        assert found is not None
        return found

    def _of(self, name: str, a: Vector, b: Vector) -> Vector:
        # A product may be joined with a sum; nothing else of what floats promise is given up.
        how = "" if self._exact else "contract "
        return Vector(self._value(f"{name} {how}{self.type} {a}, {b}"))

    # The text itself.

    def _next(self) -> int:
        self._count += 1
        return self._count

    def _value(self, what: str) -> str:
        name = f"%v{self._next()}"
        self._lines.append(f"  {name} = {what}")
        return name

    def _goes_to(self, label: str) -> None:
        self._lines.append(f"  br label %{label}")
        self._begin(label)

    def _begin(self, label: str) -> None:
        self._lines.append(f"{label}:")
        self._label = label
