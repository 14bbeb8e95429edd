"""`caffe convert`: weights from one form of file to another."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import CaffeError
from .terminal import readable_size

if TYPE_CHECKING:
    import numpy as np

    from ..net.net import Net
    from ..proto.caffe_pb2 import NetParameter

    Layers = list[tuple[str, str, list[np.ndarray]]]

FORMS = (".caffemodel", ".h5", ".hdf5", ".safetensors")
MOST_HALF = 65504.0
"""The largest number of 16 bits."""


class Way(str, Enum):
    """How tensors find their layers."""

    name = "name"
    order = "order"


def convert(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="IN", help="Weights: .caffemodel, HDF5 or .safetensors; with --by .pth, too."
        ),
    ],
    target: Annotated[
        Path,
        typer.Argument(
            metavar="OUT", help="The name ends in .caffemodel, .h5 or .safetensors, and says so."
        ),
    ],
    half: Annotated[
        bool,
        typer.Option(
            "--half",
            help="Numbers of 16 bits: half the size. OpenCV reads such .caffemodel files, the "
            "original Caffe does not.",
        ),
    ] = False,
    net: Annotated[
        Path | None,
        typer.Option(
            metavar="PROTOTXT", help="The weights' net, for --by and for --fold-batchnorm."
        ),
    ] = None,
    by: Annotated[
        Way | None,
        typer.Option(
            help="IN is a PyTorch module's tensors (.safetensors or .pth); --net takes those of "
            "its layers' names, or each layer the next module's. What went where is told."
        ),
    ] = None,
    fold_batchnorm: Annotated[
        Path | None,
        typer.Option(
            "--fold-batchnorm",
            metavar="PROTOTXT",
            help="Take BatchNorm, Scale and Bias layers into the weights before them, and write "
            "the net without them here.",
        ),
    ] = None,
) -> None:
    """Write weights in another form, or with shorter numbers.

    What form IN has is told by its content. OUT is written as a whole or not at all. Layers are
    matched by their names, so that OUT goes with the same net as IN, unless --by says otherwise.
    """
    if target.suffix.lower() not in FORMS:
        raise CaffeError(f"{target}: the name must end in {', '.join(FORMS)}, which say the form")
    if (net is None) != (by is None and fold_batchnorm is None):
        raise typer.BadParameter("--net goes with --by or --fold-batchnorm, and they with it")
    if net is None:
        _write(target, _read(source), half)
    else:
        whole = _filled(net, source, by)
        if fold_batchnorm is None:
            _write(target, _of_net(whole), half)
        else:
            _write_folded(fold_batchnorm, target, whole, half)
    print(f"{target} written ({readable_size(target.stat().st_size)}).")


def _read(source: Path) -> Layers:
    from ..imports.state_dict import is_torch_file
    from ..proto import contents
    from ..weights.files import read_weights

    if is_torch_file(contents.open_bytes(source)):
        raise CaffeError(
            f"{source} is a file of PyTorch's: say for which net its tensors are, and how they "
            "find their layers: --net PROTOTXT --by name (or order)"
        )
    return [
        (layer.name, layer.type, [b.data.reshape(b.shape) for b in layer.blobs if b is not None])
        for layer in read_weights(source)
        if layer.blobs
    ]


def _filled(path: Path, weights: Path, by: Way | None) -> Net:
    """The net with its weights; what a PyTorch module's tensors have become is told."""
    from ..imports import copy_weights
    from ..net.net import Net
    from ..phases import TEST

    if by is None:
        return Net(path, TEST, weights=weights)
    net = Net(path, TEST)
    print(copy_weights(net, weights, by.value))
    return net


def _of_net(net: Net) -> Layers:
    return [
        (layer.name, layer.type, [blob.data for blob in layer.blobs])
        for layer in net.inside.layers
        if layer.blobs
    ]


def _write_folded(text: Path, weights: Path, net: Net, half: bool) -> None:
    """Write the net without its BatchNorm layers: both files, or neither."""
    from ..atomic import atomic_write
    from ..export import folded
    from ..proto.text import format_text

    made = folded(net)
    with atomic_write(text) as stream:
        stream.write(format_text(_text_of(made)).encode())
        _write(weights, _of_net(made), half)


def _text_of(made: Net) -> NetParameter:
    """A net's text as people write it, without Splits."""
    from ..proto.caffe_pb2 import NetParameter

    text = NetParameter(name=made.name)
    for step in made.inside.steps:
        if step.layer.type != "Split":
            text.layer.add().CopyFrom(step.node.param)
    names = {
        top: step.bottom_names[0]
        for step in made.inside.steps
        if step.layer.type == "Split"
        for top in step.top_names
    }
    for layer in text.layer:
        layer.ClearField("phase")
        layer.bottom[:] = [names.get(bottom, bottom) for bottom in layer.bottom]
    return text


def _check_half(layers: Layers) -> None:
    import numpy as np

    for name, _, blobs in layers:
        for index, blob in enumerate(blobs):
            largest = float(np.abs(blob).max(initial=0))
            if largest > MOST_HALF:
                raise CaffeError(
                    f"layer '{name}', blob {index}: {largest:g} is too large for 16 bits, which "
                    f"hold up to {MOST_HALF:g}; leave out --half"
                )


def _write(target: Path, layers: Layers, half: bool) -> None:
    from ..proto.caffe_pb2 import LayerParameter
    from ..weights import files, safetensors_file

    if half:
        _check_half(layers)
    ending = target.suffix.lower()
    if ending == ".caffemodel":
        typed = ((LayerParameter(name=name, type=kind), blobs) for name, kind, blobs in layers)
        files.write_weights(target, "", typed, half=half)
        return
    plain = [(name, blobs) for name, _, blobs in layers]
    if ending == ".safetensors":
        safetensors_file.write(target, plain, half)
    else:
        files.write_weights_hdf5(target, plain, half=half)
