"""`extract_features`: what blobs of a net hold, in LMDB, LevelDB or HDF5."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from ..cli.options import Threads, use_gpu
from ..cli.terminal import progress
from ..errors import CaffeError, require
from .command import run_tool

HDF5 = ("hdf5", "h5")
TOLD_EVERY = 1000
Put = Callable[[Any], None]


def extract_features(
    weights: Annotated[Path, typer.Argument(metavar="PRETRAINED_NET_PARAM", help="The weights.")],
    model: Annotated[
        Path,
        typer.Argument(metavar="FEATURE_EXTRACTION_PROTO_FILE", help="The net, with data layers."),
    ],
    blobs: Annotated[str, typer.Argument(metavar="BLOB[,BLOB...]", help="Whose values.")],
    places: Annotated[
        str, typer.Argument(metavar="DB[,DB...]", help="Where they go, one for each blob.")
    ],
    batches: Annotated[int, typer.Argument(metavar="NUM_MINI_BATCHES", min=1)],
    kind: Annotated[str, typer.Argument(metavar="lmdb|leveldb|hdf5")],
    mode: Annotated[str, typer.Argument(metavar="[CPU|GPU]")] = "CPU",
    device: Annotated[str, typer.Argument(metavar="[DEVICE_ID=0]")] = "0",
    threads: Threads = None,
) -> None:
    """Run a net of the TEST phase, and write what blobs hold for each picture.

    A database has a Datum of floats for each picture, with the picture's number as its key; an
    HDF5 file has a data set of the blob's name, as HDF5Data layers take it.
    """
    import numpy as np

    from ..logs import init_log, log
    from ..net.net import Net
    from ..phases import TEST

    init_log()
    names, targets = blobs.split(","), places.split(",")
    if len(names) != len(targets):
        raise CaffeError(f"there are {len(names)} blobs, but {len(targets)} places for them")
    number = device.rpartition("=")[2]
    if not number.isdecimal() or mode.upper() not in ("CPU", "GPU"):
        raise typer.BadParameter("the last arguments are CPU, or GPU and its number")
    use_gpu(int(number) if mode.upper() == "GPU" else None)
    log(f"Using {mode.upper()}")
    net = Net(model, weights, TEST)
    for name in names:
        if name not in net.blobs:
            raise CaffeError(f"the net has no blob '{name}'; it has {', '.join(net.blobs)}")
    log("Extracting Features")
    with ExitStack() as stack:
        _, advance = stack.enter_context(progress("Extracting", batches, "batches"))
        puts = [
            stack.enter_context(_writer(target, name, kind))
            for name, target in zip(names, targets, strict=True)
        ]
        done = dict.fromkeys(names, 0)
        for _ in range(batches):
            net.forward()
            for name, put in zip(names, puts, strict=True):
                for item in np.atleast_1d(net.blobs[name].data):
                    put(item)
                    done[name] += 1
                    if done[name] % TOLD_EVERY == 0:
                        log(f"Extracted features of {done[name]} query images for {name}")
            advance()
    for name, count in done.items():
        log(f"Extracted features of {count} query images for feature blob {name}")
    log("Successfully extracted the features!")


@contextmanager
def _writer(place: str, blob: str, kind: str) -> Iterator[Put]:
    """Yield what takes one picture's values after the other."""
    if kind.lower() in HDF5:
        with _hdf5_writer(place, blob) as put:
            yield put
        return
    from ..io.database_writer import write_database
    from ..io.feature_files import datum_of

    with write_database(place, kind.lower()) as store:
        count = 0

        def put(item: Any) -> None:
            nonlocal count
            store.put(b"%010d" % count, datum_of(item))
            count += 1

        yield put


@contextmanager
def _hdf5_writer(place: str, blob: str) -> Iterator[Put]:
    import numpy as np

    from ..io.feature_files import append
    from ..weights.hdf5 import written

    h5py = require("h5py", "hdf5", "features in HDF5")
    with written(h5py, place) as file:
        rows: list[Any] = []

        def flush() -> None:
            if rows:
                append(file, blob, np.stack(rows))
                rows.clear()

        def put(item: Any) -> None:
            rows.append(np.array(item, np.float32))
            if len(rows) == TOLD_EVERY:
                flush()

        yield put
        flush()


def run() -> None:
    """Run the tool."""
    run_tool(extract_features)


if __name__ == "__main__":
    run()
