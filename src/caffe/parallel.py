"""pycaffe's names for training in several processes at once, which Recaffe does not do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

from .errors import CaffeError
from .guarded import guarded


@dataclass
class _Settings:
    solver_count: int = 1
    solver_rank: int = 0
    multiprocess: bool = False


_settings = _Settings()


def solver_count() -> int:
    """Return how many solvers train together: 1 unless `set_solver_count` said otherwise."""
    return _settings.solver_count


@guarded
def set_solver_count(count: int) -> None:
    """Keep the number of solvers that train together; nothing here acts on it."""
    _settings.solver_count = int(count)


def solver_rank() -> int:
    """Return which of the solvers this is, counted from 0."""
    return _settings.solver_rank


@guarded
def set_solver_rank(rank: int) -> None:
    """Keep which of the solvers this is; nothing here acts on it."""
    _settings.solver_rank = int(rank)


def set_multiprocess(multiprocess: bool) -> None:
    """Keep whether each solver has a process of its own; nothing here acts on it."""
    _settings.multiprocess = bool(multiprocess)


def has_nccl() -> bool:
    """Tell whether solvers can train together over NCCL: no."""
    return False


class NCCL:
    """What joined the solvers of several GPUs; here it only says that it is missing.

    Raises
    ------
    CaffeError
        Always.
    """

    def __init__(self, *arguments: Any) -> None:
        _refuse()

    @staticmethod
    def new_uid() -> NoReturn:
        """Say that NCCL is missing."""
        _refuse()


def _refuse() -> NoReturn:
    raise CaffeError(
        "Recaffe trains on one device and has no NCCL; ask caffe.has_nccl() first, and train "
        "with a single solver"
    )
