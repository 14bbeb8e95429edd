"""`caffe extract`: what a net's blob holds for pictures, written to a file."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import completion
from .bulk import (
    BulkWishes,
    Ray,
    Retry,
    ShardSize,
    Verify,
    Workers,
    bulk_arithmetic,
    goes_to_parts,
    pictures_given,
    run_in_parts,
)
from .options import BatchSize, Engine, Gpu, Precision, Threads, set_arithmetic, use_gpu
from .own_net import (
    ChannelSwap,
    ImageDims,
    InputScale,
    Mean,
    ModelName,
    OwnNet,
    OwnWeights,
    RawScale,
    check_own,
    frozen_classifier,
    own_classifier,
    zoo_classifier,
)
from .reading import Refusals, batches, prepare_for, read_all
from .sources import find_pictures
from .terminal import progress

if TYPE_CHECKING:
    from ..bulk.tasks import Task
    from ..classifier import Classifier


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
    model: ModelName = None,
    net: OwnNet = None,
    weights: OwnWeights = None,
    mean: Mean = None,
    raw_scale: RawScale = None,
    input_scale: InputScale = None,
    channel_swap: ChannelSwap = None,
    image_dims: ImageDims = None,
    gpu: Gpu = None,
    threads: Threads = None,
    precision: Precision = None,
    engine: Engine = None,
    batch: BatchSize = 16,
    workers: Workers = 1,
    ray: Ray = None,
    shard: ShardSize = None,
    retry_errors: Retry = False,
    verify: Verify = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="With -o FOLDER/: lines that tell of the progress.")
    ] = False,
) -> None:
    """Write what a blob holds for each picture: features to search, cluster or learn from.

    A row for each picture, float32, in the pictures' order; their names are kept with the rows.
    Pictures that cannot be read have no row and no name: they are told on stderr, and the exit
    code is 1. Any number of pictures will do, as rows are written when they come.

    Try it: caffe extract photos/ -o photos.npy
    """
    own = {
        "--weights": weights,
        "--mean": mean,
        "--raw-scale": raw_scale,
        "--input-scale": input_scale,
        "--channel-swap": channel_swap,
        "--image-dims": image_dims,
    }
    check_own(model, net, own)
    from ..io.feature_files import form_of

    wishes = BulkWishes(workers, ray, shard, retry_errors, verify, as_json)
    in_parts = goes_to_parts(output) and not output.endswith(".lmdb")
    pictures = pictures_given(pictures, may_lack=in_parts and verify)
    if in_parts:
        arithmetic = bulk_arithmetic(gpu, precision, engine)

        def task() -> Task:
            from ..bulk.extracting import Extracting

            files, recipe, _ = frozen_classifier(
                model, net, weights, mean, raw_scale, input_scale, channel_swap, image_dims
            )
            return Extracting(files, recipe, blob, batch, arithmetic)

        run_in_parts(wishes, pictures, output, task)
        return
    wishes.refuse("-o", pictures)
    if as_json:
        raise typer.BadParameter("--json: only with -o FOLDER/ or -o s3://BUCKET/...")
    form_of(output)
    use_gpu(gpu)
    set_arithmetic(precision, engine)
    refuse = Refusals()
    found = find_pictures(pictures, refuse)
    if found:
        if net is None or weights is None:
            classifier: Classifier = zoo_classifier(model)
        else:
            classifier = own_classifier(
                net, weights, mean, raw_scale, input_scale, channel_swap, image_dims
            )
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
