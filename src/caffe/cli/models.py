"""`caffe fetch` and `caffe zoo`: the published models."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from .terminal import print_columns, readable_size

if TYPE_CHECKING:
    from ..zoo import Record


def fetch(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAMES", help="Models, by the names that `caffe zoo` lists."),
    ],
    unchecked: Annotated[
        bool,
        typer.Option("--unchecked", help="Bring files too of which no checksum is known."),
    ] = False,
) -> None:
    """Bring models into the cache directory, checked and ready to use.

    What is there already is not fetched again; an interrupted download goes on where it
    stopped. RECAFFE_HOME chooses another directory.
    """
    from .. import zoo

    for name in names:
        zoo.record(name)
    for name in names:
        files = zoo.fetch(name, unchecked=unchecked)
        rows = [("net", files.net), ("weights", files.weights)]
        rows += [("file", path) for path in files.others]
        print_columns([("", label, str(path)) for label, path in rows if path is not None])


def zoo() -> None:
    """List the models that `caffe fetch`, `caffe classify` and `caffe detect --model` know."""
    from .. import zoo as models

    rows = [("NAME", "TITLE", "FOR", "SIZE", "LICENCE", "HERE")]
    for name in models.names():
        record = models.record(name)
        size = readable_size(record.size).rjust(8)
        here = "yes" if is_here(record) or not record.urls else "no"
        task = record.task if record.is_model else "files"
        rows.append((name, record.title, task, size, record.licence, here))
    print_columns(rows)
    print(f"\n{models.DEFAULT} is the default and needs no download.")
    print(f"Models are kept in {models.cache_dir()}.")


def is_here(record: Record) -> bool:
    """Whether a model's weights are in the cache directory, or named by the environment."""
    from ..zoo import cache_dir
    from ..zoo.files import CAFFENET_VARIABLE

    if record.title == "CaffeNet" and os.environ.get(CAFFENET_VARIABLE):
        return True
    return (cache_dir() / record.file_name).is_file()
