"""Threads turn while they wait for each other, and soon sleep where others want the CPUs."""

from __future__ import annotations

import math
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
    """Counts for a process of two threads."""

    def __init__(self, root: Path) -> None:
        self._root, self._times = root, {"1": [1, 0], "2": [1, 0]}
        self.count(0, 0)

    def count(self, ran: int, waited: int) -> None:
        for task, times in self._times.items():
            times[0], times[1] = times[0] + ran, times[1] + waited
            write(self._root, f"proc/self/task/{task}/schedstat", f"{times[0]} {times[1]} 5\n")


def look(watch: waiting.Watch, worked: float = math.inf) -> None:
    watch.worked = worked
    watch.look()


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[waiting.Watch, Kernel]]:
    monkeypatch.setattr(waiting, "RESTS", (0.05, 0.15))
    kernel = Kernel(tmp_path)
    watch = waiting.Watch(OPENMP, str(tmp_path))
    look(watch)
    yield watch, kernel
    kernel.count(1000, 0)
    time.sleep(0.2)
    look(watch)
    assert not watch.lets_sleep


@needs_gnu
def test_threads_sleep_while_they_wait_for_cpus(seen: tuple[waiting.Watch, Kernel]) -> None:
    watch, kernel = seen
    kernel.count(1000, 10)
    look(watch)
    assert not watch.lets_sleep
    kernel.count(1000, 300)
    look(watch)
    assert watch.lets_sleep
    assert "caffe-idle-team" in [thread.name for thread in threading.enumerate()]
    time.sleep(0.1)
    kernel.count(1000, 300)
    look(watch)
    assert watch.lets_sleep
    kernel.count(1000, 10)
    look(watch)
    assert not watch.lets_sleep


@needs_gnu
def test_who_is_in_the_way_again_sleeps_for_longer(seen: tuple[waiting.Watch, Kernel]) -> None:
    watch, kernel = seen
    for rest in (0.05, 0.1, 0.15):
        kernel.count(1000, 300)
        look(watch)
        kernel.count(1000, 0)
        time.sleep(rest - 0.03)
        look(watch)
        assert watch.lets_sleep
        time.sleep(0.04)
        kernel.count(1000, 0)
        look(watch)
        assert not watch.lets_sleep


@needs_gnu
def test_what_was_waited_without_work_does_not_count(seen: tuple[waiting.Watch, Kernel]) -> None:
    watch, kernel = seen
    time.sleep(0.02)
    kernel.count(1000, 300)
    look(watch, worked=0.001)
    assert not watch.lets_sleep
    kernel.count(1000, 300)
    look(watch)
    assert watch.lets_sleep
    kernel.count(1000, 300)
    time.sleep(0.1)
    look(watch, worked=0.001)
    assert not watch.lets_sleep


@needs_gnu
def test_threads_that_have_ended_do_not_confuse_the_count(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path)
    kernel.count(10_000, 100)
    write(tmp_path, "proc/self/task/3/schedstat", "400 390 5\n")
    watch = waiting.Watch(OPENMP, str(tmp_path))
    look(watch)
    (tmp_path / "proc/self/task/3/schedstat").unlink()
    look(watch)
    assert not watch.lets_sleep


def test_without_gnu_openmp_nobody_looks(tmp_path: Path) -> None:
    assert waiting.Watch(None, str(tmp_path)).next == float("inf")


@pytest.mark.parametrize("name", threads.GNU_WAITING)
def test_who_says_how_threads_wait_is_not_overruled(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "100")
    assert waiting._gnu_openmp() is None


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
net = caffe.Net({NET!r}, caffe.TEST)
net.forward()
end = time.monotonic() + 20
while time.monotonic() < end and not waiting._Process.watch.lets_sleep:
    net.forward()
    of_others()
print(waiting._Process.watch.lets_sleep, of_others())
"""
    busy = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in range(threads.usable_cpus())
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
