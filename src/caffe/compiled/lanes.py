"""Jobs of one thread alone, beside those of the others: what it writes stays in its own cache."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from .llvm import Job, Kernel

_LANES = """
define void @kernel(ptr %given) {
entry:
  %number.at = load ptr, ptr %given
  %threads.at = getelementptr i64, ptr %given, i64 1
  %numbers = load ptr, ptr %threads.at
  %table.at = getelementptr i64, ptr %given, i64 2
  %table = load ptr, ptr %table.at
  %loops.at = getelementptr i64, ptr %given, i64 3
  %loops = load ptr, ptr %loops.at
  %lanes.at = getelementptr i64, ptr %given, i64 4
  %lanes = load ptr, ptr %lanes.at
  %count.at = getelementptr i64, ptr %given, i64 5
  %count = load i64, ptr %count.at
  %thread.short = call i32 %number.at()
  %thread = zext i32 %thread.short to i64
  %threads.short = call i32 %numbers()
  %threads = zext i32 %threads.short to i64
  br label %lane
lane:
  %l = phi i64 [%thread, %entry], [%l.next, %lane.end]
  %is_lane = icmp ult i64 %l, %count
  br i1 %is_lane, label %lane.begin, label %end
lane.begin:
  %k.first.at = getelementptr i64, ptr %lanes, i64 %l
  %k.first = load i64, ptr %k.first.at
  %k.stop.at = getelementptr i64, ptr %k.first.at, i64 1
  %k.stop = load i64, ptr %k.stop.at
  br label %loop
loop:
  %k = phi i64 [%k.first, %lane.begin], [%k.next, %loop.end]
  %is_loop = icmp ult i64 %k, %k.stop
  br i1 %is_loop, label %loop.begin, label %lane.end
loop.begin:
  %times.at = getelementptr [3 x i64], ptr %loops, i64 %k
  %times = load i64, ptr %times.at
  %i.first.at = getelementptr i64, ptr %times.at, i64 1
  %i.first = load i64, ptr %i.first.at
  %i.stop.at = getelementptr i64, ptr %times.at, i64 2
  %i.stop = load i64, ptr %i.stop.at
  br label %time
time:
  %t = phi i64 [0, %loop.begin], [%t.next, %time.end]
  %is_time = icmp ult i64 %t, %times
  br i1 %is_time, label %job, label %loop.end
job:
  %i = phi i64 [%i.first, %time], [%i.next, %job.begin]
  %is_job = icmp ult i64 %i, %i.stop
  br i1 %is_job, label %job.begin, label %time.end
job.begin:
  %function.at = getelementptr [2 x i64], ptr %table, i64 %i
  %function = load ptr, ptr %function.at
  %fields.at = getelementptr i64, ptr %function.at, i64 1
  %fields = load ptr, ptr %fields.at
  call void %function(ptr %fields)
  %i.next = add i64 %i, 1
  br label %job
time.end:
  %t.next = add i64 %t, 1
  br label %time
loop.end:
  %k.next = add i64 %k, 1
  br label %loop
lane.end:
  %l.next = add i64 %l, %threads
  br label %lane
end:
  ret void
}
"""
"""Calls the functions of a table that are the thread's: of each of its lanes one after the other.

A lane has loops, and a loop (how often, the first job, the one behind the last).
"""

_ADVANCING = """
define void @kernel(ptr %given) {
  %address.at = getelementptr i64, ptr %given, i64 2
  %address = load ptr, ptr %address.at
  %step.at = getelementptr i64, ptr %given, i64 3
  %step = load i64, ptr %step.at
  %before = load i64, ptr %address
  %after = add i64 %before, %step
  store i64 %after, ptr %address
  ret void
}
"""
"""Adds to a number that lies at an address."""


@dataclass
class Loop:
    """Jobs that run one after the other, some times; they are the loop's own.

    Attributes
    ----------
    jobs : sequence of Job
        Which.
    times : int
        How often all of them run.
    """

    jobs: Sequence[Job]
    times: int = 1


def advancing(job: Job, field: int, step: int) -> Job:
    """Return what adds to a field of a job."""
    place = ctypes.addressof(job.given) + 8 * (field + 2)
    return Kernel(_ADVANCING).job(place, step)


def in_lanes(lanes: Sequence[Sequence[Loop]]) -> Job:
    """Return what runs some loops in one thread each, a lane's one after the other.

    Parameters
    ----------
    lanes : sequence of sequences of Loop
        Each finds what those before it in its lane have written, and nothing of other lanes.
    """
    loops = [loop for lane in lanes for loop in lane]
    jobs = [job for loop in loops for job in loop.jobs]
    for job in jobs:
        job.take_one_thread()
    table = [x for job in jobs for x in (job.function.value or 0, ctypes.addressof(job.given))]
    stops = list(itertools.accumulate(len(loop.jobs) for loop in loops))
    counts = [x for loop, stop in zip(loops, stops, strict=True)
              for x in (loop.times, stop - len(loop.jobs), stop)]  # fmt: skip
    bounds = [0, *itertools.accumulate(map(len, lanes))]
    tables = [(ctypes.c_int64 * len(numbers))(*numbers) for numbers in (table, counts, bounds)]
    found = Kernel(_LANES).job(*map(ctypes.addressof, tables), len(lanes))
    found.inner, found.kept = jobs, tables
    return found
