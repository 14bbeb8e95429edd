"""oneDNN's kernels as PyTorch has them: convolutions and products with packed or plain weights."""

from __future__ import annotations

import functools
import platform
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from .pytorch import torch

if TYPE_CHECKING:
    from torch import Tensor


def has_packed_operators() -> bool:
    """Tell whether PyTorch has oneDNN's packed operators."""
    return torch.backends.mkldnn.is_available() and hasattr(
        torch.ops.mkldnn, "_convolution_pointwise"
    )


@functools.cache
def multiplies_quicker() -> bool:
    """Tell whether its products are at least as quick as those of PyTorch's other library.

    On x86 that is MKL, whose products know no AVX-512 on other makers' processors than Intel's.
    """
    return has_packed_operators() and platform.machine().lower() in ("x86_64", "amd64")


@functools.cache
def has_long_vectors() -> bool:
    """Tell whether it has AVX-512, for which it has more kernels, of gradients above all."""
    return multiplies_quicker() and torch.backends.cpu.get_cpu_capability() == "AVX512"


@functools.cache
def joins_graphs() -> bool:
    """Tell whether PyTorch's TorchScript hands whole graphs to it; it ends with Python 3.13."""
    return (
        multiplies_quicker()
        and hasattr(torch.jit, "enable_onednn_fusion")
        and hasattr(torch._C, "_create_graph_by_tracing")
        and hasattr(torch._C, "_create_function_from_graph")
        and sys.version_info < (3, 14)
    )


@functools.cache
def packed_convolution() -> Callable[..., Tensor]:
    """Return PyTorch's convolution with packed weights and an activation, found once."""
    return torch.ops.mkldnn._convolution_pointwise.default


@functools.cache
def packed_product() -> Callable[..., Tensor]:
    """Return PyTorch's product with plain or packed weights and an activation, found once."""
    return torch.ops.mkldnn._linear_pointwise.default


@functools.cache
def packed_weights() -> Callable[..., Tensor]:
    """Return what brings a convolution's weights into the form that it takes, found once."""
    return torch.ops.mkldnn._reorder_convolution_weight.default
