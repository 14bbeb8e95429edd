"""`caffe extract`: what a net's blob holds for pictures, written to a file."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import completion
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
    own_classifier,
    zoo_classifier,
)
from .reading import Refusals, batches, prepare_for, read_all
from .sources import find_pictures
from .terminal import progress

if TYPE_CHECKING:
    from ..classifier import Classifier


def extract(
    pictures: Annotated[
        list[str],
        typer.Argument(
            metavar="PICTURES",
            help="Picture files, http(s) addresses, or directories, in which pictures are looked "
            "for. '-' reads a picture from standard input.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Where they go; ends in .npy, .h5, .parquet or .lmdb.",
        ),
    ],
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
        _extract(classifier, blob or classifier.feature_blob(), found, output, batch, refuse)
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
