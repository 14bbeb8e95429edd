"""The names of pycaffe's compiled module, for programs that import from ``caffe._caffe``."""

from __future__ import annotations

import importlib
from typing import Any

from .version import __version__

_HOMES = {
    "AdaDeltaSolver": "solver",
    "AdaGradSolver": "solver",
    "AdamSolver": "solver",
    "Blob": "memory.blob",
    "BlobVec": "layers.python",
    "Layer": "layers.python",
    "LayerParameter": "proto.caffe_pb2",
    "NCCL": "parallel",
    "NesterovSolver": "solver",
    "Net": "net.net",
    "RMSPropSolver": "solver",
    "SGDSolver": "solver",
    "Solver": "solver",
    "SolverParameter": "proto.caffe_pb2",
    "Timer": "timer",
    "get_solver": "solver",
    "has_nccl": "parallel",
    "init_log": "logs",
    "layer_type_list": "layers.layer",
    "log": "logs",
    "set_device": "mode",
    "set_mode_cpu": "mode",
    "set_mode_gpu": "mode",
    "set_multiprocess": "parallel",
    "set_random_seed": "mode",
    "set_solver_count": "parallel",
    "set_solver_rank": "parallel",
    "solver_count": "parallel",
    "solver_rank": "parallel",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __package__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
