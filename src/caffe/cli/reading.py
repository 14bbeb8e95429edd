"""How commands go through pictures: read ahead in threads, some at a time through the net."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from ..errors import CaffeError
from .sources import STANDARD_INPUT, read_source
from .terminal import complain

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..classifier import Classifier
    from ..uploads import Items

Read = TypeVar("Read")


class Refusals:
    """What could not be read: told at once, and an exit code at the end."""

    def __init__(self) -> None:
        self._any = False

    def __call__(self, reason: object) -> None:
        """Tell one."""
        self._any = True
        complain(str(reason))

    def end(self) -> None:
        """End the command with 1 where there was any."""
        if self._any:
            raise typer.Exit(1)


@dataclass
class PreparedPicture:
    """A picture that was read: its name, its crops as the net takes them, and the seconds."""

    name: str
    crops: Items
    seconds: float


def prepare_for(
    classifier: Classifier, oversample: bool = False
) -> Callable[[str], PreparedPicture]:
    """Return what reads a picture and does to it what the net wants; threads may do so at once."""
    color, prepared_for_net = classifier.recipe.color, classifier.preparer(oversample)

    def prepare(name: str) -> PreparedPicture:
        start = time.perf_counter()
        crops = prepared_for_net(*read_source(name, color))
        return PreparedPicture(name, crops, time.perf_counter() - start)

    return prepare


def read_all(
    names: Sequence[str],
    read: Callable[[str], Read],
    ahead: int,
    refuse: Callable[[object], None],
    advance: Callable[[], None],
) -> Generator[Read, None, None]:
    """Yield the pictures that can be read, in order, with the next ones under way in threads.

    Parameters
    ----------
    names : sequence of str
        Their names, as `find_pictures` gives them.
    read : callable
        Makes something of a name. Run in several threads at once, but for standard input.
    ahead : int
        How many may be read before they are wanted.
    refuse : callable
        Told the error of each that cannot be read.
    advance : callable
        Called for each of these.
    """
    from ..io.read_ahead import read_ahead

    def attempt(name: str) -> Any:
        try:
            return read(name)
        except CaffeError as error:
            return error

    def in_thread(name: str) -> Any:
        return None if name == STANDARD_INPUT else attempt(name)

    with closing(read_ahead(in_thread, names, ahead)) as outcomes:
        for name, outcome in zip(names, outcomes, strict=True):
            # Read in its turn and here: an ending interpreter would break over a thread that
            # holds standard input.
            found = attempt(name) if outcome is None else outcome
            if isinstance(found, CaffeError):
                refuse(found)
                advance()
            else:
                yield found


@dataclass
class Batch:
    """Some pictures that went through a net, and what came of them.

    Attributes
    ----------
    pictures : list of PreparedPicture
        Their crops are the net's again.
    rows : numpy.ndarray
        One for each.
    seconds : float
        What the net took for one.
    """

    pictures: list[PreparedPicture]
    rows: NDArray[np.float32]
    seconds: float


def batches(
    classifier: Classifier,
    pictures: Iterable[PreparedPicture],
    at_once: int,
    blob: str | None = None,
) -> Iterator[Batch]:
    """Let pictures go through a net, some at a time; see `Classifier.run_prepared`."""
    import numpy as np

    pictures = iter(pictures)
    while chunk := list(islice(pictures, at_once)):
        start = time.perf_counter()
        crops = (picture.crops for picture in chunk)
        rows = np.concatenate(list(classifier.run_prepared(crops, blob)))
        yield Batch(chunk, rows, (time.perf_counter() - start) / len(chunk))
