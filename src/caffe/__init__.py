"""Caffe for today's Python: load, run and train Caffe nets with ``import caffe``.

The names are pycaffe's. They are imported when first used, so that ``import caffe`` itself
costs nothing and PyTorch is loaded only by what computes.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .errors import (
    CaffeError,
    CaffeWarning,
    DeviceError,
    FetchError,
    ImageError,
    MissingExtraError,
    NetError,
    ParseError,
    ShapeError,
    WeightsError,
    WriteError,
)
from .version import __version__

if TYPE_CHECKING:
    from . import attribution, coord_map, draw, io, layers, net_spec, proto, zoo
    from . import vis as vis
    from .classifier import Classifier
    from .detector import Detector
    from .layers.layer import layer_type_list
    from .layers.python import Layer
    from .logs import init_log, log
    from .memory.blob import Blob
    from .mode import (
        set_device,
        set_engine,
        set_mode_cpu,
        set_mode_gpu,
        set_precision,
        set_random_seed,
    )
    from .net.net import Net
    from .net_spec import NetSpec, params, to_proto
    from .parallel import (
        NCCL,
        has_nccl,
        set_multiprocess,
        set_solver_count,
        set_solver_rank,
        solver_count,
        solver_rank,
    )
    from .solver import (
        AdaDeltaSolver,
        AdaGradSolver,
        AdamSolver,
        NesterovSolver,
        RMSPropSolver,
        SGDSolver,
        get_solver,
    )
    from .structure import summary
    from .timer import Timer

TRAIN, TEST = 0, 1

_HOMES = {
    "memory.blob": ("Blob",),
    "classifier": ("Classifier",),
    "detector": ("Detector",),
    "layers.layer": ("layer_type_list",),
    "layers.python": ("Layer",),
    "logs": ("init_log", "log"),
    "mode": (
        "set_device",
        "set_engine",
        "set_mode_cpu",
        "set_mode_gpu",
        "set_precision",
        "set_random_seed",
    ),
    "net.net": ("Net",),
    "net_spec": ("NetSpec", "params", "to_proto"),
    "parallel": (
        "NCCL",
        "has_nccl",
        "set_multiprocess",
        "set_solver_count",
        "set_solver_rank",
        "solver_count",
        "solver_rank",
    ),
    "solver": (
        "AdaDeltaSolver",
        "AdaGradSolver",
        "AdamSolver",
        "NesterovSolver",
        "RMSPropSolver",
        "SGDSolver",
        "get_solver",
    ),
    "timer": ("Timer",),
}
_MODULES = (
    "attribution",
    "classifier",
    "coord_map",
    "detect",
    "detector",
    "draw",
    "io",
    "layers",
    "net_spec",
    "proto",
    "pycaffe",
    "vis",
    "zoo",
)
# Modules that stand in a room, but are known under the package's own name.
_ROOMS = {"summary": "structure.summary", "outline": "structure.outline"}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "NCCL",
    "TEST",
    "TRAIN",
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "Blob",
    "CaffeError",
    "CaffeWarning",
    "Classifier",
    "Detector",
    "DeviceError",
    "FetchError",
    "ImageError",
    "Layer",
    "MissingExtraError",
    "NesterovSolver",
    "Net",
    "NetError",
    "NetSpec",
    "ParseError",
    "RMSPropSolver",
    "SGDSolver",
    "ShapeError",
    "Timer",
    "WeightsError",
    "WriteError",
    "__version__",
    "attribution",
    "coord_map",
    "detect",
    "draw",
    "get_solver",
    "has_nccl",
    "init_log",
    "io",
    "layer_type_list",
    "layers",
    "log",
    "net_spec",
    "params",
    "proto",
    "set_device",
    "set_engine",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_multiprocess",
    "set_precision",
    "set_random_seed",
    "set_solver_count",
    "set_solver_rank",
    "solver_count",
    "solver_rank",
    "summary",
    "to_proto",
    "zoo",
]


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        value = getattr(importlib.import_module(f".{_HOME_OF[name]}", __name__), name)
    elif name in _MODULES or name in _ROOMS:
        value = importlib.import_module(f".{_ROOMS.get(name, name)}", __name__)
    else:
        raise AttributeError(f"module 'caffe' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF, *_MODULES, *_ROOMS})
