"""LMDB files, read page by page.

The library liblmdb maps the file and believes what stands in it: one damaged byte, or a file that
is cut off while it is read, and the interpreter dies. Here each page is copied and each number in
it checked before it is used.

A file is pages of one size. The first two describe it (the newer one counts), the others make a
tree: branches, whose nodes are keys and page numbers, and leaves, whose nodes are keys and values.
A value that is too long for a leaf has pages of its own.
"""

from __future__ import annotations

import os
import struct
import weakref
from collections.abc import Iterator
from dataclasses import dataclass

Record = tuple[bytes, bytes]
"""A key and its value."""

_MAGIC, _VERSION = 0xBEEFC0DE, 1
_BRANCH, _LEAF, _OVERFLOW, _META = 1, 2, 4, 8
# Page flags that say how far a writer is, not what the page is.
_TRANSIENT = 0x4000 | 0x8000 | 0x10
_LONG, _DATABASE, _MANY = 1, 2, 4
_NO_PAGE = 2**64 - 1
_MOST_LEVELS = 32
_PAGE_SIZES = {1 << bits for bits in range(8, 17)}

# Number, pad, flags, and where the free space between pointers and nodes begins and ends.
_PAGE = struct.Struct("<QHHHH")
_LONG_PAGE = struct.Struct("<QHHI")
# Of a value: its length's two halves, flags; of a page: its number's three parts. The key's length.
_NODE = struct.Struct("<HHHH")
_NUMBER = struct.Struct("<Q")
# Magic number, version, address, size; the databases of free pages and of records, each with pad,
# flags, depth, branches, leaves, overflow pages, entries and root; last page, transaction.
_DESCRIPTION = struct.Struct("<IIQQ" + 2 * "IHHQQQQQ" + "QQ")


class LmdbError(ValueError):
    """The file is no LMDB, or it is damaged; the text says what is wrong."""


@dataclass(frozen=True)
class _Tree:
    page_size: int
    flags: int
    depth: int
    entries: int
    root: int
    transaction: int


class LmdbFile:
    """An LMDB's data file, open for reading.

    Parameters
    ----------
    path : str
        The file itself.

    Attributes
    ----------
    count : int
        How many records it says that it has.

    Raises
    ------
    LmdbError
        It is no LMDB.
    OSError
        It cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self._handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, self._handle)
        self.count = self._tree().entries

    def records(self) -> Iterator[Record]:
        """Yield each record of the unnamed database, in the order of the keys.

        Raises
        ------
        LmdbError
            The file is damaged or cut off, or has what no data layer could use: named databases,
            several values of a key.
        OSError
            It cannot be read.
        """
        tree = self._tree()
        if tree.root == _NO_PAGE:
            return
        if not 1 <= tree.depth <= _MOST_LEVELS:
            raise LmdbError(f"its tree has {tree.depth} levels")
        count, last = 0, None
        for page in self._leaves(tree, tree.root, tree.depth):
            for low, high, flags, key, start in page.nodes():
                # Not so in a circle; and unordered keys mean that some are not found.
                if last is not None and key <= last and not tree.flags:
                    raise LmdbError(f"page {page.number} goes back from key {last!r} to {key!r}")
                last = key
                count += 1
                size = low | high << 16
                if flags & ~_LONG:
                    raise LmdbError(f"key {key!r} has a database or several values, not one")
                if flags:
                    (number,) = _NUMBER.unpack(page.part(start, _NUMBER.size))
                    yield key, self._long_value(tree, number, size)
                else:
                    yield key, page.part(start, size)
        if count != tree.entries:
            raise LmdbError(f"it has {count} records instead of {tree.entries}")

    def _tree(self) -> _Tree:
        first = self._description(0)
        second = self._description(first.page_size)
        if second.page_size != first.page_size:
            raise LmdbError("its two descriptions differ")
        return max(first, second, key=lambda tree: tree.transaction)

    def _description(self, start: int) -> _Tree:
        head = self._bytes(start, _PAGE.size + _DESCRIPTION.size)
        values = _DESCRIPTION.unpack_from(head, _PAGE.size)
        if not _PAGE.unpack_from(head)[2] & _META or values[0] != _MAGIC:
            raise LmdbError("it does not begin like one")
        if values[1] != _VERSION:
            raise LmdbError(f"it is of version {values[1]}; only version {_VERSION} is known")
        if values[4] not in _PAGE_SIZES:
            raise LmdbError(f"its pages have {values[4]} bytes")
        _, flags, depth, _, _, _, entries, root, last_page, transaction = values[12:]
        self._bytes((last_page + 1) * values[4], 0)
        if flags & _MANY:
            raise LmdbError("it has several values for a key, which no data layer reads")
        return _Tree(values[4], flags, depth, entries, root, transaction)

    def _leaves(self, tree: _Tree, number: int, level: int) -> Iterator[_Page]:
        kind = _BRANCH if level > 1 else _LEAF
        start = number * tree.page_size
        page = _Page(self._bytes(start, tree.page_size), number, kind)
        if kind == _LEAF:
            yield page
            return
        for low, middle, high, _, _ in page.nodes():
            yield from self._leaves(tree, low | middle << 16 | high << 32, level - 1)

    def _long_value(self, tree: _Tree, number: int, size: int) -> bytes:
        place = number * tree.page_size
        found, _, kind, pages = _LONG_PAGE.unpack(self._bytes(place, _LONG_PAGE.size))
        if found != number or kind & ~_TRANSIENT != _OVERFLOW:
            raise LmdbError(f"page {number} is another, or of another kind")
        if size > pages * tree.page_size - _LONG_PAGE.size:
            raise LmdbError(f"page {number} begins a value of {size} bytes in {pages} pages")
        return self._bytes(place + _LONG_PAGE.size, size)

    def _bytes(self, start: int, size: int) -> bytes:
        # Looked at first, since the memory is taken before it is known how much there is to read.
        there = os.fstat(self._handle).st_size
        content = os.pread(self._handle, size, start) if start + size <= there else None
        if content is None or len(content) != size:
            raise LmdbError(f"it is cut off: {there} bytes of {start + size}")
        return content


class _Page:
    """A branch or a leaf.

    Parameters
    ----------
    data : bytes
        The page.
    number, kind : int
        Which it must say that it is.
    """

    def __init__(self, data: bytes, number: int, kind: int) -> None:
        self.data = data
        self.number = number
        found, _, flags, lower, upper = _PAGE.unpack_from(data)
        if found != number or flags & ~_TRANSIENT != kind:
            raise LmdbError(f"page {number} is another, or of another kind")
        count, odd = divmod(lower - _PAGE.size, 2)
        if count < 1 or odd or not lower <= upper <= len(data):
            raise LmdbError(f"page {number} has {count} entries, its nodes begin at {upper}")
        self._nodes = struct.unpack_from(f"<{count}H", data, _PAGE.size)
        if min(self._nodes) < upper or max(self._nodes) > len(data) - _NODE.size:
            raise LmdbError(f"page {number} has entries outside itself")

    def nodes(self) -> Iterator[tuple[int, int, int, bytes, int]]:
        """Yield the three numbers of each node, its key, and where its value begins."""
        data = self.data
        for at in self._nodes:
            low, middle, high, size = _NODE.unpack_from(data, at)
            start = at + _NODE.size
            end = start + size
            if end > len(data):
                raise self._outside()
            yield low, middle, high, data[start:end], end

    def part(self, start: int, size: int) -> bytes:
        """Return some bytes of it."""
        if start + size > len(self.data):
            raise self._outside()
        return self.data[start : start + size]

    def _outside(self) -> LmdbError:
        return LmdbError(f"page {self.number} has an entry that ends outside itself")
