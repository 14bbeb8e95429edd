"""A run as it is agreed on at its place, so that all who work on it make the same rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..errors import CaffeError, MissingFileError, ParseError
from ..io.given import is_address
from ..version import __version__
from .sources import settled
from .stores import Store, is_cloud, open_store
from .tasks import Task

AGREED = "_RUN.json"
FORM = 1
"""Of what is written here; another number cannot be gone on with."""
SHARD = 4096
"""Pictures in a shard: minutes of work, and few files."""


@dataclass(frozen=True)
class Job:
    """All that a process needs to take part in a run. It can be pickled.

    Attributes
    ----------
    task : Task
        What is made of each picture.
    sources : tuple of str
        Where the pictures come from.
    output : str
        The folder or address of what is written.
    size : int
        How many pictures a shard has.
    """

    task: Task
    sources: tuple[str, ...]
    output: str
    size: int = SHARD

    def __post_init__(self) -> None:
        if self.size < 1:
            raise CaffeError(f"a shard must hold at least one picture, not {self.size}")
        object.__setattr__(self, "sources", tuple(map(settled, self.sources)))
        if is_address(self.output) and not is_cloud(self.output):
            raise CaffeError(f"{self.output}: rows go into a folder or an object storage")
        output = self.output if is_cloud(self.output) else settled(self.output)
        object.__setattr__(self, "output", output)

    @property
    def store(self) -> Store:
        """Where the rows are kept."""
        return open_store(self.output)

    def facts(self) -> dict[str, Any]:
        """Return all that decides what the rows hold, and which they are."""
        return {
            "form": FORM,
            "version": __version__,
            **self.task.facts(),
            "sources": list(self.sources),
            "shard": self.size,
        }

    def packed(self) -> Job:
        """Return the same job for machines that have none of its files."""
        return replace(self, task=self.task.packed())

    def agree(self) -> None:
        """Write down what is to be done, or check that it is what somebody wrote down.

        Raises
        ------
        CaffeError
            Another run is in this place; the text names the difference.
        """
        facts = self.facts()
        content = json.dumps(facts, indent=1).encode()
        if self.store.create(AGREED, content):
            return
        agreed = read_facts(self.store)
        different = differences(agreed, json.loads(content))
        if different:
            raise CaffeError(
                f"{self.output} holds another run: {'; '.join(different)}. Say what was said then "
                "to go on with it, or choose another place"
            )


def read_facts(store: Store) -> dict[str, Any]:
    """Return what was agreed on at a place.

    Raises
    ------
    MissingFileError
        There is no run.
    ParseError
        What is there says nothing.
    """
    try:
        facts = json.loads(store.read(AGREED))
    except MissingFileError as error:
        raise MissingFileError(f"no run is here (no {AGREED})", store.place) from error
    except ValueError as error:
        raise ParseError(f"not a run's facts: {error}", f"{store.place}/{AGREED}") from error
    if not isinstance(facts, dict):
        raise ParseError("not a run's facts", f"{store.place}/{AGREED}")
    return facts


def differences(before: Mapping[str, Any], now: Mapping[str, Any], within: str = "") -> list[str]:
    """Return in words where two runs' facts differ.

    Examples
    --------
    >>> differences({"top": 5, "model": {"net": "a"}}, {"top": 3, "model": {"net": "a"}})
    ['top was 5 and is 3']
    """
    told = []
    for name in dict.fromkeys((*before, *now)):
        old, new = before.get(name), now.get(name)
        if old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            told += differences(old, new, f"{within}{name} ")
        else:
            told.append(f"{within}{name} was {_short(old)} and is {_short(new)}")
    return told


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:56]} ..."
