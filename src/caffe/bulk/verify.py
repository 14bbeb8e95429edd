"""Whether every picture of the manifest has one row, and nothing else has any."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from ..errors import CaffeError, MissingFileError, ParseError
from .job import read_facts
from .manifest import shard_numbers, shard_table
from .parts import NOTHING, Count, part_numbers, read_part
from .run import FINISHED
from .stores import Store

_AT_ONCE = 8
_TOLD = 10
"""Faults that are told one by one."""


@dataclass
class Verdict:
    """What a look at every row has shown.

    Attributes
    ----------
    pictures : int
        In the manifest.
    rows, errors : int
        In the parts.
    faults : list of str
        What is not as it should be; none where all is well.
    """

    pictures: int = 0
    rows: int = 0
    errors: int = 0
    faults: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Raise where something is wrong.

        Raises
        ------
        CaffeError
            There are faults; the first are named.
        """
        if self.faults:
            more = len(self.faults) - _TOLD
            told = "; ".join(self.faults[:_TOLD]) + (f"; and {more} more" if more > 0 else "")
            raise CaffeError(f"{len(self.faults)} faults: {told}")


def verify(store: Store, advance: Callable[[int, int], object] = lambda n, of: None) -> Verdict:
    """Compare all rows with the manifest: as many rows as ids as pictures, each for its picture.

    Parameters
    ----------
    store : Store
        A run's place.
    advance : callable
        Given how many shards of how many have been looked at.

    Raises
    ------
    MissingFileError
        There is no run.
    """
    read_facts(store)
    verdict = Verdict()
    numbers, parts = shard_numbers(store), part_numbers(store)
    if numbers != list(range(len(numbers))):
        verdict.faults.append("the manifest has gaps")
    for number in sorted(parts - set(numbers)):
        verdict.faults.append(f"part {number} belongs to no shard")
    first, is_last = 0, False
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        looks = threads.map(lambda number: _look(store, number, number in parts), numbers)
        for seen, (number, look) in enumerate(zip(numbers, looks, strict=True), start=1):
            if look.first != first:
                verdict.faults.append(f"shard {number} begins at id {look.first}, not {first}")
            if is_last:
                verdict.faults.append(f"shard {number} stands behind the last one")
            first, is_last = look.first + look.pictures, look.is_last
            verdict.pictures += look.pictures
            verdict.rows += look.count.pictures
            verdict.errors += look.count.errors
            verdict.faults += look.faults
            advance(seen, len(numbers))
    if not is_last:
        verdict.faults.append("the listing of the pictures is not finished")
    _check_told(store, verdict)
    return verdict


@dataclass
class _Look:
    first: int
    pictures: int
    is_last: bool
    count: Count = NOTHING
    faults: list[str] = field(default_factory=list)


def _look(store: Store, number: int, has_part: bool) -> _Look:
    try:
        shard, first, _, is_last = shard_table(store, number, ["id", "key"])
    except (MissingFileError, ParseError) as error:
        return _Look(0, 0, False, faults=[str(error)])
    look = _Look(first, len(shard), is_last)
    if not has_part:
        look.faults.append(f"shard {number} has no rows")
        return look
    try:
        table = read_part(store, number, ["id", "key", "error"])
    except (MissingFileError, ParseError) as error:
        look.faults.append(str(error))
        return look
    look.count = Count(len(table), len(table) - table["error"].null_count)
    if table["id"].to_pylist() != list(range(first, first + len(shard))):
        look.faults.append(f"part {number} has not one row for each id of its shard")
    elif not table["key"].equals(shard["key"]):
        look.faults.append(f"part {number} has other pictures than its shard")
    return look


def _check_told(store: Store, verdict: Verdict) -> None:
    """Compare with the counts that the run wrote down at its end."""
    try:
        told = json.loads(store.read(FINISHED))
        counts = told["pictures"], told["errors"]
    except MissingFileError:
        verdict.faults.append(f"the run is not finished (no {FINISHED})")
    except (ValueError, TypeError, KeyError) as error:
        verdict.faults.append(f"{FINISHED} says nothing: {error}")
    else:
        if counts != (verdict.rows, verdict.errors):
            verdict.faults.append(
                f"{FINISHED} tells of {counts[0]} pictures and {counts[1]} errors, the rows of "
                f"{verdict.rows} and {verdict.errors}"
            )
