"""Working on shards: fetching, decoding and the net at once, and one file for each shard."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..errors import CaffeError, FetchError, as_caffe_error
from ..io.read_ahead import read_ahead
from .entries import Entry
from .fetching import Content, fetched, is_unreachable
from .footprint import give_back
from .manifest import Shard
from .parts import NOTHING, Count, part_bytes, part_name, reason_of
from .stores import SilentStoreError, Store
from .tasks import OpenTask

FEW = 16
"""Of so many pictures and more not one can be read: then it is not the pictures' fault."""

Tell = Callable[[Count], object]
"""Given how many pictures have gone through since it was last called."""


class Done(NamedTuple):
    """A shard whose rows are kept.

    `by_us` is False where somebody else had written them before.
    """

    shard: int
    rows: Count
    by_us: bool


@dataclass
class _Open:
    """A shard that is being worked on."""

    shard: Shard
    rows: list[Any] = field(default_factory=list)
    waiting: list[Any] = field(default_factory=list)
    """What goes through the net next, and where its rows go."""
    places: list[int] = field(default_factory=list)


def work(
    task: OpenTask, store: Store, shards: Iterable[Shard], tell: Tell, replaces: bool = False
) -> Iterator[Done]:
    """Work on shards one after the other; yield each when its rows are kept.

    Threads fetch and decode what comes next, also of the next shard, while the net runs; one more
    thread keeps the rows of the last.

    Parameters
    ----------
    task : OpenTask
        What is made of each picture.
    store : Store
        Where rows are kept.
    shards : iterable of Shard
        Asked for the next one when it is wanted.
    tell : callable
        See `Tell`.
    replaces : bool
        Put the rows in place of those that are there.

    Raises
    ------
    FetchError
        The place that a shard's pictures come from cannot be reached.
    WriteError
        Rows cannot be kept.
    """
    with (
        ThreadPoolExecutor(1, thread_name_prefix="caffe-keep") as keeper,
        closing(_prepared(task, shards)) as pictures,
    ):
        keeping = None
        for opened in _through(task, pictures, tell):
            _check_reached(opened)
            before = keeping
            keeping = keeper.submit(_keep, task, store, opened, replaces)
            if before is not None:
                yield before.result()
        if keeping is not None:
            yield keeping.result()


def rows_of(task: OpenTask, entries: list[Entry]) -> list[Any]:
    """Return for each picture what the task makes of it, or the `CaffeError` why not."""
    shard = Shard(0, 0, entries, 0, True)
    with closing(_prepared(task, [shard])) as pictures:
        (opened,) = _through(task, pictures, lambda count: None)
    return opened.rows


def _prepared(task: OpenTask, shards: Iterable[Shard]) -> Any:
    """Yield each picture of each shard, as the net takes it, and None behind a shard's last."""

    def contents() -> Iterator[tuple[Shard, Entry | None, Content]]:
        for shard in shards:
            for entry, content in fetched(shard.entries):
                yield shard, entry, content
            yield shard, None, b""

    def decode(item: tuple[Shard, Entry | None, Content]) -> tuple[Shard, Any]:
        shard, entry, content = item
        if entry is None or isinstance(content, CaffeError):
            return shard, None if entry is None else content
        try:
            return shard, task.prepare(content, entry.key)
        # A picture must not end the run, whatever a decoder makes of it.
        except Exception as error:
            return shard, as_caffe_error(error)

    return read_ahead(decode, contents(), 2 * task.at_once)


def _through(task: OpenTask, pictures: Iterable[tuple[Shard, Any]], tell: Tell) -> Iterator[_Open]:
    """Let pictures go through the net; yield each shard with all of its rows."""
    opened: _Open | None = None
    unanswered = 0
    for shard, prepared in pictures:
        unanswered = unanswered + 1 if isinstance(prepared, SilentStoreError) else 0
        if unanswered == FEW:
            raise FetchError(
                f"{FEW} pictures one after the other could not be had ({prepared}); the same "
                "command goes on where this one stopped"
            )
        if opened is None:
            opened = _Open(shard)
        if prepared is None:
            _run(task, opened, tell)
            yield opened
            opened = None
            continue
        opened.rows.append(prepared if isinstance(prepared, CaffeError) else None)
        if isinstance(prepared, CaffeError):
            tell(Count(1, 1))
            continue
        opened.waiting.append(prepared)
        opened.places.append(len(opened.rows) - 1)
        if len(opened.waiting) == task.at_once:
            _run(task, opened, tell)


def _run(task: OpenTask, opened: _Open, tell: Tell) -> None:
    if not opened.waiting:
        return
    found = task.run(opened.waiting)
    for place, row in zip(opened.places, found, strict=True):
        opened.rows[place] = row
    errors = sum(isinstance(row, CaffeError) for row in found)
    opened.waiting.clear()
    opened.places.clear()
    tell(NOTHING + Count(len(found), errors))


def _check_reached(opened: _Open) -> None:
    """Stop where nothing can be reached, rather than write thousands of rows that say so."""
    rows = opened.rows
    if len(rows) >= FEW and all(isinstance(r, CaffeError) and is_unreachable(r) for r in rows):
        key = opened.shard.entries[0].key
        raise FetchError(
            f"none of the {len(rows)} pictures of shard {opened.shard.number} can be reached "
            f"({key}: {reason_of(rows[0], key)}); the same command goes on where this one stopped"
        )


def _keep(task: OpenTask, store: Store, opened: _Open, replaces: bool) -> Done:
    content, count = part_bytes(opened.shard, opened.rows, task)
    opened.rows.clear()
    give_back()
    name = part_name(opened.shard.number)
    if replaces:
        store.replace(name, content)
        return Done(opened.shard.number, count, True)
    return Done(opened.shard.number, count, store.create(name, content))
