"""`classify`: a net's answers for a picture, a folder of them or an array, saved as .npy.

The original's ``python/classify.py``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..atomic import atomic_write
from ..cli.options import Threads, whole_numbers
from ..cli.terminal import progress
from ..errors import ImageError, ParseError, unreadable
from .command import run_tool
from .own_net import (
    ChannelSwap,
    Gpu,
    InputScale,
    MeanFile,
    ModelDef,
    Pretrained,
    RawScale,
    net_files,
    preprocessing,
    use_first_gpu,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


def classify(
    input_file: Annotated[
        str, typer.Argument(help="A picture, a folder of pictures, or a .npy of them.")
    ],
    output_file: Annotated[Path, typer.Argument(help="The .npy for the answers.")],
    model_def: ModelDef = None,
    pretrained_model: Pretrained = None,
    gpu: Gpu = False,
    threads: Threads = None,
    center_only: Annotated[
        bool, typer.Option("--center_only", help="The centre alone, not the mean of ten crops.")
    ] = False,
    images_dim: Annotated[
        str, typer.Option(metavar="HEIGHT,WIDTH", help="Resize pictures to this before cropping.")
    ] = "256,256",
    mean_file: MeanFile = None,
    input_scale: InputScale = None,
    raw_scale: RawScale = 255.0,
    channel_swap: ChannelSwap = "2,1,0",
    ext: Annotated[str, typer.Option(help="How the names of a folder's pictures end.")] = "jpg",
) -> None:
    """Save a net's answers: one row for each picture, in the order of the names."""
    import numpy as np

    from ..classifier import Classifier

    dims = whole_numbers(images_dim, "--images_dim", 2)
    files = net_files(model_def, pretrained_model)
    settings = preprocessing(mean_file, input_scale, raw_scale, channel_swap)
    use_first_gpu(gpu)
    classifier = Classifier(*files, image_dims=dims, **settings)
    pictures, count = inputs_of(os.path.expanduser(input_file), ext)
    print(f"Classifying {count} inputs.")
    start = time.monotonic()
    with progress("Classifying", count, "pictures") as (_, advance):
        predictions = classifier.predict(_counted(pictures, advance), not center_only)
    print(f"Done in {time.monotonic() - start:.2f} s.")
    print(f"Saving results into {output_file}")
    with atomic_write(_npy_name(output_file)) as stream:
        np.save(stream, predictions)


def inputs_of(source: str, ext: str) -> tuple[Iterator[NDArray[Any]], int]:
    """The pictures of a source, and how many they are.

    Raises
    ------
    ImageError
        There are none.
    """
    from ..io.pictures import load_image

    if source.endswith(".npy"):
        print(f"Loading file: {source}")
        array = read_array(source)
        return iter(array), len(array)
    names = [source]
    if os.path.isdir(source):
        print(f"Loading folder: {source}")
        names = [
            os.path.join(source, name)
            for name in sorted(os.listdir(source))
            if name.endswith(f".{ext}")
        ]
    else:
        print(f"Loading file: {source}")
    if not names:
        raise ImageError(f"{source}: no pictures whose names end in .{ext}; say others with --ext")
    return map(load_image, names), len(names)


def read_array(path: str) -> NDArray[Any]:
    """Read a .npy of pictures, N x H x W x K.

    Raises
    ------
    ParseError
        The file cannot be read, or holds no such array.
    """
    from ..io.npy import NpyError, parse_npy

    try:
        array = parse_npy(Path(path).read_bytes())
    except OSError as error:
        raise unreadable(f"the array cannot be read: {error.strerror}", path, error) from error
    except NpyError as error:
        raise ParseError(f"not one array in .npy form: {error}", path) from error
    if array.ndim != 4:
        raise ParseError(f"pictures are N x H x W x K, not of shape {array.shape}", path)
    return array


def _counted(pictures: Iterator[NDArray[Any]], advance: Any) -> Iterator[NDArray[Any]]:
    for picture in pictures:
        yield picture
        advance()


def _npy_name(path: Path) -> Path:
    """As NumPy names what it saves."""
    return path if path.suffix == ".npy" else path.with_name(f"{path.name}.npy")


def run() -> None:
    """Run the tool."""
    run_tool(classify)


if __name__ == "__main__":
    run()
