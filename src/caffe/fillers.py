"""Fillers: the first values of parameters and of DummyData's tops."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from . import mode
from .errors import ShapeError
from .pytorch import torch

if TYPE_CHECKING:
    from torch import Tensor

    from .proto.caffe_pb2 import FillerParameter

FAN_IN, FAN_OUT, AVERAGE = 0, 1, 2


def constant(array: Tensor, filler: FillerParameter) -> None:
    """Every number is `value`."""
    array.fill_(filler.value)


def uniform(array: Tensor, filler: FillerParameter) -> None:
    """Numbers between `min` and `max`, all alike."""
    array.uniform_(filler.min, filler.max, generator=mode.generator())


def gaussian(array: Tensor, filler: FillerParameter) -> None:
    """Normal numbers of `mean` and `std`; `sparse` keeps about that many inputs per output."""
    array.normal_(filler.mean, filler.std, generator=mode.generator())
    if filler.sparse >= 0:
        outputs = array.shape[0]
        kept = torch.full_like(array, min(1.0, filler.sparse / outputs))
        array.mul_(torch.bernoulli(kept, generator=mode.generator()))


def positive_unitball(array: Tensor, filler: FillerParameter) -> None:
    """Positive numbers that sum to 1 for each first index."""
    array.uniform_(0, 1, generator=mode.generator())
    rows = array.view(array.shape[0] if array.dim() else 1, -1)
    rows.div_(rows.sum(dim=1, keepdim=True))


def xavier(array: Tensor, filler: FillerParameter) -> None:
    """Uniform within sqrt(3 / n) of zero, n being the fan (Glorot and Bengio, 2010)."""
    limit = math.sqrt(3.0 / _fan(array, filler))
    array.uniform_(-limit, limit, generator=mode.generator())


def msra(array: Tensor, filler: FillerParameter) -> None:
    """Normal with deviation sqrt(2 / n), n being the fan (He et al., 2015)."""
    array.normal_(0, math.sqrt(2.0 / _fan(array, filler)), generator=mode.generator())


def bilinear(array: Tensor, filler: FillerParameter) -> None:
    """The kernel that makes a Deconvolution enlarge pictures by bilinear interpolation."""
    if array.dim() != 4 or array.shape[2] != array.shape[3]:
        raise ShapeError(
            f"the bilinear filler needs 4 axes and a square kernel, not {tuple(array.shape)}"
        )
    width = array.shape[3]
    factor = math.ceil(width / 2)
    centre = (2 * factor - 1 - factor % 2) / (2 * factor)
    ramp = 1 - (torch.arange(width, dtype=torch.float32) / factor - centre).abs()
    array.copy_(torch.outer(ramp, ramp).expand_as(array))


FILLERS: dict[str, Callable[[Tensor, FillerParameter], None]] = {
    filler.__name__: filler
    for filler in (constant, uniform, gaussian, positive_unitball, xavier, msra, bilinear)
}


def filler_for(shape: Sequence[int], filler: FillerParameter) -> Callable[[Tensor], None]:
    """Return what fills a flat tensor of `shape`'s count as `filler` says.

    Raises
    ------
    ShapeError
        The filler's type is unknown, or does not fit the shape, or its bounds are the wrong way
        round.
    """
    if filler.type not in FILLERS:
        raise ShapeError(
            f"unknown filler type '{filler.type}'; known are {', '.join(sorted(FILLERS))}"
        )
    write = FILLERS[filler.type]
    if write is bilinear and (len(shape) != 4 or shape[2] != shape[3]):
        write(torch.empty(tuple(shape), dtype=torch.float32), filler)

    _check_bounds(write, filler)
    if write is gaussian and filler.sparse >= 0 and not shape:
        raise ShapeError("a sparse gaussian filler needs an axis of outputs, but the shape is ()")
    if write in (constant, bilinear):
        return lambda flat: write(flat.view(tuple(shape)), filler)
    # Drawn now, as the original draws: what is looked at first, or seeded later, changes nothing.
    seed = mode.draw_seed()

    def fill(flat: Tensor) -> None:
        with mode.seeded(seed):
            if flat.numel():
                write(flat.view(tuple(shape)), filler)

    return fill


def _check_bounds(write: Callable[..., None], filler: FillerParameter) -> None:
    """Raise a ShapeError where numbers cannot be drawn as the filler says."""
    bounds = {uniform: ("min", "max"), gaussian: ("mean", "std")}.get(write, ())
    for name in bounds:
        if not math.isfinite(getattr(filler, name)):
            raise ShapeError(f"a {filler.type} filler's {name} is {getattr(filler, name)}")
    if write is uniform and filler.min > filler.max:
        raise ShapeError(f"a uniform filler's min, {filler.min:g}, is above its max {filler.max:g}")
    if write is uniform and filler.max - filler.min > torch.finfo(torch.float32).max:
        raise ShapeError(f"from {filler.min:g} to {filler.max:g} is too far for a uniform filler")
    if write is gaussian and filler.std < 0:
        raise ShapeError(f"a gaussian filler's std must not be negative, but is {filler.std:g}")


def _fan(array: Tensor, filler: FillerParameter) -> float:
    """The number of inputs or outputs of one unit, as Caffe counts them by the first two axes."""
    count = array.numel()
    fan_in = count / array.shape[0] if array.dim() else count
    fan_out = count / array.shape[1] if array.dim() > 1 else count
    if filler.variance_norm == AVERAGE:
        return (fan_in + fan_out) / 2
    return fan_out if filler.variance_norm == FAN_OUT else fan_in
