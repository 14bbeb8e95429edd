"""Labels: the second bottom of losses and of Accuracy, read as class numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import CaffeError
from ..proto.caffe_pb2 import LayerParameter
from ..pytorch import torch
from .asking import refuse_any

if TYPE_CHECKING:
    from torch import Tensor


def class_labels(
    layer_param: LayerParameter, labels: Tensor, classes: int, ignored: int | None = None
) -> tuple[Tensor, Tensor]:
    """Read the second bottom as class numbers.

    Parameters
    ----------
    layer_param : LayerParameter
        The layer that reads them.
    labels : Tensor
        Any shape; fractions are cut off, as in Caffe.
    classes : int
        Labels go from 0 to ``classes - 1``.
    ignored : int, optional
        A label that may stand anywhere and counts nothing.

    Returns
    -------
    index : Tensor
        Flat, int64; 0 where the label is ignored.
    counts : Tensor
        Flat, bool: the label is not ignored.

    Raises
    ------
    CaffeError
        A label is no class; the text names bottom, index and value.
    """
    whole = labels.reshape(-1).trunc()
    is_class = (whole >= 0) & (whole < classes)
    if ignored is None:
        counts = torch.ones_like(is_class)
        is_wrong, is_known = ~is_class, is_class
    else:
        counts = whole != ignored
        is_wrong, is_known = counts & ~is_class, counts & is_class

    def refusal() -> CaffeError:
        place = int(is_wrong.nonzero()[0])
        label = float(labels.reshape(-1)[place])
        return CaffeError(
            f"{_bottom_name(layer_param, 1)} holds the label {label:g} at "
            f"{_index(place, labels.shape)}, but there are {classes} classes: labels must be "
            f"between 0 and {classes - 1}"
        )

    refuse_any(is_wrong, refusal)
    return torch.where(is_known, whole, 0).long(), counts


def _bottom_name(layer_param: LayerParameter, number: int) -> str:
    names = layer_param.bottom
    return f"bottom '{names[number]}'" if number < len(names) else f"bottom {number}"


def _index(place: int, shape: Sequence[int]) -> str:
    """The place in a flat array as an index into the whole, in numpy's writing."""
    index = []
    for size in reversed(shape):
        place, rest = divmod(place, size)
        index.append(rest)
    return f"[{', '.join(map(str, reversed(index)))}]"
