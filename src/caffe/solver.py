"""pycaffe's solvers; their names are here, training itself is still to come."""

from __future__ import annotations

from typing import Any, NoReturn

from .errors import CaffeError
from .paths import PathLike


class Solver:
    """What trains a net as a solver's text says.

    Raises
    ------
    CaffeError
        Always: this version cannot train yet.
    """

    def __init__(self, solver_file: PathLike, *arguments: Any) -> None:
        _refuse(type(self).__name__)


class SGDSolver(Solver):
    """Stochastic gradient descent with momentum."""


class NesterovSolver(SGDSolver):
    """Nesterov's accelerated gradient."""


class AdaGradSolver(SGDSolver):
    """AdaGrad (Duchi et al., 2011)."""


class RMSPropSolver(SGDSolver):
    """RMSProp (Tieleman and Hinton, 2012)."""


class AdaDeltaSolver(SGDSolver):
    """AdaDelta (Zeiler, 2012)."""


class AdamSolver(SGDSolver):
    """Adam (Kingma and Ba, 2015)."""


def get_solver(solver_file: PathLike) -> Solver:
    """Return the solver that a solver's text asks for in `type`.

    Raises
    ------
    CaffeError
        Always: this version cannot train yet.
    """
    _refuse("get_solver")


def _refuse(what: str) -> NoReturn:
    raise CaffeError(
        f"caffe.{what}: this version of Recaffe does not train yet; nets run forward and "
        "backward with caffe.Net"
    )
