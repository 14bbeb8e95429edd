"""Where the names that people import from the package are made: the one table of them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container
    from typing import Any

HOMES = {
    "AdaDeltaSolver": "solver",
    "AdaGradSolver": "solver",
    "AdamSolver": "solver",
    "Blob": "memory.blob",
    "BlobVec": "vectors",
    "BoolVec": "vectors",
    "Classifier": "classifier",
    "Detector": "detector",
    "DtypeVec": "vectors",
    "IntVec": "vectors",
    "Layer": "layers.python",
    "LayerParameter": "proto.caffe_pb2",
    "LayerVec": "vectors",
    "NCCL": "solver.communication",
    "NesterovSolver": "solver",
    "Net": "net.net",
    "NetSpec": "net_spec",
    "NetVec": "vectors",
    "RMSPropSolver": "solver",
    "RawBlobVec": "vectors",
    "SGDSolver": "solver",
    "Solver": "solver",
    "SolverParameter": "proto.caffe_pb2",
    "StringVec": "vectors",
    "Timer": "timer",
    "get_solver": "solver",
    "has_nccl": "solver.communication",
    "init_log": "logs",
    "layer_type_list": "layers.registry",
    "log": "logs",
    "params": "net_spec",
    "set_device": "mode",
    "set_engine": "mode",
    "set_mode_cpu": "mode",
    "set_mode_gpu": "mode",
    "set_multiprocess": "parallel",
    "set_precision": "mode",
    "set_random_seed": "mode",
    "set_solver_count": "parallel",
    "set_solver_rank": "parallel",
    "solver_count": "parallel",
    "solver_rank": "parallel",
    "to_proto": "net_spec",
}
"""By name the module that has it."""

MODULES = {
    **{
        name: name
        for name in (
            "_caffe",
            "attribution",
            "bulk",
            "classifier",
            "coord_map",
            "detect",
            "detector",
            "draw",
            "export",
            "imports",
            "io",
            "layers",
            "net_spec",
            "proto",
            "pycaffe",
            "solver",
            "vis",
            "zoo",
        )
    },
    "outline": "structure.outline",
    "summary": "structure.summary",
}
"""By name the module that is known under it; two of them stand in a room."""


IMPORTED = {
    "OrderedDict": "collections:OrderedDict",
    "caffe": "caffe",
    "division": "__future__:division",
    "izip_longest": "itertools:zip_longest",
    "np": "numpy",
    "os": "os",
    "protobuf": "google.protobuf",
    "six": "six",
}
"""What pycaffe's modules have only as they import it, for programs that reach it through them."""


def imported(module: str, name: str, names: Container[str]) -> Any:
    """Return what pycaffe's module imports under a name.

    Parameters
    ----------
    module : str
        The module that is asked.
    name : str
        What it is asked for.
    names : container of str
        Those of `IMPORTED` that it has.

    Raises
    ------
    AttributeError
        It is none of these.
    """
    from pkgutil import resolve_name

    if name not in names:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    return resolve_name(IMPORTED[name])


def find(namespace: dict[str, Any], name: str, known: Container[str]) -> Any:
    """Import what a module hands out under a name, and keep it in the module (PEP 562).

    Parameters
    ----------
    namespace : dict
        The module's globals.
    name : str
        What is asked for.
    known : container of str
        The names that the module hands out.

    Raises
    ------
    AttributeError
        It is none of these.
    """
    import importlib

    if name not in known:
        raise AttributeError(f"module {namespace['__name__']!r} has no attribute {name!r}")
    if name in MODULES:
        found: Any = importlib.import_module(f".{MODULES[name]}", __package__)
    else:
        found = getattr(importlib.import_module(f".{HOMES[name]}", __package__), name)
    namespace[name] = found
    return found
