"""Caffe for today's Python: load, run and train Caffe nets with ``import caffe``.

The names are pycaffe's. They are imported when first used, so that ``import caffe`` itself
costs nothing and PyTorch is loaded only by what computes.
"""

from __future__ import annotations

from . import homes, threads
from .errors import (
    ArgumentError,
    CaffeError,
    CaffeWarning,
    DeviceError,
    FetchError,
    ImageError,
    MissingExtraError,
    MissingFileError,
    MissingImageError,
    NetError,
    ParseError,
    ShapeError,
    TrainingError,
    WeightsError,
    WriteError,
)
from .phases import TEST, TRAIN
from .version import __version__

# As typing has it, whose import would take longer than all else that `import caffe` does; the
# modules that are imported above do likewise.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from . import (
        attribution,
        coord_map,
        detect,
        draw,
        export,
        imports,
        io,
        layers,
        net_spec,
        proto,
        zoo,
    )
    from . import solver as solver
    from . import vis as vis
    from .classifier import Classifier
    from .detector import Detector
    from .layers.python import Layer
    from .layers.registry import layer_type_list
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
    from .solver.communication import NCCL, has_nccl
    from .structure import summary
    from .timer import Timer

__all__ = [
    "NCCL",
    "TEST",
    "TRAIN",
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "ArgumentError",
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
    "MissingFileError",
    "MissingImageError",
    "NesterovSolver",
    "Net",
    "NetError",
    "NetSpec",
    "ParseError",
    "RMSPropSolver",
    "SGDSolver",
    "ShapeError",
    "Timer",
    "TrainingError",
    "WeightsError",
    "WriteError",
    "__version__",
    "attribution",
    "coord_map",
    "detect",
    "draw",
    "export",
    "get_solver",
    "has_nccl",
    "imports",
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


# Before anybody loads PyTorch.
threads.prepare()

_LAZY = {*__all__, *homes.MODULES} - {*globals()}


def __getattr__(name: str) -> Any:
    return homes.find(globals(), name, _LAZY)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
