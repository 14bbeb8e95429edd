"""In what and by what a plan computes."""

from __future__ import annotations

from dataclasses import dataclass

from ... import mode
from ...memory.stores import Store
from ...pytorch import torch


@dataclass(frozen=True)
class Settings:
    """What the calling thread has chosen, as far as a plan depends on it.

    Attributes
    ----------
    precision : torch.dtype
        What is computed in; blobs are float32 all the same.
    store : Store or None
        Where it is computed; on the CPU where there is none.
    engine : {"auto", "torch", "onednn", "openvino", "onnxruntime", "mnn"}
        As `caffe.set_engine` takes it.
    picture_layout : torch.memory_format
        The order in which pictures lie in memory.
    allows_tf32 : bool
        Whether a GPU may round the factors of float32's products to 10 bits.
    tries : bool
        Whether ways of computing may be chosen by their time.
    """

    precision: torch.dtype
    store: Store | None
    engine: str
    picture_layout: torch.memory_format
    allows_tf32: bool = False
    tries: bool = True

    @classmethod
    def current(cls, store: Store | None) -> Settings:
        """Return the calling thread's."""
        precision = mode.precision()
        layout = _picture_layout(precision, store)
        return cls(precision, store, mode.engine(), layout, mode.allows_tf32())


def _picture_layout(precision: torch.dtype, store: Store | None) -> torch.memory_format:
    """Channels last suit the CPU's kernels, and a GPU's that compute in short numbers.

    cuDNN's float32 kernels are made for channels first.
    """
    is_cuda = store is not None and store.device.type == "cuda"
    if is_cuda and precision == torch.float32 and not mode.allows_tf32():
        return torch.contiguous_format
    return torch.channels_last
