"""The options that `classify` and `detect` share, as the original's scripts name them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..cli.options import use_gpu, whole_numbers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CAFFENET = "bvlc_reference_caffenet"
ModelDef = Annotated[
    Path | None,
    typer.Option(metavar="PROTOTXT", help="The net.", show_default=CAFFENET),
]
Pretrained = Annotated[
    Path | None,
    typer.Option(metavar="CAFFEMODEL", help="Its weights.", show_default=CAFFENET),
]
MeanFile = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="The mean to subtract, by channel: a .npy or .binaryproto file; '' for none.",
        show_default="ImageNet's",
    ),
]
Gpu = Annotated[bool, typer.Option("--gpu", help="Run on GPU 0.")]
InputScale = Annotated[
    float | None, typer.Option(help="Factor after the mean is subtracted.", show_default="1")
]
RawScale = Annotated[
    float, typer.Option(help="Factor for pixels of 0 to 1, before the mean is subtracted.")
]
ChannelSwap = Annotated[
    str, typer.Option(metavar="I,I,I", help="Order of the channels; 2,1,0 for a net of BGR.")
]


def net_files(model_def: Path | None, pretrained: Path | None) -> tuple[Path, Path]:
    """A net and its weights, those of the reference CaffeNet where nothing is said.

    Raises
    ------
    typer.BadParameter
        Only one is said.
    FetchError
        Nothing is said, and CaffeNet is not here and cannot be fetched.
    """
    if model_def is not None and pretrained is not None:
        return model_def, pretrained
    if model_def is not None or pretrained is not None:
        raise typer.BadParameter("--model_def and --pretrained_model go together")
    from .. import zoo

    files = zoo.fetch(CAFFENET)
    assert files.net is not None
    assert files.weights is not None
    return files.net, files.weights


def preprocessing(
    mean_file: str | None, input_scale: float | None, raw_scale: float, channel_swap: str
) -> dict[str, Any]:
    """How pictures go in, as arguments of `caffe.Classifier` and `caffe.Detector`."""
    return {
        "mean": channel_means(mean_file),
        "input_scale": input_scale,
        "raw_scale": raw_scale,
        "channel_swap": whole_numbers(channel_swap, "--channel_swap") if channel_swap else None,
    }


def channel_means(mean_file: str | None) -> NDArray[np.float64] | None:
    """The mean of each channel in a file; ImageNet's if none is said, none if its name is empty."""
    import numpy as np

    from ..io.arrays import load_mean
    from ..zoo.records import ILSVRC12_MEAN

    if mean_file is None:
        return np.array(ILSVRC12_MEAN)
    if not mean_file:
        return None
    mean = load_mean(mean_file).astype(np.float64)
    return mean.mean((1, 2)) if mean.ndim == 3 else mean.reshape(-1)


def use_first_gpu(wanted: bool) -> None:
    """Run on GPU 0 where that is wanted, and say where."""
    use_gpu(0 if wanted else None)
    print("GPU mode" if wanted else "CPU mode")
