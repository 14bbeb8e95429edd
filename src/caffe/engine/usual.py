"""What runs a net quickly where nobody waits to find out what is the quickest."""

from __future__ import annotations

from .. import mode
from ..compiled import llvm
from ..pytorch import torch
from .backends.openvino import OpenVINO


def quick_engine() -> str:
    """Return an engine that is mostly the quickest here for this thread's nets, once it is ready.

    Preparing it takes half a second of CPU time, or less where its kernels have been compiled
    before.
    """
    if mode.current_store() is not None:
        return "torch"
    compiled = {torch.float32: bool(llvm.width()), torch.bfloat16: llvm.has_short_numbers()}
    if compiled.get(mode.precision()):
        return "llvm"
    return "openvino" if OpenVINO.is_installed() else "torch"
