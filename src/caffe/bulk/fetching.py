"""Bringing pictures' bytes from where they are: some at a time, in threads."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import groupby

from ..errors import CaffeError, FetchError, ImageError, MissingFileError
from ..io.given import is_address
from ..io.read_ahead import read_ahead
from .entries import Entry
from .stores import is_cloud, open_store, split_place
from .tables import group_of, is_table, read_rows
from .tars import Unpacked, is_packed

Content = bytes | CaffeError
"""A picture's bytes, or why there are none."""

MOST_BYTES = 256 << 20
"""Of one picture; a larger file is hardly one."""
_AT_ONCE = 64
_TOGETHER = 1 << 20
"""Neighbours in an archive are brought by one request, up to so many bytes."""
_FEW, _MANY = 4, 32
"""Threads that fetch: from a disk, and where most of the time is waiting."""
_TRIES = 3


def fetched(entries: Sequence[Entry]) -> Iterator[tuple[Entry, Content]]:
    """Yield the bytes of pictures in their order, with the next ones under way."""
    groups = list(_groups(entries))
    if not groups:
        return
    far = any(is_address(entry.container or entry.key) for entry in entries[:1])
    workers = _MANY if far else _FEW
    # A packed archive is read from its beginning to its end, by one.
    if any(entry.is_inside and is_packed(str(entry.container)) for entry in entries):
        workers = 1
    # A table's group is many pictures by itself.
    ahead = 1 if _is_row(entries[0]) else workers
    with (
        closing(Unpacked()) as unpacked,
        closing(
            read_ahead(partial(_fetch, unpacked), groups, ahead, min(workers, len(groups)))
        ) as results,
    ):
        for group, contents in zip(groups, results, strict=True):
            yield from zip(group, contents, strict=True)


def _groups(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """What is brought by one request each, in order."""
    for container, run in groupby(entries, lambda e: e.container if e.is_inside else None):
        if container is None:
            yield from ([entry] for entry in run)
        elif is_table(container):
            rows = groupby(run, lambda e: group_of(str(e.container), e.offset or 0))
            yield from (list(group) for _, group in rows)
        else:
            yield from _neighbours(list(run))


def _neighbours(entries: list[Entry]) -> Iterator[list[Entry]]:
    together: list[Entry] = []
    for entry in entries:
        first = together[0] if together else entry
        end = (entry.offset or 0) + (entry.size or 0)
        if together and (
            len(together) == _AT_ONCE
            or end - (first.offset or 0) > _TOGETHER
            or (entry.offset or 0) < (together[-1].offset or 0)
        ):
            yield together
            together = []
        together.append(entry)
    if together:
        yield together


def _is_row(entry: Entry) -> bool:
    return entry.is_inside and is_table(str(entry.container))


def _fetch(unpacked: Unpacked, group: list[Entry]) -> list[Content]:
    first = group[0]
    try:
        if not first.is_inside:
            return [_whole(first)]
        if _is_row(first):
            rows = read_rows(str(first.container), [entry.offset or 0 for entry in group])
            return [
                ImageError(f"{entry.key}: the table has no picture in this row")
                if content is None
                else content
                for entry, content in zip(group, rows, strict=True)
            ]
        return _from_archive(unpacked, group)
    except CaffeError as error:
        return [error] * len(group)


def _whole(entry: Entry) -> bytes:
    _check_size(entry)
    if not entry.key:
        raise ImageError("a picture's name is empty")
    if is_address(entry.key) and not is_cloud(entry.key):
        return _from_web(entry.key)
    root, name = split_place(entry.key)
    content = open_store(root).read(name)
    if len(content) > MOST_BYTES:
        raise _too_large(entry.key, len(content))
    return content


def _from_web(address: str) -> bytes:
    from ..io.addresses import fetch_url

    for attempt in range(_TRIES - 1):
        try:
            return fetch_url(address)
        except FetchError as error:
            if " 404 " in str(error):
                raise ImageError(str(error)) from error
            time.sleep(random.uniform(0.2, 1.0) * 2**attempt)
    return fetch_url(address)


def _from_archive(unpacked: Unpacked, group: list[Entry]) -> list[Content]:
    place = str(group[0].container)
    start = group[0].offset or 0
    contents: list[Content] = []
    if len(group) == 1:
        _check_size(group[0])
    end = (group[-1].offset or 0) + (group[-1].size or 0)
    if is_packed(place):
        block = unpacked.read_range(place, start, end - start)
    else:
        root, name = split_place(place)
        block = open_store(root).read_range(name, start, end - start)
    for entry in group:
        begin = (entry.offset or 0) - start
        content = block[begin : begin + (entry.size or 0)]
        if len(content) != entry.size:
            contents.append(ImageError(f"{entry.key}: the archive ends before its end"))
        else:
            contents.append(content)
    return contents


def _check_size(entry: Entry) -> None:
    if entry.size is not None and entry.size > MOST_BYTES:
        raise _too_large(entry.key, entry.size)


def _too_large(key: str, size: int) -> ImageError:
    return ImageError(f"{key}: {size} bytes are too many for a picture (at most {MOST_BYTES})")


def is_unreachable(error: CaffeError) -> bool:
    """Whether it is the place that cannot be reached, and not this picture that is missing."""
    return isinstance(error, FetchError) and not isinstance(error, MissingFileError)
