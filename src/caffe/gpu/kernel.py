"""What any kernel of a GPU written in Triton needs: compiled when it is first wanted, or not had.

Triton comes with PyTorch's wheels for GPUs. Where there is none, or it cannot compile (it needs a C
compiler), PyTorch's own operations run. A kernel is compiled from its source, so that its words are
Triton's: it knows `tl`, which its module imports for type checkers alone, and other kernels of its
module. Also its annotations must be what `tl` has.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Callable
from types import FunctionType
from typing import TYPE_CHECKING, Any

from ..pytorch import torch

if TYPE_CHECKING:
    from torch import Tensor

Trial = Callable[["torch.device"], bool]
"""Whether a kernel computes on a device what it should."""


class Kernel:
    """A function in Triton's language: a kernel, or what kernels call.

    Parameters
    ----------
    function : Callable
        Its source, of which each name is its module's or `tl`.
    unspecialized : tuple of str
        Integers for whose values it is not compiled anew, which Triton does for 1 and for multiples
        of 16.
    """

    def __init__(self, function: Callable[..., Any], unspecialized: tuple[str, ...] = ()) -> None:
        assert isinstance(function, FunctionType)
        self.function = function
        self.unspecialized = unspecialized

    # In other kernels' source.
    def __call__(self, *arguments: Any) -> Any:
        raise TypeError(f"{self.function.__name__} is Triton's to call")

    def launch(self, programs: int, *arguments: Any, **constants: Any) -> None:
        """Run it on the first argument's device.

        Parameters
        ----------
        programs : int
            How many: none is as good as any.
        *arguments
            Tensors and numbers.
        **constants
            What it is compiled for.
        """
        if programs:
            with torch.cuda.device_of(arguments[0]):
                jitted(self)[(programs,)](*arguments, **constants)


@functools.cache
def jitted(kernel: Kernel) -> Any:
    """What Triton makes of it, and of those that it calls."""
    triton: Any = importlib.import_module("triton")
    function = kernel.function
    known = {**function.__globals__, "tl": importlib.import_module("triton.language")}
    for name in function.__code__.co_names:
        if isinstance(known.get(name), Kernel):
            known[name] = jitted(known[name])
    copied = FunctionType(function.__code__, known, function.__name__, function.__defaults__)
    names = list(kernel.unspecialized)
    return triton.jit(functools.update_wrapper(copied, function), do_not_specialize=names)


def takes(x: Tensor, trial: Trial) -> bool:
    """Tell whether kernels can have a tensor: on a GPU where they work, with nobody recording.

    Parameters
    ----------
    x : Tensor
        What is to be computed with.
    trial : Callable
        Tells of a device whether the kernel works on it. It is asked once, and may raise.
    """
    return (
        x.is_cuda
        and x.dtype in (torch.float32, torch.float16, torch.bfloat16)
        and not (x.requires_grad and torch.is_grad_enabled())
        and not torch.compiler.is_compiling()
        and _works_on(x.device, trial)
    )


@functools.cache
def _works_on(device: torch.device, trial: Trial) -> bool:
    if importlib.util.find_spec("triton") is None:
        return False
    try:
        return trial(device)
    except Exception:
        # Triton raises what its compiler, the system's and the driver raise.
        return False


def power_of_two(number: int) -> int:
    """The least power of two that is not below a number."""
    return 1 << max(0, number - 1).bit_length()
