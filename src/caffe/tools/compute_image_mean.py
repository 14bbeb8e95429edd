"""`compute_image_mean`: the mean picture of an LMDB or LevelDB."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from ..atomic import atomic_write
from ..cli.terminal import progress
from ..errors import CaffeError
from .command import run_tool

TOLD_EVERY = 10_000


def compute_image_mean(
    database: Annotated[Path, typer.Argument(metavar="INPUT_DB", help="Of Datum messages.")],
    output: Annotated[
        Path | None, typer.Argument(metavar="[OUTPUT_FILE]", help="A .binaryproto.")
    ] = None,
    backend: Annotated[str, typer.Option(metavar="lmdb|leveldb", help="The kind.")] = "lmdb",
) -> None:
    """Write the mean of a database's pictures, which must all have one size.

    The mean of each channel is told.
    """
    import numpy as np

    from ..io.database_writer import BACKENDS
    from ..layers.sources.data_transformer import DataTransformer
    from ..layers.sources.databases import open_database
    from ..logs import init_log, log
    from ..phases import TEST
    from ..proto.caffe_pb2 import BlobProto, DataParameter, Datum, TransformationParameter

    init_log()
    if backend.lower() not in BACKENDS:
        raise CaffeError(f"there is no kind of database '{backend}'; there are lmdb and leveldb")
    store = open_database(os.fspath(database), DataParameter.DB.Value(backend.upper()))
    reader = DataTransformer(TransformationParameter(), TEST)
    log("Starting iteration")
    total, count = None, 0
    with progress("Reading", None, "pictures") as (_, advance):
        for key, value in store.entries():
            picture = reader.read_datum(Datum.FromString(value))
            if total is None:
                total = np.zeros(picture.shape)
            if picture.shape != total.shape:
                shapes = f"{picture.shape}, the first picture {total.shape}"
                raise CaffeError(f"{database}, {os.fsdecode(key)}: the picture has {shapes}")
            total += picture
            count += 1
            advance()
            if count % TOLD_EVERY == 0:
                log(f"Processed {count} files.")
    if total is None:
        raise CaffeError(f"{database} holds no pictures")
    if count % TOLD_EVERY:
        log(f"Processed {count} files.")
    mean = (total / count).astype(np.float32)
    if output is not None:
        channels, height, width = mean.shape
        blob = BlobProto(num=1, channels=channels, height=height, width=width)
        blob.data.extend(mean.ravel().tolist())
        log(f"Write to {output}")
        with atomic_write(output) as stream:
            stream.write(blob.SerializeToString())
    log(f"Number of channels: {len(mean)}")
    for number, channel in enumerate(mean):
        log(f"mean_value channel [{number}]: {channel.mean(dtype=np.float64):g}")


def run() -> None:
    """Run the tool."""
    run_tool(compute_image_mean)


if __name__ == "__main__":
    run()
