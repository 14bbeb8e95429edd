"""Where nets run: CPU or GPU, which GPU, and the random numbers; per thread, as in Caffe."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from .compiled import llvm
from .devices import check_process, usable_device
from .errors import ArgumentError, CaffeError, CaffeWarning, require
from .guarded import guarded
from .pytorch import torch
from .tf32 import rounding

if TYPE_CHECKING:
    from .memory.stores import Store

PRECISIONS = ("float32", "tf32", "bfloat16", "float16")
ENGINES = ("auto", "torch", "onednn", "openvino", "onnxruntime", "mnn", "llvm", "layerwise")

LIBRARIES = {
    "openvino": ("OpenVINO", "openvino"),
    "onnxruntime": ("ONNX Runtime", "onnxruntime"),
    "mnn": ("MNN", "MNN"),
    "llvm": ("LLVM", "llvmlite"),
    "onednn": ("oneDNN's graph", "torch"),
}
"""The engines that are other libraries, with their names and the modules that load them."""


class _ThreadState(threading.local):
    """The calling thread's mode; a new thread starts on the CPU."""

    store: Store | None = None
    device: int = 0
    generator: torch.Generator | None = None
    precision: str = "float32"
    engine: str = "auto"


_state = _ThreadState()
_lost_to_parent: set[str] = set()
"""Engines whose threads stayed behind when this process was forked."""


def set_mode_cpu() -> None:
    """Run this thread's nets on the CPU (the default)."""
    _state.store = None


def set_mode_gpu() -> None:
    """Run this thread's nets on the GPU that `set_device` chose (0 unless told otherwise).

    Raises
    ------
    DeviceError
        There is no usable GPU; the text says why and what to do.
    """
    from .memory.stores import DeviceStore

    _state.store = DeviceStore(usable_device(_state.device))


def set_gpu(device: int) -> None:
    """Run this thread's nets on a GPU: `set_device` and `set_mode_gpu` in one.

    Raises
    ------
    DeviceError
        There is no such GPU; the text says why and what to do.
    """
    set_device(device)
    set_mode_gpu()


@guarded
def set_device(device: int) -> None:
    """Choose the GPU, counted from 0, that this thread's GPU mode uses.

    Raises
    ------
    DeviceError
        There is no such GPU; the text says why and what to do.
    CaffeError
        `device` is no whole number.
    """
    number = _whole(device, "a GPU's number")
    chosen = usable_device(number)
    _state.device = number
    if _state.store is not None:
        from .memory.stores import DeviceStore

        _state.store = DeviceStore(chosen)


@guarded
def set_random_seed(seed: int) -> None:
    """Seed this thread's fillers, Dropout and DummyData.

    The numbers repeat from run to run; they are not the original's numbers.

    Raises
    ------
    CaffeError
        `seed` is no whole number.
    """
    generator().manual_seed(_whole(seed, "a seed"))


def _whole(value: Any, what: str) -> int:
    try:
        return int(value)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"{what} must be a whole number, not {value!r}") from error


@guarded
def set_precision(precision: str) -> None:
    """Choose in what this thread's nets compute.

    Blobs are float32 arrays all the same. The short ones hold for nets run as a whole; parts of a
    net run by ``start`` and ``end`` stay in float32. Nets that are trained compute in bfloat16, if
    that is chosen, except for parameters, their gradients, statistics and losses, which stay
    float32; they do not compute in float16.

    Parameters
    ----------
    precision : {"float32", "tf32", "bfloat16", "float16"}
        "tf32" lets NVIDIA GPUs round the factors of products to 10 bits, and is float32 elsewhere.
        The two short ones halve the memory to be moved; bfloat16 keeps float32's range.

    Raises
    ------
    CaffeError
        There is no such precision, or PyTorch has no kernels of it for this CPU (it has bfloat16's
        from AVX-512 on).

    Warns
    -----
    CaffeWarning
        This CPU has no bfloat16 instructions: it will be slow.
    """

    if precision not in PRECISIONS:
        raise CaffeError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")
    if _state.store is None:
        _check_cpu(precision)
    _state.precision = precision


def _check_cpu(precision: str) -> None:
    kernels = torch.ops.mkldnn
    has_bfloat16 = kernels._is_mkldnn_bf16_supported()
    if precision == "float16" and not kernels._is_mkldnn_fp16_supported():
        way_out = "bfloat16 or float32" if has_bfloat16 else "float32"
        raise CaffeError(f"this CPU has no float16 instructions; use {way_out}")
    if precision == "bfloat16" and not has_bfloat16:
        raise CaffeError("this CPU cannot compute in bfloat16; use float32")
    if precision == "bfloat16" and not torch.cpu._is_avx512_bf16_supported():
        warnings.warn(
            "this CPU has no bfloat16 instructions: it will be slower than float32",
            CaffeWarning,
            stacklevel=3,
        )


def precision() -> torch.dtype:
    """Return what this thread's nets compute in where no gradients are needed."""
    return torch.float32 if _state.precision == "tf32" else getattr(torch, _state.precision)


def trains_in_bfloat16() -> bool:
    """Tell whether this thread's nets compute in bfloat16 while they are trained, or in float32.

    Parameters, their gradients, statistics and losses are float32 all the same. In float16
    gradients would fall to zero.
    """
    return _state.precision == "bfloat16"


def allows_tf32() -> bool:
    """Tell whether NVIDIA GPUs may round the factors of products to 10 bits."""
    return _state.precision == "tf32"


@contextmanager
def gpu_arithmetic() -> Iterator[None]:
    """Let an NVIDIA GPU's float32 be float32, or TF32 where this thread has chosen that.

    What the program has set beside that (deterministic kernels, their choice by trying) stays.
    """
    if _state.store is None or _state.store.device.type != "cuda":
        yield
        return
    with rounding.allowed(allows_tf32()):
        yield


@dataclass(frozen=True)
class Chosen:
    """In what, where and by what a thread's nets compute."""

    store: Store | None
    precision: str
    engine: str


def chosen() -> Chosen:
    """Return what the calling thread has chosen."""
    return Chosen(_state.store, _state.precision, _state.engine)


@contextmanager
def computing_as(then: Chosen) -> Iterator[None]:
    """Compute, inside, as a thread (this one, or another) once had chosen.

    For what is computed later than it was to be, when somebody asks for it.
    """
    before = chosen()
    _choose(then)
    try:
        with gpu_arithmetic():
            yield
    finally:
        _choose(before)


def _choose(what: Chosen) -> None:
    _state.store, _state.precision, _state.engine = what.store, what.precision, what.engine


@guarded
def set_engine(engine: str) -> None:
    """Choose how this thread's nets run.

    Parameters
    ----------
    engine : {"auto", "torch", "llvm", "onednn", "openvino", "onnxruntime", "mnn", "layerwise"}
        "torch" runs a net that needs no gradients by a prepared plan: layers joined, weights packed
        for PyTorch's kernels, blobs computed when looked at, large convolutions by Winograd's
        algorithm where some runs show that it is quicker (results differ in the last digits
        then). "llvm" has as much of the plan as it can run on the CPU by kernels that are
        compiled for this processor, as one call, and "onednn" by oneDNN, which PyTorch brings
        along, as one graph; "openvino", "onnxruntime" and "mnn" that library (the extra of
        that name). It is prepared at the first forward, which takes up to a second or two. "auto"
        begins with "torch", tries what is there of them from the fifth forward of the same shapes
        and weights on, and keeps the quickest. "layerwise" runs one layer after another and writes
        every blob, always.

    Raises
    ------
    CaffeError
        There is no such engine, or not with this PyTorch.
    MissingExtraError
        A library is asked for that is not installed.
    """
    if engine not in ENGINES:
        raise CaffeError(f"engine must be one of {', '.join(ENGINES)}, not {engine!r}")
    if engine in LIBRARIES:
        _, module = LIBRARIES[engine]
        # Where it is there it is loaded by its first use, which takes time.
        if find_spec(module) is None:
            require(module, engine, "the engine of that name")
    if engine == "llvm" and not llvm.width():
        raise CaffeError(
            "no kernels can be compiled here (they can on Linux on x86 with AVX2, with llvmlite): "
            "use the engine 'torch' or 'auto'"
        )
    if engine == "onednn":
        from . import onednn

        if not onednn.joins_graphs():
            raise CaffeError(
                "this PyTorch hands no graphs to oneDNN (it does on x86, up to Python 3.13): "
                "use the engine 'torch' or 'auto'"
            )
    _state.engine = engine


def engine() -> str:
    """Return how this thread's nets run.

    Warns
    -----
    CaffeWarning
        A library is asked for where it cannot run, see `lose_engine`; PyTorch runs the nets.
    """
    if _state.engine in _lost_to_parent:
        name, _ = LIBRARIES[_state.engine]
        warnings.warn(
            f"{name} cannot run in a process that was forked from one that has used it; "
            "PyTorch runs the nets (start processes by 'spawn' to have it in each)",
            CaffeWarning,
            stacklevel=2,
        )
        # Said once.
        _state.engine = "torch"
    return "torch" if _lost_to_parent and _state.engine == "auto" else _state.engine


def lose_engine(engine: str) -> None:
    """Let PyTorch run nets instead of a library whose threads are another process's."""
    _lost_to_parent.add(engine)


def generator() -> torch.Generator:
    """Return this thread's source of random numbers (on the CPU)."""
    if _state.generator is None:
        _state.generator = torch.Generator()
        _state.generator.seed()
    return _state.generator


def generator_on(device: torch.device) -> torch.Generator:
    """Return random numbers for tensors on a device, which follow from this thread's.

    A GPU draws its own, seeded anew each time: what repeats on the CPU repeats there.
    """
    if device.type == "cpu":
        return generator()
    return torch.Generator(device).manual_seed(draw_seed())


def draw_seed() -> int:
    """Draw a seed for `seeded` from this thread's random numbers."""
    return int(torch.randint(2**62, (), generator=generator()))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let this thread's random numbers inside the block be those of `seed`."""
    before, _state.generator = _state.generator, torch.Generator().manual_seed(seed)
    try:
        yield
    finally:
        _state.generator = before


def current_store() -> Store | None:
    """Return the second store of GPU mode, or None in CPU mode.

    Raises
    ------
    DeviceError
        This process was forked from one that has used the GPU.
    """
    if _state.store is not None:
        check_process(_state.store.device)
    return _state.store
