"""How many threads compute, and what OpenMP is told, before it is loaded, of how they wait."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

BRIEF = {"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "0"}
"""What lets threads sleep soon, whichever OpenMP PyTorch has: GNU's after some 20 us, LLVM's and
Intel's at once."""
WAITING = (*BRIEF, "OMP_WAIT_POLICY", "KMP_LIBRARY")
"""By what a person says how threads wait, whosever they are."""
COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""By what a person says how many there are."""


class _Settings:
    count: int | None = None
    """How many threads were asked for."""


def prepare(root: str = "/") -> None:
    """Say to an OpenMP that is not loaded yet how its threads are to wait, if nobody else has.

    Nothing is said to GNU's where `caffe.waiting` can see to it; of a small part of a machine's
    CPUs it cannot.

    Parameters
    ----------
    root : str
        See `usable_cpus`.
    """
    if "torch" in sys.modules or any(name in os.environ for name in WAITING):
        return
    os.environ["KMP_BLOCKTIME"] = BRIEF["KMP_BLOCKTIME"]
    is_part = 2 * usable_cpus(root) < _reachable_cpus()
    if is_part or times_of(root, "proc/self") is None:
        os.environ["GOMP_SPINCOUNT"] = BRIEF["GOMP_SPINCOUNT"]


def times_of(root: str, thread: str) -> tuple[int, int] | None:
    """For how many nanoseconds a thread has run, and waited for a CPU; None if nobody counts."""
    numbers = words_of(root, f"{thread}/schedstat")
    if len(numbers) != 3 or numbers[0] == "0":
        return None
    return int(numbers[0]), int(numbers[1])


def compute_by(count: int) -> None:
    """Compute by so many threads from now on.

    Parameters
    ----------
    count : int
        How many; at least 1.
    """
    _Settings.count = count
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(count)


def fit(torch: ModuleType, root: str = "/") -> None:
    """Give PyTorch, which has just been loaded, as many threads as were asked for, or as fit.

    By itself it takes one for each CPU, or for each core, that this process may run on. In a
    container that is given a part of the machine these are far too many. Their number is only
    lowered, and only where it is the one that PyTorch has chosen.

    Parameters
    ----------
    torch : module
        PyTorch.
    root : str
        See `usable_cpus`.
    """
    if _Settings.count is not None:
        torch.set_num_threads(_Settings.count)
    elif not any(name in os.environ for name in COUNTS):
        reachable, usable = _reachable_cpus(), usable_cpus(root)
        # Two CPUs may be one core's.
        if usable < torch.get_num_threads() in (reachable, reachable // 2):
            torch.set_num_threads(usable)


def compute_alone() -> None:
    """Compute by one thread, in a process whose parent has the others."""
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)


def shared_among(processes: int) -> dict[str, str]:
    """What the environment of processes that compute at once has to say, for each its part."""
    if any(name in os.environ for name in COUNTS):
        return {}
    return {"OMP_NUM_THREADS": str(max(1, allowed() // processes))}


def allowed() -> int:
    """How many threads are to work at once: as many as were asked for, or CPUs that are usable."""
    return _Settings.count or usable_cpus()


def usable_cpus(root: str = "/") -> int:
    """How many CPUs' time this process may use.

    Parameters
    ----------
    root : str
        Below which folder Linux's ``proc`` and ``sys`` are.

    Examples
    --------
    >>> usable_cpus() >= 1
    True
    """
    quotas = [quota for quota in _quotas(root) if quota > 0]
    # Of one and a half CPUs two threads make more than one does.
    return max(1, min([_reachable_cpus(), *(int(-(-quota // 1)) for quota in quotas)]))


def _reachable_cpus() -> int:
    """How many CPUs the process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quotas(root: str) -> Iterator[float]:
    """How many CPUs' time each of the control groups grants that this process is in (Linux)."""
    for line in words_of(root, "proc/self/cgroup", "\n"):
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        below = "sys/fs/cgroup"
        if controllers:
            if "cpu" not in controllers.split(","):
                continue
            below += "/cpu"
        # In a container the path may be one of the machine outside, whose groups are not seen.
        parts = [part for part in path.split("/") if part]
        for end in range(len(parts), -1, -1):
            group = "/".join((below, *parts[:end]))
            if controllers:
                quota = words_of(root, f"{group}/cpu.cfs_quota_us")
                numbers = quota + words_of(root, f"{group}/cpu.cfs_period_us")
            else:
                numbers = words_of(root, f"{group}/cpu.max")
            if len(numbers) == 2 and numbers[0].isdecimal() and int(numbers[1]):
                yield int(numbers[0]) / int(numbers[1])


def words_of(root: str, name: str, between: str | None = None) -> list[str]:
    """A small file's words; none where there is no such file."""
    try:
        with open(os.path.join(root, name), encoding="utf-8") as stream:
            return stream.read().split(between)
    except OSError:
        return []
