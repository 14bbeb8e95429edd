"""Dictionaries of a net's parts, which say of a name that is not there what was meant."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import NoReturn, TypeVar

import numpy as np

from ..errors import MissingNameError, did_you_mean

V = TypeVar("V")


def unknown(what: str, name: object, known: Iterable[str]) -> str:
    """Return the text of the error for a name that a net has not; `what` is what it would name."""
    names = list(known)
    hint = did_you_mean(name, names) if isinstance(name, str) else ""
    return f"the net has no {what} {name!r}; {hint or f'it has {listed(names)}'}"


def listed(names: Iterable[str], most: int = 12) -> str:
    """Return the first names, and how many more there are."""
    names = list(names)
    shown = ", ".join(f"'{name}'" for name in names[:most])
    return (shown or "none") + (f" and {len(names) - most} more" if len(names) > most else "")


class ByName(OrderedDict[str, V]):
    """A net's parts by their names, in the net's order; `what` says what they are."""

    what = "part"

    def __missing__(self, name: object) -> NoReturn:
        raise MissingNameError(unknown(self.what, name, self))

    def __repr__(self) -> str:
        return repr(OrderedDict(self))


class LayersByName(ByName[V]):
    """What each layer has."""

    what = "layer"


class BlobsByName(ByName[V]):
    """What each blob has."""

    what = "blob"


class ParametersByName(ByName[V]):
    """The parameters of each layer that has any."""

    what = "layer with parameters"


class Results(dict[str, np.ndarray]):
    """What a run returns, by the blobs' names."""

    def __missing__(self, name: object) -> NoReturn:
        known = listed(self)
        hint = did_you_mean(name, self) if isinstance(name, str) else ""
        raise MissingNameError(
            f"this run returned no blob {name!r}; "
            + (hint or f"it returned {known}; another is asked for by blobs=[...]")
        )
