"""What runs a net quickly where nobody waits to find out what is the quickest."""

from __future__ import annotations

from .. import mode
from ..compiled import llvm
from ..pytorch import torch
from .backends.openvino import OpenVINO

AVX512 = 16
"""How many float32 numbers its registers hold."""


def quick_engine() -> str:
    """Return an engine that is mostly the quickest here for this thread's nets, once it is ready.

    Preparing it takes half a second of CPU time. Kernels that are compiled here were held
    against the others on processors with AVX-512 only.
    """
    if mode.current_store() is not None:
        return "torch"
    compiled = {torch.float32: llvm.width() == AVX512, torch.bfloat16: llvm.has_short_numbers()}
    if compiled.get(mode.precision()):
        return "llvm"
    return "openvino" if OpenVINO.is_installed() else "torch"
