"""An object file's code runs wherever it is brought to, or is not taken."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from caffe.compiled import llvm, machine_code

pytestmark = pytest.mark.skipif(not llvm.width(), reason="no kernels can be compiled here")

HALF = """
define void @kernel(ptr %given) {
  %number = load float, ptr %given
  %small = fcmp olt float %number, 0x4002666660000000
  %half = fmul float %number, 5.000000e-01
  %found = select i1 %small, float 7.500000e-01, float %half
  store float %found, ptr %given
  ret void
}
"""
"""What lies below 2.3 becomes 0.75, all else half of itself: constants, behind the code."""

TABLE = """
define void @kernel(ptr %given) {
  %which = load i32, ptr %given
  switch i32 %which, label %other [
    i32 0, label %a
    i32 1, label %b
    i32 2, label %c
    i32 3, label %d
    i32 4, label %e
  ]
a:
  store i32 17, ptr %given
  ret void
b:
  store float 2.5, ptr %given
  ret void
c:
  store i32 -4, ptr %given
  ret void
d:
  store i64 9, ptr %given
  ret void
e:
  store i16 3, ptr %given
  ret void
other:
  ret void
}
"""
"""A table of places in the code, which says how far they are away."""


WIDE = """
define void @kernel(ptr %given) {
  %numbers = load <16 x i32>, ptr %given, align 4
  %sums = add <16 x i32> %numbers, <i32 3, i32 1, i32 4, i32 1, i32 5, i32 9, i32 2, i32 6,
                                    i32 5, i32 3, i32 5, i32 8, i32 9, i32 7, i32 9, i32 3>
  %found = call i32 @total(<16 x i32> %sums)
  store i32 %found, ptr %given
  ret void
}

define internal i32 @total(<16 x i32> %numbers) noinline {
  %found = call i32 @llvm.vector.reduce.add.v16i32(<16 x i32> %numbers)
  ret i32 %found
}
"""
"""Constants that are read as they are aligned, and a function behind the first one."""


AT_THE_END = """
import ctypes, os, sys
from caffe.compiled import machine_code
from caffe.compiled.llvm import Kernel

text = "define void @kernel(ptr %given) {\\n  store i64 7, ptr %given\\n  ret void\\n}"
function = Kernel(text).job().function

class Last:
    def __del__(self, run=ctypes.CFUNCTYPE(None, ctypes.c_void_p)(function.value),
                number=ctypes.c_int64(), at=ctypes.addressof, say=os.write):
        run(at(number))
        say(1, b"%d\\n" % number.value)

machine_code.__dict__.clear()
sys.last = Last()
"""
"""Runs a kernel when the module that holds its code, and nearly all else, has gone."""


def object_of(text: str) -> bytes:
    from llvmlite import binding

    found: bytes = llvm._machine().emit_object(binding.parse_assembly(text))
    return found


def run(address: int, given: ctypes._SimpleCData) -> float:
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)(ctypes.addressof(given))
    return given.value


def test_code_and_its_constants_run_anywhere() -> None:
    code = machine_code.linked(object_of(HALF))
    assert code is not None
    places = [machine_code.mapped(code) for _ in range(3)]
    assert len(set(places)) == 3
    for place in places:
        assert run(place, ctypes.c_float(2.25)) == 0.75
        assert run(place, ctypes.c_float(5.0)) == 2.5


def test_a_table_of_places() -> None:
    code = machine_code.linked(object_of(TABLE))
    assert code is not None
    place = machine_code.mapped(code)
    assert [run(place, ctypes.c_int32(i)) for i in (0, 2, 5)] == [17, -4, 5]


def test_constants_of_a_whole_vector_and_a_second_function() -> None:
    code = machine_code.linked(object_of(WIDE))
    assert code is not None
    numbers = (ctypes.c_int32 * 16)(*range(16))
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(machine_code.mapped(code))(ctypes.addressof(numbers))
    assert numbers[0] == 120 + 80


@pytest.mark.parametrize(
    "text",
    [
        "declare void @elsewhere()\n"
        "define void @kernel(ptr %given) {\n  call void @elsewhere()\n  ret void\n}",
        "@count = internal global i64 1\n"
        "define void @kernel(ptr %given) {\n  store i64 2, ptr @count\n  ret void\n}",
        "define void @another(ptr %given) {\n  ret void\n}",
        "define void @first() {\n  ret void\n}\ndefine void @kernel() {\n  ret void\n}",
        "declare void @kernel(ptr)\n"
        "define void @first() {\n  call void @kernel(ptr null)\n  ret void\n}",
        "@kernel = ifunc void (ptr), ptr @found\ndefine internal ptr @found() {\n  ret ptr null\n}",
        "@far = internal constant i64 7, align 8192\n"
        "define void @kernel(ptr %given) {\n"
        "  %x = load volatile i64, ptr @far\n  store i64 %x, ptr %given\n  ret void\n}",
    ],
    ids=[
        "calls what is elsewhere",
        "has memory of its own",
        "no kernel",
        "kernel is not first",
        "kernel is elsewhere",
        "kernel has to be found first",
        "farther aligned than pages",
    ],
)
def test_what_is_not_one_piece_is_not_taken(text: str) -> None:
    assert machine_code.linked(object_of(text)) is None


def test_no_memory_for_code() -> None:
    with pytest.raises((OSError, ValueError)):
        machine_code.mapped(b"")


def test_code_is_there_until_the_process_ends() -> None:
    # Modules go before the last threads do.
    done = subprocess.run([sys.executable, "-c", AT_THE_END], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "7\n"), done.stderr


def test_code_cannot_be_written_once_it_runs() -> None:
    code = machine_code.linked(object_of(HALF))
    assert code is not None
    place = f"{machine_code.mapped(code):x}-"
    maps = Path("/proc/self/maps").read_text().splitlines()
    assert [line.split()[1] for line in maps if line.startswith(place)] == ["r-xp"]
