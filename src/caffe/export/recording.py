"""A net recorded by PyTorch (torch.export): what .pt2 files and written source come from."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import redirect_stderr
from io import StringIO
from types import TracebackType
from typing import TYPE_CHECKING

from ..errors import CaffeError, NetError, as_caffe_error, first_line
from ..guarded import guarded
from ..net.net import Net, checked_net
from ..pytorch import torch

if TYPE_CHECKING:
    from torch import Tensor
    from torch.export import ExportedProgram

    from .net_module import NetModule


@guarded
def module(net: Net, outputs: Sequence[str] | None = None) -> NetModule:
    """Make a module of PyTorch's that computes what a net computes.

    Its layers run the net's own formulas on parameters called <layer>.<i>, which are copies: the
    net stays as it is. ``train`` and ``eval`` choose the phase; gradients are PyTorch's, which
    for a few layers are not Caffe's (`docs/interop.md`).

    Parameters
    ----------
    net : Net
        With its parameters. Sources of data become inputs.
    outputs : sequence of str, optional
        The blobs that are wanted; the net's outputs by default.

    Raises
    ------
    NetError
        A layer is code of somebody's own (Python).

    Examples
    --------
    >>> net = caffe.Net("deploy.prototxt", "net.caffemodel", caffe.TEST)  # doctest: +SKIP
    >>> model = caffe.export.module(net)                                  # doctest: +SKIP
    >>> model(torch.zeros(1, 3, 227, 227)).shape                          # doctest: +SKIP
    torch.Size([1, 1000])
    """
    try:
        from .net_module import NetModule

        return NetModule(checked_net(net), outputs)
    except Exception as error:
        named = as_caffe_error(error, "")
        if named is error:
            raise
        raise named from error


@guarded
def program(
    net: Net, outputs: Sequence[str] | None = None, dynamic_batch: bool = False
) -> ExportedProgram:
    """Record what a net computes, at the shapes that its inputs have.

    Parameters
    ----------
    net : Net
        With its parameters.
    outputs : sequence of str, optional
        The blobs that are wanted; the net's outputs by default.
    dynamic_batch : bool
        Leave the length of the inputs' first axis open.

    Raises
    ------
    NetError
        A layer cannot be recorded, as what it does depends on values; the text names it.
    """
    return record(module(net, outputs), dynamic_batch)


def record(made: NetModule, dynamic_batch: bool) -> ExportedProgram:
    """Record a module; see `program`."""
    inputs, shapes = _examples(made, dynamic_batch)
    try:
        # PyTorch prints what it has recorded so far where it cannot go on.
        with torch.no_grad(), redirect_stderr(StringIO()):
            found = torch.export.export(made, inputs, dynamic_shapes=shapes)
    except Exception as error:
        label = _layer_of(made, error.__traceback__)
        if isinstance(error, CaffeError):
            raise as_caffe_error(error, label or "") from error
        if dynamic_batch and label is None:
            raise NetError(
                "the batch cannot be left open: the net's layers take the one that they were made "
                f"for ({first_line(error)})"
            ) from error
        # What NumPy does of it PyTorch does not see.
        by_values = "DataDependent" in type(error).__name__ or ".numpy()" in str(error)
        reason = ", as what it does depends on values" if by_values else f": {first_line(error)}"
        raise NetError(
            f"{label or 'the net'}: PyTorch cannot record it{reason}; name the outputs that are "
            "wanted, before it"
        ) from error
    return found


def _examples(
    made: NetModule, dynamic_batch: bool
) -> tuple[tuple[Tensor, ...], dict[str, tuple[object, ...]] | None]:
    """Inputs to record with, and which of their lengths are open."""
    from torch.export import Dim

    inputs = made.example()
    if not dynamic_batch or not inputs:
        return inputs, None
    batch = inputs[0].shape[0]
    opened = [bool(x.dim()) and x.shape[0] == batch for x in inputs]
    # PyTorch takes a length of 1 for one that is always 1.
    own = max(2, batch)
    examples = tuple(
        x.new_zeros(own, *x.shape[1:]) if is_open else x
        for x, is_open in zip(inputs, opened, strict=True)
    )
    dims = tuple({0: Dim.DYNAMIC} if is_open else None for is_open in opened)
    return examples, {"given": dims}


def _layer_of(made: NetModule, trace: TracebackType | None) -> str | None:
    """The layer whose forward an error comes from, as errors name it."""
    from .net_module import LayerModule

    found = None
    while trace is not None:
        owner = trace.tb_frame.f_locals.get("self")
        if isinstance(owner, LayerModule):
            found = owner
        trace = trace.tb_next
    if found is None:
        return None
    return next(
        f"layer '{name}' ({made.types[name]})"
        for name, child in made.named_children()
        if child is found
    )
