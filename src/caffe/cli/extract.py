"""`caffe extract`: what a net's blob holds for pictures, written to a file."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import completion
from .bulk import Many, bulk_arithmetic, goes_to_parts, pictures_given, run_in_parts
from .option_groups import takes_groups
from .options import BatchSize, Computing
from .own_net import AnyClassifier
from .reading import Refusals, batches, prepare_for, read_all
from .sources import find_pictures
from .terminal import progress

if TYPE_CHECKING:
    from ..bulk.tasks import Task
    from ..classifier import Classifier


@takes_groups
def extract(
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE|FOLDER/",
            help="Where they go: a file that ends in .npy, .h5, .parquet or .lmdb; for any number "
            "of pictures a folder or s3://BUCKET/..., in a run that goes on where it was stopped.",
        ),
    ],
    pictures: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PICTURES",
            help="Picture files, http(s) addresses, or directories, in which pictures are looked "
            "for. '-' reads a picture from standard input. With -o FOLDER/ also "
            "s3://BUCKET/PREFIX, tar archives, and Parquet files of pictures or their places.",
        ),
    ] = None,
    blob: Annotated[
        str | None,
        typer.Option(
            help="Which blob; `caffe show` lists them.",
            show_default="what the last layer with weights is given",
            autocompletion=completion.blobs,
        ),
    ] = None,
    *,
    which: AnyClassifier,
    how: Computing,
    batch: BatchSize = 16,
    many: Many,
    as_json: Annotated[
        bool, typer.Option("--json", help="With -o FOLDER/: lines that tell of the progress.")
    ] = False,
) -> None:
    """Write what a blob holds for each picture: features to search, cluster or learn from.

    A row for each picture, float32, in the pictures' order; their names are kept with the rows.
    Pictures that cannot be read have no row and no name: they are told on stderr, and the exit
    code is 1. Any number of pictures will do, as rows are written when they come.

    With -o FOLDER/ every picture has a row there, with the reason where it could not be read, and
    the exit code is 0 when all rows are there; it is 1 where not one picture could be read.

    Try it: caffe extract photos/ -o photos.npy
    """
    which.check(which.model)
    from ..io.feature_files import form_of

    in_parts = goes_to_parts(output) and not output.endswith(".lmdb")
    pictures = pictures_given(pictures, may_lack=in_parts and many.verify)
    if in_parts:
        arithmetic = bulk_arithmetic(how)

        def task() -> Task:
            from ..bulk.extracting import Extracting

            files, recipe, _ = which.frozen()
            return Extracting(files, recipe, arithmetic, blob=blob, batch=batch)

        run_in_parts(many, pictures, output, as_json, task)
        return
    many.refuse("-o", pictures)
    if as_json:
        raise typer.BadParameter("--json: only with -o FOLDER/ or -o s3://BUCKET/...")
    form_of(output)
    how.use()
    refuse = Refusals()
    found = find_pictures(pictures, refuse)
    if found:
        classifier, _ = which.load()
        _extract(classifier, blob or classifier.feature_blob(), found, Path(output), batch, refuse)
    refuse.end()


def _extract(
    classifier: Classifier,
    blob: str,
    found: list[str],
    output: Path,
    at_once: int,
    refuse: Refusals,
) -> None:
    from ..classifier import without_last_ones
    from ..io.feature_files import write_features
    from ..net.checks import known_blobs

    known_blobs([blob], classifier.blobs)
    classifier.make_room(min(at_once, len(found)))
    count = 0
    with ExitStack() as stack:
        _, advance = stack.enter_context(progress("Extracting", len(found), "pictures"))
        put = stack.enter_context(write_features(output, blob))
        readable = stack.enter_context(
            closing(read_all(found, prepare_for(classifier), 2 * at_once, refuse, advance))
        )
        for done in batches(classifier, readable, at_once, blob):
            rows = without_last_ones(done.rows)
            put([picture.name for picture in done.pictures], rows)
            count += len(rows)
            for _ in rows:
                advance()
        if not count:
            # What stood there stays.
            refuse.end()
    shape = " x ".join(map(str, (count, *rows.shape[1:])))
    print(f"{output}: {shape} of '{blob}'.")
