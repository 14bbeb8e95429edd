"""Several processes make the same rows as one, also when some of them die."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from caffe.bulk import workers
from caffe.bulk.classifying import Classifying, OpenClassifying
from caffe.bulk.job import Job
from caffe.bulk.parts import Count, part_numbers
from caffe.bulk.run import run
from caffe.errors import CaffeError
from tests.helpers.bulk import check_whole, job_of, painted

pytest.importorskip("pyarrow", reason="pyarrow is not installed")


DEADLY = "0005.png"


class Deadly(Classifying):
    """Ends the process at one picture, as a fault in a decoder does."""

    def open(self) -> OpenClassifying:
        return OpenDeadly(self)


class OpenDeadly(OpenClassifying):
    def prepare(self, content: bytes, name: str) -> Any:
        if name.endswith(DEADLY):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().prepare(content, name)


class DeadlyOnce(Classifying):
    """Ends the first process that comes to one picture, as a lack of memory may."""

    def open(self) -> OpenClassifying:
        return OpenDeadlyOnce(self)


class OpenDeadlyOnce(OpenClassifying):
    def prepare(self, content: bytes, name: str) -> Any:
        if name.endswith(DEADLY):
            mark = Path(f"{name}.seen")
            if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return super().prepare(content, name)


class Unfit(Classifying):
    """Cannot be opened."""

    def open(self) -> OpenClassifying:
        raise CaffeError("this net cannot be had here")


def with_task(job: Job, kind: type[Classifying]) -> Job:
    task: Any = job.task
    return Job(kind(**vars(task)), job.sources, job.output, job.size)


def test_several_processes_make_the_rows_of_one_and_one_that_dies_is_replaced(
    tmp_path: Path,
) -> None:
    job = job_of(tmp_path, [painted(tmp_path / "pictures", range(21))], size=2)
    (tmp_path / "pictures" / "0004.png").write_text("no picture")
    assert run(with_task(job, DeadlyOnce), workers=2) == Count(21, 1)
    assert (tmp_path / "pictures" / f"{DEADLY}.seen").exists()
    check_whole(job, 21, errors=1)


def test_a_picture_that_ends_processes_holds_up_its_shard_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "TRIES", 1)
    job = job_of(tmp_path, [painted(tmp_path / "pictures", range(8))], size=2)
    with pytest.raises(CaffeError, match=r"shard .*2.* was ended by signal 9, 1 times each"):
        run(with_task(job, Deadly), workers=2)
    # Which of the shards in a dead process's hands was to blame cannot be known: the one is never
    # done, another may have to wait.
    assert 2 not in part_numbers(job.store)
    (tmp_path / "pictures" / DEADLY).unlink()
    assert run(job) == Count(8, 1)
    check_whole(job, 8, errors=1)


def test_processes_that_cannot_be_started_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Starter:
        """What starts processes, when the system has killed it for want of memory."""

        Pipe = staticmethod(multiprocessing.Pipe)

        class Process:
            def __init__(self, **facts: object) -> None:
                pass

            def start(self) -> None:
                raise EOFError("unexpected EOF")

    monkeypatch.setattr(workers, "_context", Starter)
    job = job_of(tmp_path, [painted(tmp_path / "pictures", range(4))], size=2)
    with pytest.raises(CaffeError, match="no process can be started: what starts them was ended"):
        run(job, workers=2)


def test_what_a_process_cannot_do_is_said(tmp_path: Path) -> None:
    job = job_of(tmp_path, [painted(tmp_path / "pictures", range(4))], size=2)
    ours, theirs = multiprocessing.Pipe()
    before = signal.getsignal(signal.SIGINT)
    try:
        workers._work_for(with_task(job, Unfit), theirs)
    finally:
        signal.signal(signal.SIGINT, before)
    assert ours.recv() == (workers.FAILED, "this net cannot be had here")
    ours.close()
    theirs.close()
