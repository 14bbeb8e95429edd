"""The second places for arrays, beside the CPU: the memory of one accelerator."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..processes import in_forked_child
from ..pytorch import torch
from .staging import staging

if TYPE_CHECKING:
    from torch import Tensor


T = TypeVar("T")

LEAD = 2_000_000
"""For how many of its cycles a GPU waits, about a millisecond, before its work is timed."""


LEAST_PINNED = 2**18
"""From how many numbers on memory is pinned for an input: a megabyte."""


class Store(Protocol):
    """A second place for arrays, beside the CPU."""

    @property
    def device(self) -> torch.device:
        """Where the store's tensors live, as PyTorch names it."""
        ...

    def upload(self, array: Tensor) -> Tensor:
        """Copy a CPU tensor into this store."""
        ...

    def to_send(self, array: Tensor) -> Tensor:
        """Return a CPU tensor's values where they can be sent from without another copy."""
        ...

    def send(self, values: NDArray[np.uint8]) -> Tensor:
        """Copy bytes, which may change afterwards, into this store; threads may do so at once."""
        ...

    def download(self, array: Tensor) -> Tensor:
        """Copy a tensor of this store into a new CPU tensor."""
        ...

    def fetch(self, array: Tensor) -> Callable[[], Tensor]:
        """Begin to copy a tensor of this store; what is returned waits for that, and no more."""
        ...

    def wait(self) -> None:
        """Wait until this store has computed all that it was given."""
        ...

    def seconds(self, function: Callable[[], object], times: int) -> float:
        """Return how long the store's own work takes of a function that is called so often."""
        ...

    def give_back(self) -> None:
        """Return to the system what was kept of this store for later, and nobody has now."""
        ...

    def record(
        self, function: Callable[[], Sequence[Tensor]], tries: bool = True
    ) -> Recording | None:
        """Run `function` so that it can be run again by one call; None if that is not known.

        It may run several times meanwhile, the last of them being what is recorded; it must read
        and write this store's tensors only, and ask for no value of theirs.

        Parameters
        ----------
        function : callable
            What is recorded; it returns tensors that are to be kept.
        tries : bool
            Whether kernels may be chosen by their time.
        """
        ...

    def has_room(self, count: int) -> bool:
        """Tell whether so many bytes more would find room."""
        ...


@dataclass
class Recording:
    """What a function computed, and how to have it computed again.

    Attributes
    ----------
    results : sequence of Tensor
        What it returned; each replay overwrites them.
    replay : callable
        Does again what the function did, with the same tensors.
    """

    results: Sequence[Tensor]
    replay: Callable[[], object]


@dataclass(frozen=True)
class DeviceStore:
    """The memory of one accelerator."""

    device: torch.device

    def upload(self, array: Tensor) -> Tensor:
        if self.device.type != "cuda":
            return array.to(self.device, copy=True)
        if torch.cuda.is_current_stream_capturing():
            # It would send again, each time, what lies there then.
            raise RuntimeError("a recording takes nothing from the CPU's memory")
        if array.is_pinned():
            # Whose memory it is may write there once this returns.
            return array.to(self.device, copy=True)
        # Pinned memory is sent while this thread goes on, and PyTorch keeps it until it is sent.
        return array.pin_memory().to(self.device, non_blocking=True)

    def to_send(self, array: Tensor) -> Tensor:
        if self.device.type != "cuda" or array.numel() < LEAST_PINNED or array.is_pinned():
            return array
        return array.pin_memory()

    def send(self, values: NDArray[np.uint8]) -> Tensor:
        if self.device.type != "cuda":
            return torch.from_numpy(values.copy()).to(self.device)
        return staging(self.device).send(values)

    def download(self, array: Tensor) -> Tensor:
        return array.to("cpu", copy=True)

    def fetch(self, array: Tensor) -> Callable[[], Tensor]:
        if self.device.type != "cuda":
            return lambda: self.download(array)
        copied = torch.empty(array.shape, dtype=array.dtype, pin_memory=True)
        copied.copy_(array, non_blocking=True)
        done = torch.cuda.Event()
        done.record(torch.cuda.current_stream(self.device))

        def wait() -> Tensor:
            done.synchronize()
            return copied

        return wait

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def seconds(self, function: Callable[[], object], times: int) -> float:
        if self.device.type != "cuda":
            return seconds_by_clock(self, function, times)
        with torch.cuda.device(self.device):
            begun, ended = (torch.cuda.Event(enable_timing=True) for _ in "12")
            # While it waits this thread gives it all the work, so that no launch is waited for.
            torch.cuda._sleep(LEAD)  # noqa: SLF001
            begun.record()
            for _ in range(times):
                function()
            ended.record()
            ended.synchronize()
            return float(begun.elapsed_time(ended)) / 1000 / times

    def give_back(self) -> None:
        if self.device.type != "cpu":
            torch.get_device_module(self.device).empty_cache()

    def record(
        self, function: Callable[[], Sequence[Tensor]], tries: bool = True
    ) -> Recording | None:
        if self.device.type != "cuda":
            return None
        with torch.cuda.device(self.device):
            current = torch.cuda.current_stream()
            if tries:
                graph, results = _trying.submit(self._recorded, function, current).result()
            else:
                graph, results = self._recorded(function, current)
            # Recording computes nothing.
            graph.replay()
        return Recording(results, graph.replay)

    def _recorded(
        self, function: Callable[[], Sequence[Tensor]], current: torch.cuda.Stream
    ) -> tuple[torch.cuda.CUDAGraph, Sequence[Tensor]]:
        """Record what follows the work of the stream `current`."""
        tried = tried_kernels() if tries_now() else nullcontext()
        # Where a recording fails PyTorch would leave this thread with the stream aside.
        with _recording, torch.cuda.device(self.device), torch.cuda.stream(current), tried:
            # Libraries prepare themselves, and convolutions choose kernels, before the recording,
            # which allows neither.
            aside = torch.cuda.Stream()
            aside.wait_stream(current)
            with torch.cuda.stream(aside):
                function()
            current.wait_stream(aside)
            graph = torch.cuda.CUDAGraph()
            # Other threads go on with the GPU meanwhile.
            with torch.cuda.graph(graph, stream=aside, capture_error_mode="thread_local"):
                results = function()
        return graph, results

    def has_room(self, count: int) -> bool:
        if self.device.type != "cuda":
            return False
        free, _ = torch.cuda.mem_get_info(self.device)
        # What PyTorch keeps of freed memory it gives back before a recording.
        kept = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        return count <= free + kept


class _Trying:
    """The thread in which ways are tried.

    cuDNN's choices are each thread's own: where it has guessed before it does not try. What it has
    compiled for a choice must last as long as the recordings that call it, so the thread stays.
    """

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        in_forked_child(self._forget)

    def _forget(self) -> None:
        self._pool = None

    def submit(self, function: Callable[..., T], *arguments: Any) -> Future[T]:
        """Let it call a function."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, "caffe trying")
        return self._pool.submit(self._call, function, arguments)

    @staticmethod
    def _call(function: Callable[..., T], arguments: tuple[Any, ...]) -> T:
        with trying():
            return function(*arguments)


_recording = threading.Lock()
"""PyTorch records one thing at a time in a process."""

_trying = _Trying()
_thread = threading.local()


@contextmanager
def trying() -> Iterator[None]:
    """Let what this thread computes be found out about, by trying: it will run often."""
    _thread.tries = True
    try:
        yield
    finally:
        _thread.tries = False


def tries_now() -> bool:
    """Whether what this thread computes may take its time, to find out about quicker ways."""
    return getattr(_thread, "tries", False)


def seconds_by_clock(store: Store, function: Callable[[], object], times: int) -> float:
    """Return the seconds of a call, of so many that follow each other, with their launches."""
    store.wait()
    began = time.perf_counter()
    for _ in range(times):
        function()
    store.wait()
    return (time.perf_counter() - began) / times


@contextmanager
def tried_kernels() -> Iterator[None]:
    """Let cuDNN choose convolutions' kernels by trying: a recording runs often.

    Not where the program wants the same bits each time.
    """
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark
    cudnn.benchmark = before or not (
        cudnn.deterministic or torch.are_deterministic_algorithms_enabled()
    )
    library = torch._C  # noqa: SLF001
    # After each search PyTorch would give all of its free memory back to the driver, slowly.
    keeping = getattr(library, "_cudnn_set_conv_benchmark_empty_cache", None)
    asked = getattr(library, "_cuda_get_conv_benchmark_empty_cache", None)
    gives_back = True if asked is None else asked()
    if keeping is not None:
        keeping(False)
    try:
        yield
    finally:
        cudnn.benchmark = before
        if keeping is not None:
            keeping(gives_back)
