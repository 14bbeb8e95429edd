"""The names of pycaffe's own module, for programs that import from ``caffe.pycaffe``."""

from __future__ import annotations

# Programs reach the compiled module through this one, too.
from . import _caffe as _caffe
from . import homes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

_LAZY = (
    "NCCL",
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "NesterovSolver",
    "Net",
    "RMSPropSolver",
    "SGDSolver",
    "Timer",
)

__all__ = [*_LAZY]


_OF_NET = {
    **{f"_Net_{name}": name for name in ("backward", "blob_loss_weights", "blobs", "forward")},
    **{f"_Net_{name}": name for name in ("forward_all", "forward_backward_all", "inputs")},
    **{f"_Net_{name}": name for name in ("layer_dict", "outputs", "params", "set_input_arrays")},
    "_Net_batch": "_batch",
}
"""What the original puts onto the class from here, and its name there."""

_IMPORTED = ("OrderedDict", "caffe", "izip_longest", "np", "six")


def _Net_get_id_name(func: Callable[[Any, int], Sequence[int]], field: str) -> property:
    """Return a property of nets: by each layer's name the names of the blobs that `func` numbers.

    Parameters
    ----------
    func : callable
        Takes a net and a layer's number.
    field : str
        The net's attribute in which it is kept.
    """

    def names(net: Any) -> dict[str, list[str]]:
        found: dict[str, list[str]] | None = vars(net).get(field)
        if found is None:
            found = {
                layer: [net._blob_names[blob] for blob in func(net, number)]
                for number, layer in enumerate(net._layer_names)
            }
            setattr(net, field, found)
        return found

    return property(names)


def __getattr__(name: str) -> Any:
    if name in _OF_NET:
        return getattr(homes.find(globals(), "Net", _LAZY), _OF_NET[name])
    if name in _IMPORTED:
        return homes.imported(__name__, name, _IMPORTED)
    return homes.find(globals(), name, _LAZY)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
