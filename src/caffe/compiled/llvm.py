"""LLVM, as llvmlite brings it: texts become functions, which PyTorch's own threads run.

Where an earlier process has compiled a text, LLVM is not even loaded.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .. import switches
from ..processes import held_while_forking
from ..pytorch import torch
from . import kept, machine_code, processor

VARIABLE = "RECAFFE_COMPILE"
"""Set to 0 nothing is compiled, and PyTorch's own operators do the work."""

# LLVM's own locks would be held for ever in a child.
_lock = held_while_forking(threading.Lock())


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
        LLVM does not accept the text.
    OSError
        The system gives no memory for code.
    """

    def __init__(self, text: str) -> None:
        self._function = ctypes.c_void_p(_compiled(text))

    def __call__(self, *fields: int) -> None:
        """Run it on the fields, in as many threads as PyTorch has; addresses must stay valid."""
        self.job(*fields).run()

    def job(self, *fields: int) -> Job:
        """Return it with its fields, to be run later."""
        given = (ctypes.c_int64 * (len(fields) + 2))(*_asked(), *fields)
        return Job(self._function, given, torch.get_num_threads())


@dataclass
class Job:
    """A kernel, and the fields that it is given.

    Whoever keeps it keeps the memory whose addresses are among these, the kernel's own as well.
    What was compiled stays until the process ends.

    Attributes
    ----------
    threads : int
        How many there are at most: there may be a part of the memory for each.
    inner : sequence of Job
        What it runs itself.
    kept : object
        What else its fields are addresses of.
    """

    function: ctypes.c_void_p
    given: ctypes.Array[ctypes.c_int64]
    threads: int
    inner: Sequence[Job] = ()
    kept: object = None

    def take_one_thread(self) -> None:
        """Have it take the thread that runs it for the only one."""
        self.given[:2] = list(_only_one())

    def fields_in(self, places: Sequence[range]) -> Iterator[tuple[int, int]]:
        """Yield its fields that are addresses in places: which field, and the first such place."""
        for field, number in enumerate(self.given):
            # No other number is as large as an address.
            which = next((i for i, place in enumerate(places) if number in place), None)
            if which is not None:
                yield field, which

    def run(self) -> None:
        """Run it in as many threads as PyTorch has."""
        threads = ctypes.c_uint(min(self.threads, torch.get_num_threads()))
        _openmp().GOMP_parallel(self.function, self.given, threads, ctypes.c_uint(0))

    def run_here(self) -> None:
        """Run it in the calling thread alone; it must not ask which of the threads that is."""
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self.function.value or 0)(
            ctypes.addressof(self.given)
        )


class Program:
    """Jobs that run one after the other as one call, all threads at each of them.

    Parameters
    ----------
    jobs : sequence of Job
        Which; each finds what those before it have written.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = list(jobs)
        table = [x for j in jobs for x in (j.function.value or 0, ctypes.addressof(j.given))]
        self._table = (ctypes.c_int64 * len(table))(*table)
        (yields,) = _addresses("sched_yield")
        self._kernel = Kernel(_PROGRAM)
        self._fields = (ctypes.addressof(self._table), len(jobs), yields)
        # There is memory for no more than each of them was made for.
        self._threads = min((job.threads for job in jobs), default=0)

    def run(self) -> None:
        """Run all of them, in as many threads as PyTorch has."""
        if self._jobs:
            # How many threads have arrived, and how often all have, is counted anew for each run:
            # a process may have been forked in the midst of another.
            whole = self._kernel.job(*self._fields, 0, 0)
            whole.threads = min(whole.threads, self._threads)
            whole.run()


_PROGRAM = """
declare void @llvm.x86.sse2.pause()

define void @kernel(ptr %given) {
entry:
  %numbers.at = getelementptr i64, ptr %given, i64 1
  %numbers = load ptr, ptr %numbers.at
  %table.at = getelementptr i64, ptr %given, i64 2
  %table = load ptr, ptr %table.at
  %count.at = getelementptr i64, ptr %given, i64 3
  %count = load i64, ptr %count.at
  %yields.at = getelementptr i64, ptr %given, i64 4
  %yields = load ptr, ptr %yields.at
  %arrived = getelementptr i64, ptr %given, i64 5
  %passed = getelementptr i64, ptr %given, i64 6
  %threads.short = call i32 %numbers()
  %threads = zext i32 %threads.short to i64
  br label %job
job:
  %i = phi i64 [0, %entry], [%next, %behind]
  %first = shl i64 %i, 1
  %second = or i64 %first, 1
  %function.at = getelementptr ptr, ptr %table, i64 %first
  %function = load ptr, ptr %function.at
  %fields.at = getelementptr ptr, ptr %table, i64 %second
  %fields = load ptr, ptr %fields.at
  call void %function(ptr %fields)
  %before = load atomic i64, ptr %passed acquire, align 8
  %others = atomicrmw add ptr %arrived, i64 1 acq_rel
  %all = add i64 %others, 1
  %is_last = icmp eq i64 %all, %threads
  br i1 %is_last, label %open, label %wait
open:
  store atomic i64 0, ptr %arrived release, align 8
  %after = add i64 %before, 1
  store atomic i64 %after, ptr %passed release, align 8
  br label %behind
wait:
  %turn = phi i64 [0, %job], [%turned, %again]
  %now = load atomic i64, ptr %passed acquire, align 8
  %is_open = icmp ne i64 %now, %before
  br i1 %is_open, label %behind, label %turns
turns:
  %turned = add i64 %turn, 1
  %is_patient = icmp ult i64 %turn, PATIENCE
  br i1 %is_patient, label %pause, label %give
pause:
  call void @llvm.x86.sse2.pause()
  br label %again
give:
  %ignored = call i32 %yields()
  br label %again
again:
  br label %wait
behind:
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %count
  br i1 %more, label %job, label %end
end:
  ret void
}
""".replace("PATIENCE", "2000")
"""Calls the functions of a table, one at least, and waits for all threads behind each.

Threads turn some 20 us while they wait, and then let others have the CPU: there are a hundred jobs
in a millisecond, so that OpenMP's own barrier, whose threads may sleep at once, takes longer. Who
sleeps beside a busy process is woken behind the other's whole share of time, at each job.
"""


def is_allowed() -> bool:
    """Tell whether nobody has forbidden it by `RECAFFE_COMPILE`."""
    return switches.is_on(VARIABLE)


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


def width_within(channels: int) -> int:
    """Return how many channels of so many to work on at once where some may be worked on twice.

    There are 4 at least; 0 for none. See `Code.vectors`.
    """
    most = width()
    while most > channels:
        most //= 2
    return most if most >= 4 else 0


def vectors_for(channels: int) -> tuple[int, bool]:
    """Return how many channels of so many to work on at once, and whether all vectors are whole.

    Where they are not, numbers must lie behind the last channels that may be read, for as many as a
    vector has.
    """
    whole = width_for(channels)
    return whole or width(), bool(whole)


@functools.cache
def has_short_numbers() -> bool:
    """Return whether kernels may have bfloat16 numbers: the processor multiplies pairs of them."""
    return width() == 16 and processor.has("avx512_bf16")


@functools.cache
def _asked() -> tuple[int, ...]:
    """The addresses of what tells a thread its number, and how many there are."""
    return _addresses("omp_get_thread_num", "omp_get_num_threads")


@functools.cache
def _only_one() -> tuple[int, int]:
    """The addresses of what tells a thread that its number is 0, and that there is 1."""
    first, second = (_compiled(f"define i32 @kernel() {{\n  ret i32 {n}\n}}") for n in (0, 1))
    return first, second


def _addresses(*names: str) -> tuple[int, ...]:
    library = _openmp()
    return tuple(ctypes.cast(getattr(library, n), ctypes.c_void_p).value or 0 for n in names)


@functools.cache
def _openmp() -> Any:
    """The OpenMP that PyTorch is bound to, whatever others have brought along."""
    folder = os.path.dirname(torch.__file__)
    return ctypes.CDLL(os.path.join(folder, "lib", "libtorch_cpu.so"))


_OPTIONS: dict[str, Any] = {"opt": 3, "reloc": "pic", "codemodel": "small"}
"""How code is made: as `machine_code.linked` takes it."""


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
        cpu=binding.get_host_cpu_name(),
        features=features.flatten(),
        **_OPTIONS,
    )


@functools.cache
def _compiled(text: str) -> int:
    """The address of the function `kernel`."""
    with _lock:
        key = f"{_OPTIONS}\n{text}"
        code = kept.recall(key)
        if code is None:
            code = _code_of(text)
            kept.keep(key, code)
        return machine_code.mapped(code)


def _code_of(text: str) -> bytes:
    from llvmlite import binding

    module = binding.parse_assembly(text)
    module.verify()
    code = machine_code.linked(_machine().emit_object(module))
    if code is None:
        raise RuntimeError("a kernel calls what is not its own")
    return code
