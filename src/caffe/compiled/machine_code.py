"""Machine code as LLVM's object files have it, brought into memory without LLVM.

The format is ELF's, for 64 bits and x86 (System V's ABI and its supplement for AMD64).
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
from collections.abc import Iterator
from typing import NamedTuple

ENTRY = "kernel"
"""The name of the function with which a piece of machine code begins."""

_PROGRAM, _SYMBOLS, _RELOCATIONS = 1, 2, 4
_WRITABLE, _IN_MEMORY = 1, 2
_RELATIVE = 2, 4
"""The kinds of relocation that say in 32 bits how far something is away."""

_RESOLVED = 10
"""The kind of symbol whose function another one, which stands there, has to find first."""


class _Section(NamedTuple):
    kind: int
    flags: int
    start: int
    size: int
    link: int
    info: int
    alignment: int


class _Symbol(NamedTuple):
    name: str
    kind: int
    section: int
    value: int


def linked(object_file: bytes) -> bytes | None:
    """Return what an object file has as one piece, which runs wherever it lies.

    Parameters
    ----------
    object_file : bytes
        It was compiled for code that may lie anywhere, and all of its parts near each other.

    Returns
    -------
    bytes or None
        Code and constants, of which the function `kernel` is the first. None where the code calls
        or writes to what is not in the file.
    """
    sections = list(_sections(object_file))
    tables = [section for section in sections if section.kind == _SYMBOLS]
    symbols = [symbol for table in tables for symbol in _symbols(object_file, sections, table)]
    entry = next((symbol for symbol in symbols if symbol.name == ENTRY), None)
    if entry is None or entry.value or not entry.section or entry.kind == _RESOLVED:
        return None
    wanted = [i for i, x in enumerate(sections) if x.kind == _PROGRAM and x.flags & _IN_MEMORY]
    if any(sections[i].flags & _WRITABLE and sections[i].size for i in wanted):
        return None
    if any(sections[i].alignment > mmap.PAGESIZE for i in wanted):
        return None
    code, places = bytearray(), {}
    for i in sorted(wanted, key=lambda i: i != entry.section):
        code.extend(bytes(-len(code) % max(sections[i].alignment, 1)))
        places[i] = len(code)
        code.extend(_bytes(object_file, sections[i]))
    for section in sections:
        if section.kind == _RELOCATIONS and section.info in places:
            relocations = _bytes(object_file, section)
            if not _relocate(code, places, places[section.info], relocations, symbols):
                return None
    return bytes(code)


def _relocate(
    code: bytearray,
    places: dict[int, int],
    start: int,
    relocations: bytes,
    symbols: list[_Symbol],
) -> bool:
    """Write into a section's code how far away is what it names; False where that is elsewhere."""
    for offset, information, addend in struct.iter_unpack("<QQq", relocations):
        symbol, place = symbols[information >> 32], start + offset
        if information & 0xFFFFFFFF not in _RELATIVE or symbol.section not in places:
            return False
        struct.pack_into("<i", code, place, places[symbol.section] + symbol.value + addend - place)
    return True


def mapped(code: bytes) -> int:
    """Bring machine code into memory, where it stays; return the address of its first function.

    Parameters
    ----------
    code : bytes
        What `linked` has returned, on a processor like this one.

    Raises
    ------
    OSError
        The system gives no memory for code.
    """
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    memory = mmap.mmap(-1, len(code), flags=private, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    memory.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    protect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    # Never may it be written and run at the same time: some systems forbid that.
    if protect(address, len(code), mmap.PROT_READ | mmap.PROT_EXEC):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    # Threads may run it until the process ends, also while modules go.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(memory))
    return address


def _sections(object_file: bytes) -> Iterator[_Section]:
    (start,) = struct.unpack_from("<Q", object_file, 0x28)
    size, count = struct.unpack_from("<HH", object_file, 0x3A)
    for i in range(count):
        _, kind, flags, _, at, length, link, info, alignment, _ = struct.unpack_from(
            "<IIQQQQIIQQ", object_file, start + i * size
        )
        yield _Section(kind, flags, at, length, link, info, alignment)


def _symbols(object_file: bytes, sections: list[_Section], table: _Section) -> Iterator[_Symbol]:
    names = _bytes(object_file, sections[table.link])
    for at, kind, _, section, value, _ in struct.iter_unpack("<IBBHQQ", _bytes(object_file, table)):
        yield _Symbol(names[at : names.index(b"\0", at)].decode(), kind & 15, section, value)


def _bytes(object_file: bytes, section: _Section) -> bytes:
    return object_file[section.start : section.start + section.size]
