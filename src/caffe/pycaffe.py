"""The names of pycaffe's own module, for programs that import from ``caffe.pycaffe``."""

from __future__ import annotations

from typing import Any

from . import _caffe

__all__ = [
    "NCCL",
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "NesterovSolver",
    "Net",
    "RMSPropSolver",
    "SGDSolver",
    "Timer",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_caffe, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
