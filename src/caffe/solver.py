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

    @property
    def net(self) -> NoReturn:
        """The net that is trained."""
        _refuse("Solver.net")

    @property
    def test_nets(self) -> NoReturn:
        """The nets that test what has been learned."""
        _refuse("Solver.test_nets")

    @property
    def iter(self) -> NoReturn:
        """How many steps have been done."""
        _refuse("Solver.iter")

    @property
    def param(self) -> NoReturn:
        """The solver's text, a SolverParameter."""
        _refuse("Solver.param")

    def add_callback(self, on_start: Any = None, on_gradients_ready: Any = None) -> None:
        """Let functions be called at a step's start, and when its gradients are there."""
        _refuse("Solver.add_callback")

    def step(self, iterations: int) -> None:
        """Do so many steps."""
        _refuse("Solver.step")

    def solve(self, resume_file: PathLike | None = None) -> None:
        """Do all steps, from a snapshot on where one is given."""
        _refuse("Solver.solve")

    def restore(self, state_file: PathLike) -> None:
        """Go back to a snapshot."""
        _refuse("Solver.restore")

    def snapshot(self) -> None:
        """Write a snapshot."""
        _refuse("Solver.snapshot")

    def share_weights(self, net: Any) -> None:
        """Let a net use the parameters that are learned."""
        _refuse("Solver.share_weights")

    def apply_update(self) -> None:
        """Change the parameters by their gradients."""
        _refuse("Solver.apply_update")


class SGDSolver(Solver):
    """Stochastic gradient descent with momentum."""

    @property
    def lr(self) -> NoReturn:
        """The learning rate of the last step."""
        _refuse("SGDSolver.lr")


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
