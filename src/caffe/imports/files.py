"""The door: a model in, as a net, whose two files `Imported.save` writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import ArgumentError, did_you_mean
from ..guarded import guarded
from ..paths import is_path, path_text
from . import onnx_source
from .conversion import convert
from .imported import Imported
from .onnx_source import Source
from .targets import TARGETS

Progress = Callable[[int, int], None]


def _no_progress(done: int, whole: int) -> None:
    pass


@guarded
def load(
    source: Any,
    example_inputs: Any = None,
    *,
    target: str = "bvlc",
    outputs: Sequence[str] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    fold: bool = False,
    progress: Progress = _no_progress,
) -> Imported:
    """Make a Caffe net of an ONNX model, or of PyTorch's.

    Parameters
    ----------
    source : path, onnx.ModelProto, torch.nn.Module or torch.export.ExportedProgram
        A file is an .onnx or a .pt2 (what ``torch.export.save`` writes).
    example_inputs : Tensor or tuple of Tensor, optional
        For a module: what it takes, of the shapes that the net is to have.
    target : str
        Who will read the net: a key of `TARGETS`. It settles which layers and fields are used.
    outputs : sequence of str, optional
        The values that are wanted, by their names in the ONNX model; its outputs by default.
    shapes : dict of str to sequence of int, optional
        The inputs' shapes where the model leaves them open, or others than its own.
    fold : bool
        Take BatchNorm and Scale into the weights before them.
    progress : callable, optional
        Told how many nodes are done, and of how many.

    Returns
    -------
    Imported
        The net's text and weights.

    Raises
    ------
    NetError
        A node has no form in the target's layers; the text names it and says what would help.
    ParseError
        A file is not what it should be, or numbers that should stand beside it are missing.
    ArgumentError
        `source` or `target` is nothing that is known.
    MissingExtraError
        The extra `onnx` is not installed.

    Examples
    --------
    >>> made = load("model.onnx", target="opencv")  # doctest: +SKIP
    >>> made.to_net().forward(input=picture)        # doctest: +SKIP
    >>> made.save("deploy.prototxt", "net.caffemodel")  # doctest: +SKIP
    """
    if target not in TARGETS:
        hint = did_you_mean(str(target), TARGETS, f"there are {', '.join(TARGETS)}")
        raise ArgumentError(f"target {target!r} is unknown; {hint}")
    model = _source(source, example_inputs)
    return convert(model, TARGETS[target], outputs, shapes, fold, progress)


def _source(source: Any, example_inputs: Any) -> Source:
    if isinstance(source, Source):
        return source
    if is_path(source):
        ending = Path(path_text(source)).suffix.lower()
        if ending == ".pt2":
            from . import torch_source

            return torch_source.read(source)
        if ending in (".pt", ".pth", ".ckpt", ".bin", ".safetensors"):
            raise ArgumentError(
                f"{path_text(source)}: such a file holds weights alone; build the module in "
                "Python, load them, and give it to caffe.imports.load, or export it as .onnx"
            )
        return onnx_source.read(source)
    if hasattr(source, "graph") and hasattr(source, "opset_import"):
        return onnx_source.of_proto(source, "the model")
    from . import torch_source

    return torch_source.traced(source, example_inputs)
