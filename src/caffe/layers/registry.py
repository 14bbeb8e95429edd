"""Which types of layers there are, and the layer that a text describes."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from typing import TYPE_CHECKING

from ..errors import CaffeError, NetError, as_caffe_error, did_you_mean
from ..vectors import StringVec
from .description import Family
from .layer import Layer, registered

if TYPE_CHECKING:
    from ..proto.caffe_pb2 import LayerParameter


def registry() -> dict[str, type[Layer]]:
    """Return the known layer types; every module of this package is read for them."""
    _import_families()
    return registered


@functools.cache
def _import_families() -> None:
    package = importlib.import_module(__package__)
    for module in pkgutil.walk_packages(package.__path__, f"{__package__}."):
        importlib.import_module(module.name)


def family_of(layer_type: str) -> Family:
    """Return whose kin the layers of a type are; "plain" where the type is not known."""
    found = registry().get(layer_type)
    return "plain" if found is None else found.family


def layer_type_list() -> StringVec:
    """Return the names of all known layer types, sorted."""
    return StringVec(sorted(registry()))


def create(layer_param: LayerParameter) -> Layer:
    """Make the layer that `layer_param` describes.

    Raises
    ------
    NetError
        The type is unknown.
    CaffeError
        The layer's class refuses what it is told, or fails.
    """
    known = registry()
    if layer_param.type not in known:
        hint = did_you_mean(layer_param.type, known)
        raise NetError(
            f"layer '{layer_param.name}': unknown layer type '{layer_param.type}'"
            f"{hint and '; '}{hint} "
            "(caffe.layer_type_list() names the known ones)",
            word=layer_param.type,
        )
    kind = known[layer_param.type]
    # A fork's fields choose a class that computes otherwise: not in the place of somebody's own.
    chooser = next(b for b in kind.__mro__ if issubclass(b, Layer) and "for_param" in vars(b))
    try:
        if kind.computes_as is chooser.computes_as:
            kind = kind.for_param(layer_param)
        return kind(layer_param)
    except Exception as error:
        if kind.passes_errors_on and not isinstance(error, CaffeError):
            raise
        named = as_caffe_error(error, f"layer '{layer_param.name}' ({layer_param.type})")
        if named is error:
            raise
        raise named from error
