"""How many solvers train together, each in a process of its own, and which this one is."""

from __future__ import annotations

from dataclasses import dataclass

from .guarded import guarded


@dataclass
class _Settings:
    solver_count: int = 1
    solver_rank: int = 0
    multiprocess: bool = False
    order_seed: int | None = None


_settings = _Settings()


def solver_count() -> int:
    """Return how many solvers train together: 1 unless `set_solver_count` said otherwise."""
    return _settings.solver_count


@guarded
def set_solver_count(count: int) -> None:
    """Set how many solvers train together: each reads every so-manieth record."""
    _settings.solver_count = int(count)


def solver_rank() -> int:
    """Return which of the solvers this is, counted from 0."""
    return _settings.solver_rank


@guarded
def set_solver_rank(rank: int) -> None:
    """Set which of the solvers this is, from 0 on: the first tests, and keeps snapshots."""
    _settings.solver_rank = int(rank)


def order_seed() -> int | None:
    """Return the seed by which all solvers shuffle alike; None where nobody has set one."""
    return _settings.order_seed


def set_order_seed(seed: int) -> None:
    """Let all solvers shuffle by this seed, so that each reads other records."""
    _settings.order_seed = int(seed)


def set_multiprocess(multiprocess: bool) -> None:
    """Keep whether each solver has a process of its own; nothing here acts on it."""
    _settings.multiprocess = bool(multiprocess)
