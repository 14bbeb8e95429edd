"""Training: the solvers, which step a net towards a smaller loss.

- ``methods``: how gradients and their history become updates; one small class each.
- ``rates``: how the learning rate falls; ``local_rates``: each parameter's own.
- ``settings``: what a solver's text asks for, and what of it cannot be.
- ``solver``: the loop of steps, tests and snapshots; ``types``: the classes by their names.
- ``testing``: what tests come to; ``average_precision`` of detections; ``monitor``: the best test.
- ``rate_search``: which learning rate to begin with.
- ``snapshots``: the files from which a solver goes on; ``sidecar``: what the original's lose.
"""

from __future__ import annotations

from . import rate_search
from .solver import Solver
from .types import (
    AdaDeltaSolver,
    AdaGradSolver,
    AdamSolver,
    AdamWSolver,
    NesterovSolver,
    RMSPropSolver,
    SGDSolver,
    get_solver,
)

__all__ = [
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "AdamWSolver",
    "NesterovSolver",
    "RMSPropSolver",
    "SGDSolver",
    "Solver",
    "get_solver",
    "rate_search",
]
