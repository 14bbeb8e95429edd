"""LLVM, as llvmlite brings it: texts become functions, which PyTorch's own threads run."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import sys
import threading
from typing import Any

from ..pytorch import torch

VARIABLE = "RECAFFE_COMPILE"
"""Set to 0 nothing is compiled, and PyTorch's own operators do the work."""

_lock = threading.Lock()


class Kernel:
    """A function in LLVM's language, compiled, that all of PyTorch's threads call together.

    Parameters
    ----------
    text : str
        The function `kernel`, as `Code` writes it: it is given the address of whole numbers of 64
        bits, the first two of which are the addresses of what tells a thread its number, and how
        many there are.

    Raises
    ------
    RuntimeError
        LLVM does not accept the text, or the system gives no memory for code.
    """

    def __init__(self, text: str) -> None:
        self._function = ctypes.c_void_p(_compiled(text))
        self._openmp = _openmp()
        self._threads = tuple(
            ctypes.cast(function, ctypes.c_void_p).value or 0
            for function in (self._openmp.omp_get_thread_num, self._openmp.omp_get_num_threads)
        )

    def __call__(self, *fields: int) -> None:
        """Run it on the fields, in as many threads as PyTorch has; addresses must stay valid."""
        given = (ctypes.c_int64 * (len(fields) + 2))(*self._threads, *fields)
        self._openmp.GOMP_parallel(
            self._function, given, ctypes.c_uint(torch.get_num_threads()), ctypes.c_uint(0)
        )


def is_allowed() -> bool:
    """Tell whether nobody has forbidden it by `RECAFFE_COMPILE`."""
    return os.environ.get(VARIABLE, "1").strip().lower() not in ("0", "off", "no", "false")


@functools.cache
def width() -> int:
    """Return how many float32 numbers a register holds of those that PyTorch uses; 0 for none.

    There are none where kernels cannot be compiled: without llvmlite, off Linux on x86, where the
    system gives no memory for code, or where `RECAFFE_COMPILE` is 0.
    """
    capability = torch.backends.cpu.get_cpu_capability()
    found = {"AVX512": 16, "AVX2": 8}.get(capability, 0)
    if not found or not is_allowed() or sys.platform != "linux" or platform.machine() != "x86_64":
        return 0
    try:
        Kernel("define void @kernel(ptr %given) {\n  ret void\n}")(0)
    except (AttributeError, ImportError, OSError, RuntimeError):
        return 0
    return found


def width_for(channels: int) -> int:
    """Return how many channels of so many to work on at once: 4 at least; 0 for none."""
    most = width()
    while most >= 4 and channels % most:
        most //= 2
    return most if most >= 4 else 0


@functools.cache
def _openmp() -> Any:
    """The OpenMP that PyTorch is bound to, whatever others have brought along."""
    folder = os.path.dirname(torch.__file__)
    return ctypes.CDLL(os.path.join(folder, "lib", "libtorch_cpu.so"))


def _machine() -> Any:
    """What compiles for this processor; a module has its own, which ends with it."""
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    features = binding.get_host_cpu_features()
    if torch.backends.cpu.get_cpu_capability() != "AVX512":
        # PyTorch may have been told to do without.
        features.update({name: False for name in features if name.startswith("avx512")})
    return binding.Target.from_default_triple().create_target_machine(
        cpu=binding.get_host_cpu_name(), features=features.flatten(), opt=3
    )


@functools.cache
def _compiled(text: str) -> int:
    """The address of the function `kernel`."""
    with _lock:
        return _address_of(text)


def _address_of(text: str) -> int:
    from llvmlite import binding

    binding.check_jit_execution()
    module = binding.parse_assembly(text)
    module.verify()
    engine = binding.create_mcjit_compiler(module, _machine())
    engine.finalize_object()
    found: int = engine.get_function_address("kernel")
    # Threads may run it until the process ends.
    engine.detach()
    return found
