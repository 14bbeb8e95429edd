"""The names of pycaffe's own module, for programs that import from ``caffe.pycaffe``."""

from __future__ import annotations

from typing import Any

from . import _caffe

_NAMES = (
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

__all__ = [*_NAMES]


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_caffe, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})
