"""Where pictures come from: folders, prefixes, archives, tables, and files by themselves."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase

from ..errors import CaffeError, MissingFileError
from ..io.folders import is_picture_name, walk_pictures
from ..io.given import is_address
from .entries import Entry
from .in_order import in_order
from .stores import is_cloud, open_store, split_place
from .tables import is_table, table_entries
from .tars import is_tar, tar_entries

_AT_ONCE = 8
"""Archives, tables and prefixes in object storages that are listed at once."""


def settled(argument: str) -> str:
    """Return a source as it can be found from everywhere: paths from the root.

    Raises
    ------
    CaffeError
        It is standard input, or nothing.
    """
    if not argument or argument == "-":
        raise CaffeError("a run that can be resumed takes no pictures from standard input")
    return argument if is_address(argument) else os.path.abspath(argument)


def all_entries(
    sources: Iterable[str], tell: Callable[[str], object], at: int = 0, after: Entry | None = None
) -> Iterator[tuple[int, Entry]]:
    """Yield the pictures of several sources, each with its source's number.

    Parameters
    ----------
    sources : iterable of str
        As `settled` returns them.
    tell : callable
        Told, in a sentence, of each folder that cannot be read.
    at : int
        The source to begin with.
    after : Entry, optional
        Of that source's pictures the last that is not wanted again.
    """
    known = _Known()
    wanted: list[tuple[int, str, Entry | None]] = []
    for number, source in enumerate(sources):
        if number < at:
            known.add(_still_there(source), number)
            continue
        places = [place for place in _expanded(source) if place not in known.places]
        own = _place_of(after, places) if after is not None and number == at else None
        for place in places:
            if own is None or place >= own:
                wanted.append((number, place, after if place == own else None))
        known.add(places, number)

    def listed(one: tuple[int, str, Entry | None]) -> Iterator[tuple[int, Entry]]:
        number, place, behind = one
        entries = _entries(place, tell, behind)
        return ((number, entry) for entry in entries if not known.has(entry, number))

    # From a disk it would not be quicker.
    far = sum(is_cloud(place) for _, place, _ in wanted)
    yield from in_order(map(listed, wanted), _AT_ONCE if far > 1 else 1)


class _Known:
    """What the sources have, so that a picture in several of them has one row."""

    def __init__(self) -> None:
        self.places: dict[str, int] = {}
        """Each place, and the number of the first source that has it."""
        self._folders: dict[str, int] = {}

    def add(self, places: Iterable[str], number: int) -> None:
        for place in places:
            self.places.setdefault(place, number)
            holds_files = not is_tar(place) and not is_table(place)
            if holds_files and (is_cloud(place) or os.path.isdir(place)):
                self._folders.setdefault(f"{place.rstrip('/')}/", number)

    def has(self, entry: Entry, number: int) -> bool:
        """Whether a source before that of this number has a picture."""
        key = entry.key
        if entry.is_inside or not number:
            return False
        if self.places.get(key, number) < number:
            return True
        end = key.rfind("/")
        while end > 0:
            folder = key[: end + 1]
            if self._folders.get(folder, number) < number and _is_found(key, folder):
                return True
            end = key.rfind("/", 0, end)
        return False


def _is_found(key: str, folder: str) -> bool:
    """Whether a picture below a folder or a prefix is among those that are found there."""
    if not is_picture_name(key):
        return False
    if is_cloud(folder):
        return True
    *above, name = key[len(folder) :].split(os.sep)
    places = (os.path.join(folder, *above[:depth]) for depth in range(1, len(above) + 1))
    return not any(n.startswith(".") for n in (*above, name)) and not any(
        map(os.path.islink, places)
    )


def _still_there(source: str) -> list[str]:
    """As `_expanded`, of a source whose pictures are listed already: it may have gone since."""
    try:
        return _expanded(source)
    except CaffeError:
        return [source]


def _entries(place: str, tell: Callable[[str], object], after: Entry | None) -> Iterator[Entry]:
    """The pictures of one place, behind one of them."""
    if is_tar(place):
        yield from tar_entries(place, after)
    elif is_table(place):
        yield from table_entries(place, after)
    elif is_cloud(place):
        yield from _of_prefix(place, after)
    elif os.path.isdir(place):
        yield from _of_folder(place, tell, after)
    elif after is None:
        _check_there(place)
        yield _alone(place)


def _check_there(place: str) -> None:
    """Refuse what is hardly a picture that has gone, but a folder's or an archive's wrong name."""
    if not is_address(place) and not is_picture_name(place) and not os.path.exists(place):
        raise MissingFileError("no such file or folder", place)


def _place_of(entry: Entry, places: list[str]) -> str:
    """Which of the places that one source stands for a picture came from."""
    if len(places) == 1:
        return places[0]
    stands = entry.container or entry.key
    for place in places:
        if stands == place or stands.startswith((f"{place}/", f"{place}{os.sep}")):
            return place
    return stands


def _expanded(source: str) -> list[str]:
    """A source, or what its last part's stars stand for."""
    folder, _, pattern = source.rpartition("/" if is_address(source) else os.sep)
    is_web = is_address(source) and not is_cloud(source)
    if is_web or not any(mark in pattern for mark in "*?[") or os.path.lexists(source):
        return [source]
    found = sorted(n for n in open_store(folder).names("") if fnmatchcase(n, pattern))
    if not found:
        raise CaffeError(f"{source}: nothing is there that is called so")
    return [f"{folder}/{n}" if is_address(source) else os.path.join(folder, n) for n in found]


def _of_folder(folder: str, tell: Callable[[str], object], after: Entry | None) -> Iterator[Entry]:
    def refuse(error: OSError) -> None:
        tell(f"{error.filename}: the folder cannot be read: {error.strerror}")

    for path in walk_pictures(folder, refuse, None if after is None else after.key):
        yield _alone(path)


def _of_prefix(place: str, after: Entry | None) -> Iterator[Entry]:
    from .cloud_store import CloudStore

    bucket, name = split_place(place)
    if is_picture_name(name) and not name.endswith("/"):
        if after is None:
            yield _alone(place)
        return
    store = open_store(place)
    assert isinstance(store, CloudStore)
    last = None if after is None else split_place(after.key)[1]
    for found in store.below(last):
        if is_picture_name(found.name):
            yield Entry(f"{bucket}/{found.name}", found.size, found.etag)


def _alone(place: str) -> Entry:
    if is_address(place):
        return Entry(place)
    try:
        found = os.stat(place)
    except OSError:
        # It keeps its row, which will say why it cannot be read.
        return Entry(place)
    return Entry(place, found.st_size, f"{found.st_mtime_ns:x}-{found.st_size:x}")
