"""The names of pycaffe's own module, for programs that import from ``caffe.pycaffe``."""

from __future__ import annotations

# Programs reach the compiled module through this one, too.
from . import _caffe as _caffe
from . import homes

TYPE_CHECKING = False
if TYPE_CHECKING:
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


def __getattr__(name: str) -> Any:
    return homes.find(globals(), name, _LAZY)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
