"""Published models by name: their records, their files, and ready classifiers.

>>> from caffe import zoo
>>> zoo.names()[0]
'efficientnet_lite0'
>>> model = zoo.load()                                            # doctest: +SKIP
>>> model.classify("cat.jpg", top=1)                              # doctest: +SKIP
[('n02124075 Egyptian cat', 0.42)]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import CaffeError
from .cache import cache_dir
from .fetch import fetch_url
from .files import Files, fetch
from .records import DEFAULT, Recipe, Record, names, record

if TYPE_CHECKING:
    from .model import Model

__all__ = [
    "DEFAULT",
    "Files",
    "Recipe",
    "Record",
    "cache_dir",
    "fetch",
    "fetch_url",
    "load",
    "names",
    "record",
]


def load(name: str = DEFAULT, quiet: bool = True) -> Model:
    """Return a ready classifier: a ``caffe.Classifier`` that knows its labels and recipe.

    Parameters
    ----------
    name : str
        A name in the zoo. The default needs no network: its weights come from an installed
        package.
    quiet : bool
        Print nothing and show no progress bar if the model must be fetched first.

    Raises
    ------
    CaffeError
        The zoo has no such model, or it is an archive.
    FetchError
        The model could not be fetched.
    """
    entry = record(name)
    if entry.net is None:
        raise CaffeError(
            f"{name} is no model but an archive ({entry.title}); get it with: caffe fetch {name}"
        )
    from .model import Model

    return Model(entry, fetch(name, quiet))
