"""The names of pycaffe's compiled module, for programs that import from ``caffe._caffe``."""

from __future__ import annotations

from . import homes
from .version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LAZY = (
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "Blob",
    "BlobVec",
    "BoolVec",
    "DtypeVec",
    "IntVec",
    "Layer",
    "LayerParameter",
    "LayerVec",
    "NCCL",
    "NesterovSolver",
    "Net",
    "NetVec",
    "RMSPropSolver",
    "RawBlobVec",
    "SGDSolver",
    "Solver",
    "SolverParameter",
    "StringVec",
    "Timer",
    "get_solver",
    "has_nccl",
    "init_log",
    "layer_type_list",
    "log",
    "set_device",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_multiprocess",
    "set_random_seed",
    "set_solver_count",
    "set_solver_rank",
    "solver_count",
    "solver_rank",
)

__all__ = ["__version__", *_LAZY]


def __getattr__(name: str) -> Any:
    return homes.find(globals(), name, _LAZY)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
