"""Threads turn while they wait for each other, and soon sleep where others want the CPUs."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from caffe import threads, waiting
from tests.test_threads import NET, needs_two, run, write

OPENMP = waiting._gnu_openmp()

needs_gnu = pytest.mark.skipif(
    OPENMP is None, reason="no GNU OpenMP here, or it is told how to wait, or nobody counts"
)


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


class Kernel:
    """Counts for a process of two threads, and lets a watch look, at times of its own."""

    def __init__(self, root: Path) -> None:
        self._root, self._times, self.now = root, {"1": [1, 0], "2": [1, 0]}, 100.0
        self._write()
        self.watch = waiting.Watch(OPENMP, str(root), clock=lambda: self.now)

    def _write(self) -> None:
        for task, times in self._times.items():
            write(self._root, f"proc/self/task/{task}/schedstat", f"{times[0]} {times[1]} 5\n")

    def work(self, waited: float, milliseconds: float = 60, later: float = 1) -> bool:
        """Say whether threads sleep behind work in which they wait for a part of the time."""
        self.now += later
        assert self.watch.is_due
        assert self.watch.begin()
        for times in self._times.values():
            times[0] += round(milliseconds * (1 - waited) * 1e6)
            times[1] += round(milliseconds * waited * 1e6)
        self._write()
        self.watch.end()
        return self.watch.lets_sleep


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    kernel = Kernel(tmp_path)
    yield kernel
    # Else the test's process would keep the team.
    assert not kernel.work(0, later=100)


@needs_gnu
def test_threads_sleep_while_they_wait_for_cpus(kernel: Kernel) -> None:
    assert not kernel.work(0.01)
    assert kernel.work(0.3)
    assert "caffe-idle-team" in [thread.name for thread in threading.enumerate()]
    assert kernel.work(0.3, later=5)
    assert kernel.work(0.05, later=5)
    assert not kernel.work(0.01, later=5)


@needs_gnu
def test_who_is_in_the_way_again_sleeps_for_longer(kernel: Kernel) -> None:
    for rest in (1, 2, 4, 8, 16, 32, 60, 60):
        assert kernel.work(0.3, later=0.5)
        assert kernel.work(0, later=rest - 0.1)
        assert not kernel.work(0, later=0.2)
    kernel.now += 10
    assert kernel.work(0.3)
    assert not kernel.work(0, later=1.1)


@needs_gnu
def test_little_work_tells_when_there_is_enough_of_it(kernel: Kernel) -> None:
    assert [kernel.work(0.3, milliseconds=9) for _ in range(3)] == [False, False, True]


@needs_gnu
def test_what_is_waited_between_work_does_not_count(kernel: Kernel) -> None:
    kernel.work(0)
    kernel._times["1"][1] += 10**12
    kernel._write()
    assert not kernel.work(0.01)


@needs_gnu
def test_threads_that_have_ended_do_not_confuse_the_count(kernel: Kernel, tmp_path: Path) -> None:
    kernel.work(0)
    kernel.now += 1
    kernel.watch.begin()
    (tmp_path / "proc/self/task/2/schedstat").unlink()
    kernel.watch.end()
    assert not kernel.watch.lets_sleep


@pytest.mark.parametrize(("waited", "is_disturbed"), [(0, False), (0.01, False), (0.2, True)])
def test_work_is_disturbed_where_threads_wait_for_cpus(
    waited: float, is_disturbed: bool, tmp_path: Path
) -> None:
    schedstat = "proc/self/task/1/schedstat"
    write(tmp_path, schedstat, "1 7000000000 5\n")
    for counts in (True, False):
        with waiting.Timed(counts, str(tmp_path)) as timed:
            began = time.perf_counter()
            time.sleep(0.002)
            nanoseconds = 2 * (time.perf_counter() - began) * 1e9
            write(tmp_path, schedstat, f"1 {7000000000 + round(waited * nanoseconds)} 5\n")
        assert timed.seconds >= 0.002
        assert timed.is_disturbed == (is_disturbed and counts)
        write(tmp_path, schedstat, "1 7000000000 5\n")
    with waiting.Timed(True, str(tmp_path / "nobody counts")) as timed:
        pass
    assert not timed.is_disturbed


@needs_gnu
def test_one_thread_looks_and_not_again_at_once(kernel: Kernel) -> None:
    kernel.now += 1
    assert kernel.watch.begin()
    assert not kernel.watch.begin()
    kernel.watch.end()
    assert not kernel.watch.is_due
    kernel.now += 2
    assert kernel.watch.is_due


@needs_gnu
@pytest.mark.parametrize("error", [OSError("no such folder"), RuntimeError("no more threads")])
def test_where_it_cannot_be_seen_or_done_work_goes_on_without(
    kernel: Kernel, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    place = (os, "listdir") if isinstance(error, OSError) else (threading.Thread, "start")
    with monkeypatch.context() as patch:
        patch.setattr(*place, fail)
        with contextlib.suppress(AssertionError):
            kernel.work(0.3)
    assert not kernel.watch.is_due


@needs_gnu
def test_a_team_is_not_made_for_a_small_part_of_the_cpus(kernel: Kernel) -> None:
    kernel.watch._openmp = type("Large", (), {"omp_get_num_procs": staticmethod(lambda: 128)})
    assert not kernel.work(0.5)


def test_a_team_that_cannot_start_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    failures: list[object] = []
    monkeypatch.setattr(threading, "excepthook", failures.append)
    waiting.IdleTeam(object(), 2).end()  # type: ignore[arg-type]
    assert len(failures) == 1


def test_without_gnu_openmp_nobody_looks(tmp_path: Path) -> None:
    assert not waiting.Watch(None, str(tmp_path)).is_due


@needs_gnu
def test_it_is_pytorchs_openmp_whoever_brought_another_before() -> None:
    program = """
import ctypes, os, shutil, sys, tempfile, torch
lines = open("/proc/self/maps").read().splitlines()
path = next(line.split()[-1] for line in lines if "libgomp" in line)
copy = shutil.copy(path, os.path.join(tempfile.mkdtemp(), "libgomp-other.so.1"))
ctypes.CDLL(copy)
from caffe import waiting
print(os.path.samefile(waiting._gnu_openmp()._name, path))
"""
    assert run(program) == "True"


@needs_gnu
def test_threads_that_begin_at_once_have_one_watch() -> None:
    program = f"""
import threading, caffe
from caffe import waiting
nets = [caffe.Net({NET!r}, caffe.TEST) for _ in range(8)]
made = []
before = waiting.Watch.__init__
def init(self, *args):
    made.append(self)
    before(self, *args)
waiting.Watch.__init__ = init
barrier = threading.Barrier(8)
def work(net):
    barrier.wait()
    net.forward(end="d")
running = [threading.Thread(target=work, args=(net,)) for net in nets]
[thread.start() for thread in running]
[thread.join() for thread in running]
print(len(made))
"""
    assert run(program) == "1"


@pytest.mark.parametrize("name", waiting.TOLD)
def test_who_says_how_threads_wait_is_not_overruled(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "100")
    assert waiting._gnu_openmp() is None


WORK = """layer { name: "d" type: "Input" top: "d" input_param { shape { dim: [4, 32, 64, 64] } } }
layer { name: "c" type: "Convolution" bottom: "d" top: "c"
    convolution_param { num_output: 64 kernel_size: 3 weight_filler { type: "msra" } } }"""

# A thread that waits by turning uses a CPU for milliseconds behind every piece of work.
MILLISECONDS_OF_OTHERS = """
import time, torch, caffe
from caffe import waiting
def of_others():
    numbers = torch.ones(2 ** 17)
    numbers + numbers
    all, own = time.process_time(), time.thread_time()
    for _ in range(40):
        numbers + numbers
        time.sleep(0.01)
    return (time.process_time() - all - (time.thread_time() - own)) / 40 * 1000
torch.set_num_threads(2)
"""


@needs_two
@needs_gnu
def test_an_idle_team_lets_threads_sleep_between_pieces_of_work() -> None:
    program = """
team = waiting.IdleTeam(waiting._gnu_openmp(), 2)
sleeping = of_others()
team.end()
time.sleep(0.1)
print(sleeping, of_others())
"""
    sleeping, turning = map(float, run(MILLISECONDS_OF_OTHERS + program).split())
    assert sleeping < 0.5 < turning


@needs_two
@needs_gnu
def test_a_net_beside_busy_processes_lets_its_threads_sleep() -> None:
    program = f"""
net = caffe.Net({WORK!r}, caffe.TEST)
net.forward()
end = time.monotonic() + 20
while time.monotonic() < end and not waiting._Process.watch.lets_sleep:
    net.forward()
    of_others()
print(waiting._Process.watch.lets_sleep, of_others())
"""
    busy = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in range(threads._reachable_cpus())
    ]
    try:
        sleeps, others = run(MILLISECONDS_OF_OTHERS + program).split()
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert sleeps == "True"
    assert float(others) < 0.5


@needs_gnu
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_a_fork_watches_anew() -> None:
    program = f"""
import os, caffe
from caffe import waiting
net = caffe.Net({NET!r}, caffe.TEST)
net.forward()
first = waiting._Process.watch
if os.fork() == 0:
    net.forward()
    os._exit(0 if waiting._Process.watch not in (None, first) else 1)
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""
    assert run(program) == "0"
