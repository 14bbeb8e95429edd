"""The solvers by the names that pycaffe, and `type` in a solver's text, have for them."""

from __future__ import annotations

from ..errors import NetError, did_you_mean
from ..net.construction import NamingSource
from ..paths import PathLike
from ..proto.caffe_pb2 import SolverParameter
from . import settings
from .solver import Solver


class SGDSolver(Solver):
    """Stochastic gradient descent with momentum."""

    method_name = "SGD"

    @property
    def lr(self) -> float:
        """The learning rate of the last step."""
        return self._last_rate


class NesterovSolver(SGDSolver):
    """Nesterov's accelerated gradient."""

    method_name = "Nesterov"


class AdaGradSolver(SGDSolver):
    """AdaGrad (Duchi et al., 2011)."""

    method_name = "AdaGrad"


class RMSPropSolver(SGDSolver):
    """RMSProp (Tieleman and Hinton, 2012)."""

    method_name = "RMSProp"


class AdaDeltaSolver(SGDSolver):
    """AdaDelta (Zeiler, 2012)."""

    method_name = "AdaDelta"


class AdamSolver(SGDSolver):
    """Adam (Kingma and Ba, 2015)."""

    method_name = "Adam"


class AdamWSolver(SGDSolver):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019)."""

    method_name = "AdamW"


SOLVERS: dict[str, type[Solver]] = {
    kind.method_name: kind
    for kind in (
        SGDSolver,
        NesterovSolver,
        AdaGradSolver,
        RMSPropSolver,
        AdaDeltaSolver,
        AdamSolver,
        AdamWSolver,
    )
}


def get_solver(solver_file: PathLike | SolverParameter) -> Solver:
    """Return the solver that a solver's text asks for in `type`.

    Raises
    ------
    NetError
        There is no such type, or the settings do not fit together.
    """
    source, param = settings.read_settings(solver_file)
    with NamingSource(source):
        if param.type not in SOLVERS:
            hint = did_you_mean(param.type, SOLVERS)
            raise NetError(
                f"unknown solver type '{param.type}'{hint and '; '}{hint} (known are "
                f"{', '.join(SOLVERS)})",
                word=param.type,
            )
        # Read once alone, so that it is told of once.
        return SOLVERS[param.type](param)
