"""An object file's code runs wherever it is brought to, or is not taken."""

from __future__ import annotations

import ctypes
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


@pytest.mark.parametrize(
    "text",
    [
        "declare void @elsewhere()\n"
        "define void @kernel(ptr %given) {\n  call void @elsewhere()\n  ret void\n}",
        "@count = global i64 1\n"
        "define void @kernel(ptr %given) {\n  store i64 2, ptr @count\n  ret void\n}",
        "define void @another(ptr %given) {\n  ret void\n}",
        "define void @first() {\n  ret void\n}\ndefine void @kernel() {\n  ret void\n}",
    ],
    ids=["calls what is elsewhere", "has memory of its own", "no kernel", "kernel is not first"],
)
def test_what_is_not_one_piece_is_not_taken(text: str) -> None:
    assert machine_code.linked(object_of(text)) is None


def test_code_cannot_be_written_once_it_runs() -> None:
    code = machine_code.linked(object_of(HALF))
    assert code is not None
    place = f"{machine_code.mapped(code):x}-"
    maps = Path("/proc/self/maps").read_text().splitlines()
    assert [line.split()[1] for line in maps if line.startswith(place)] == ["r-xp"]
