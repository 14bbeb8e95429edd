"""`caffe fetch` and `caffe zoo`: the published models."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from . import completion
from .terminal import print_columns, readable_size


def fetch(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAMES",
            help="Models, by the names that `caffe zoo` lists.",
            autocompletion=completion.models,
        ),
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


def zoo(
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="A JSON list of objects: name, title, task, size in bytes, licence, page, and "
            "whether the model is here.",
        ),
    ] = False,
) -> None:
    """List the models that `caffe fetch`, `caffe classify` and `caffe detect --model` know."""
    from .. import zoo as models
    from ..zoo.files import is_at_hand

    records = [models.record(name) for name in models.names()]
    if as_json:
        facts = [
            {
                "name": record.name,
                "title": record.title,
                "task": record.task if record.is_model else "files",
                "size": record.size,
                "licence": record.licence,
                "page": record.page,
                "here": is_at_hand(record.name),
            }
            for record in records
        ]
        print(json.dumps(facts, indent=2))
        return
    rows = [("NAME", "TITLE", "FOR", "SIZE", "LICENCE", "HERE")]
    for record in records:
        size = readable_size(record.size).rjust(8)
        here = "yes" if is_at_hand(record.name) else "no"
        task = record.task if record.is_model else "files"
        rows.append((record.name, record.title, task, size, record.licence, here))
    print_columns(rows)
    print(f"\n{models.DEFAULT} is the default and needs no download.")
    print(f"{models.DEFAULT_DETECTOR} is the default of `caffe detect`.")
    print(f"Models are kept in {models.cache_dir()}.")
