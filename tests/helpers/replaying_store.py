"""A second store that records as a GPU does: each operation again, on the same memory."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from caffe.memory.stores import Recording

from .second_store import CountingStore

aten = torch.ops.aten

NOT_RECORDED = {
    aten._local_scalar_dense.default: "asks for a value",
    aten.nonzero.default: "asks for a value",
    aten.lift_fresh.default: "brings a value from Python",
    aten.bernoulli_.float: "draws at random",
}


class ReplayingStore(CountingStore):
    """Notes PyTorch's operations with the tensors that they read and wrote; runs these again."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def upload(self, array: torch.Tensor) -> torch.Tensor:
        self._refuse()
        return super().upload(array)

    def download(self, array: torch.Tensor) -> torch.Tensor:
        self._refuse()
        return super().download(array)

    def record(
        self, function: Callable[[], Sequence[torch.Tensor]], tries: bool = True
    ) -> Recording:
        function()
        with _Log() as log:
            self._log: _Log | None = log
            try:
                results = function()
            finally:
                self._log = None
        self.operations = len(log.calls)

        def replay() -> None:
            self.replays += 1
            log.replay()

        replay()
        return Recording(results, replay)

    def _refuse(self) -> None:
        if getattr(self, "_log", None) is not None:
            raise RuntimeError("a recording moves nothing to the CPU or from there")


def _is_for_the_cpu() -> bool:
    """Whether this is asked by what runs on the CPU alone, where this store is, too."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code.co_filename.endswith("batch_statistics.py"):
            return True
    return False


class _Log(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in NOT_RECORDED and not _is_for_the_cpu():
            raise RuntimeError(f"{func} {NOT_RECORDED[func]} while a recording is made")
        result = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, result))
        return result

    @torch.no_grad()
    def replay(self) -> None:
        for func, args, kwargs, result in self.calls:
            again = func(*args, **kwargs)
            for before, after in zip(tree_leaves(result), tree_leaves(again), strict=True):
                if isinstance(before, torch.Tensor) and before.data_ptr() != after.data_ptr():
                    before.copy_(after)
