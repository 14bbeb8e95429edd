"""Timer: how long work took, the GPU's work included."""

from __future__ import annotations

import time

from . import mode


class Timer:
    """A stopwatch in milliseconds, as pycaffe's ``caffe.Timer``.

    In GPU mode it waits for the work that the GPU has been given, so that the time is that of
    the computation.

    Examples
    --------
    >>> timer = Timer()
    >>> timer.start()
    >>> timer.stop()
    >>> timer.ms >= 0
    True
    """

    def __init__(self) -> None:
        self._started: float | None = None
        self._elapsed = 0.0

    def start(self) -> None:
        """Start from zero; a timer that runs already runs on."""
        if self._started is None:
            _wait_for_device()
            self._started = time.perf_counter()

    def stop(self) -> None:
        """Stop; a timer that does not run keeps its time."""
        if self._started is not None:
            _wait_for_device()
            self._elapsed = time.perf_counter() - self._started
            self._started = None

    @property
    def ms(self) -> float:
        """Milliseconds between the last start and stop; a running timer is stopped."""
        self.stop()
        return self._elapsed * 1000


def _wait_for_device() -> None:
    store = mode.current_store()
    if store is not None and store.device.type != "cpu":
        from .pytorch import torch

        torch.accelerator.synchronize(store.device)
