"""Solvers in several processes: one gradient, the mean of all of theirs."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .. import mode, parallel
from ..errors import ArgumentError, CaffeError
from ..guarded import memory_told
from ..pytorch import dist, torch

if TYPE_CHECKING:
    from .solver import Solver


def has_nccl() -> bool:
    """Tell whether solvers can train together: over NCCL on GPUs, over gloo on CPUs."""
    return dist.is_available()


class Together:
    """Lets each step of a solver use the mean of all solvers' gradients.

    For `Solver.add_callback`.

    Parameters
    ----------
    solver : Solver
        This process's own.
    """

    def __init__(self, solver: Solver) -> None:
        if not hasattr(solver, "net"):
            raise ArgumentError(f"a solver is needed, not {solver!r:.80}")
        self._solver = solver

    def bcast(self) -> None:
        """Let all solvers have the first one's parameters.

        Raises
        ------
        CaffeError
            Not all of them are there any more.
        """
        store = mode.current_store()
        with torch.no_grad(), _exchanging():
            for entry in self._solver.net.inside.parameters.learnable:
                dist.broadcast(entry.blob.mutable_data(store), 0)

    def on_start(self) -> None:
        """Do nothing; the original waits here."""

    def on_gradients_ready(self) -> None:
        """Let the gradients be the mean of all solvers'; raises as `bcast` does."""
        store = mode.current_store()
        learnable = self._solver.net.inside.parameters.learnable
        diffs = [entry.blob.mutable_diff(store) for entry in learnable]
        if not diffs:
            return
        # One message, not one for each parameter.
        with memory_told():
            whole = torch.cat([diff.reshape(-1) for diff in diffs])
        with _exchanging():
            dist.all_reduce(whole)
        whole.div_(dist.get_world_size())
        for diff, mean in zip(diffs, whole.split([d.numel() for d in diffs]), strict=True):
            diff.copy_(mean.view(diff.shape))

    def __call__(self, layer: int) -> None:
        """Do nothing for a single layer: all gradients are averaged at once."""


class NCCL(Together):
    """Joins a solver to those of other processes (pycaffe's NCCL; on CPUs gloo does the same).

    Parameters
    ----------
    solver : Solver
        This process's own. `caffe.set_solver_count` and `caffe.set_solver_rank` have said before
        how many there are and which this one is.
    uid : bytes
        What one process made with `new_uid`, and gave to the others.

    Raises
    ------
    CaffeError
        The others cannot be reached, or another has the same GPU.
    """

    def __init__(self, solver: Solver, uid: bytes | str) -> None:
        super().__init__(solver)
        if not dist.is_initialized():
            address = uid.decode() if isinstance(uid, bytes) else str(uid)
            _begin(address, parallel.solver_rank(), parallel.solver_count())

    @staticmethod
    def new_uid() -> bytes:
        """Return an address on this machine at which processes can meet."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            return f"tcp://127.0.0.1:{free.getsockname()[1]}".encode()


def join() -> bool:
    """Join the processes that ``torchrun``, or ``caffe train -gpu 0,1``, has started.

    They say by the environment who they are (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT).

    Returns
    -------
    bool
        Whether there are others.

    Raises
    ------
    CaffeError
        They cannot be reached, or another has the same GPU.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count < 2:
        return False
    rank = int(os.environ.get("RANK", "0"))
    parallel.set_solver_count(count)
    parallel.set_solver_rank(rank)
    parallel.set_multiprocess(True)
    if not dist.is_initialized():
        _begin("env://", rank, count)
    seed = torch.randint(2**62, (1,)).to(_device())
    with _exchanging():
        dist.broadcast(seed, 0)
    parallel.set_order_seed(int(seed))
    return True


def leave() -> None:
    """Part from the other processes, if there are any."""
    if _together():
        dist.destroy_process_group()


def _begin(address: str, rank: int, count: int) -> None:
    store = mode.current_store()
    on_gpu = store is not None and dist.is_nccl_available()
    backend = "nccl" if on_gpu else "gloo"
    try:
        from torch.distributed.rendezvous import rendezvous

        met, _, _ = next(rendezvous(address, rank, count))
        others = [] if store is None or not on_gpu else _with(met, rank, count, _gpu(store.device))
        if not others:
            dist.init_process_group(backend, store=met, rank=rank, world_size=count)
    except (RuntimeError, ValueError, OSError) as error:
        raise CaffeError(
            f"solver {rank} of {count} cannot reach the others at {address} by {backend}: {error}"
        ) from error
    if others:
        raise CaffeError(
            f"solvers {' and '.join(map(str, others))} have one GPU, and each needs its own: start "
            "no more of them on a machine than it has GPUs, and let each take its own, as with "
            "-gpu all or -gpu 0,1"
        )


def _gpu(device: torch.device) -> str:
    """What tells a GPU from all others, whatever number a process knows it by; empty if unknown."""
    return str(getattr(torch.cuda.get_device_properties(device), "uuid", ""))


def _with(met: Any, rank: int, count: int, gpu: str) -> list[int]:
    """Return the solvers that have one GPU, this one among them; none where each has its own.

    NCCL refuses that too, but only when something is sent, and by a text about itself.
    """
    met.set(f"gpu {rank}", gpu)
    gpus = [met.get(f"gpu {other}").decode() for other in range(count)]
    met.set(f"has read {rank}", "")
    if rank == 0:
        # The others read from this process.
        met.wait([f"has read {other}" for other in range(count)])
    shared = [other for other in range(count) if gpus[other] == gpu != ""]
    return shared if len(shared) > 1 else []


@contextmanager
def _exchanging() -> Iterator[None]:
    """Say, where numbers cannot be sent, what that means for people."""
    try:
        yield
    except CaffeError:
        raise
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        said = ": ".join(dict.fromkeys([*lines[:1], *lines[-1:]]))
        raise CaffeError(
            f"solver {dist.get_rank()} of {dist.get_world_size()} cannot go on without the others: "
            f"one of them has ended, or {dist.get_backend()} cannot send between them ({said})"
        ) from error


def _device() -> torch.device:
    """Where the processes' messages must lie: for NCCL on each one's own GPU."""
    store = mode.current_store()
    if store is None or dist.get_backend() != "nccl":
        return torch.device("cpu")
    return store.device


def _together() -> bool:
    """Tell whether this process trains with others; never where PyTorch cannot do that."""
    return dist.is_available() and dist.is_initialized()


def agreed(asked: int) -> int:
    """Return the largest of what all solvers ask for, so that all do the same."""
    if not _together():
        return asked
    most = torch.tensor([asked], device=_device())
    with _exchanging():
        dist.all_reduce(most, dist.ReduceOp.MAX)
    return int(most)


def mean_of(value: float) -> float:
    """Return the mean of what all solvers give."""
    if not _together():
        return value
    whole = torch.tensor([value], dtype=torch.float64, device=_device())
    with _exchanging():
        dist.all_reduce(whole)
    return float(whole) / dist.get_world_size()
