"""Memory for large arrays that are filled once and kept, such as weights; how large they may be."""

from __future__ import annotations

import contextlib
import mmap

LARGE = 4 << 20
"""From how many bytes on an array gets pages of its own."""

MOST_TIMES_UNPACKED = 1032
"""How many bytes a file's arrays may unpack to, all together, for each byte of the file.

No less than what deflate can reach, the compression of HDF5's and MATLAB's files. What has more has
values that nobody wrote.
"""


def allocate(size: int) -> mmap.mmap | bytearray:
    """Return `size` bytes that are all zero.

    A large one lies in large pages where the system has them: it is read faster, since its
    addresses are found faster, and costs a fraction of the page faults when it is filled.
    """
    if size < LARGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        return bytearray(size)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    # A kernel without them refuses; the memory will do.
    with contextlib.suppress(OSError):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memory
