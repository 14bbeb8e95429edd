"""Every picture has one row, whatever happens on the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from caffe.bulk import fetching
from caffe.bulk.job import AGREED, Job
from caffe.bulk.parts import Count, part_name, part_numbers
from caffe.bulk.retrying import retry_errors
from caffe.bulk.run import FINISHED, State, run
from caffe.errors import CaffeError, FetchError, MissingFileError, WriteError
from tests.helpers.bulk import archive, check_whole, encoded, job_of, painted
from tests.helpers.places import REPOSITORY

arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")

KILLED = """
import os, pathlib, random, signal, sys, time
from caffe.bulk.run import run
from caffe.bulk.parts import part_numbers
from tests.helpers.bulk import job_of

folder, tries = pathlib.Path(sys.argv[1]), 0
job = job_of(folder, [folder / "pictures"], size=2)
job.task.open()
random.seed(3)
while True:
    before = part_numbers(job.store)
    child = os.fork()
    if not child:
        run(job)
        os._exit(0)
    if tries < 8:
        time.sleep(random.uniform(0.02, 0.12))
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert before <= part_numbers(job.store)
    if status == 0:
        break
    assert os.WIFSIGNALED(status), status
    tries += 1
print(tries)
"""


def test_all_kinds_of_sources_have_their_rows(tmp_path: Path) -> None:
    painted(tmp_path / "pictures", range(7))
    painted(tmp_path / "pictures" / "deeper", range(7, 10))
    archive(tmp_path / "shard-0.tar", range(10, 16))
    archive(tmp_path / "shard-1.tar", range(16, 19))
    held = [{"bytes": encoded(n), "path": f"{n}.png"} for n in range(19, 29)]
    table = arrow.table({"image": held, "key": [f"{n}.png" for n in range(19, 29)]})
    parquet.write_table(table, tmp_path / "held.parquet", row_group_size=3)
    apart = painted(tmp_path / "apart", range(2, 5))
    named = arrow.table({"path": ["apart/0002.png", str(apart / "0003.png")]})
    parquet.write_table(named, tmp_path / "named.parquet")
    sources = [
        tmp_path / "pictures",
        tmp_path / "shard-*.tar",
        tmp_path / "held.parquet",
        tmp_path / "named.parquet",
        apart / "0004.png",
        archive(tmp_path / "packed.tgz", range(32, 41)),
    ]
    job = job_of(tmp_path, sources)
    assert run(job) == Count(41, 0)
    keys = [row["key"] for row in check_whole(job, 41)]
    assert keys[9:11] == [
        str(tmp_path / "pictures" / "deeper" / "0009.png"),
        f"{tmp_path / 'shard-0.tar'}#0010.png",
    ]
    assert keys[29:32] == [str(apart / f"{n:04}.png") for n in (2, 3, 4)]


def test_what_cannot_be_read_keeps_its_row_and_can_be_read_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = painted(tmp_path / "pictures", range(9))
    (folder / "0002.png").write_text("no picture")
    (folder / "0005.png").write_bytes(encoded(5)[:40])
    (folder / "0007.png").write_bytes(b"")
    Image.new("L", (300, 200)).save(folder / "0008.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40_000)
    monkeypatch.setattr(fetching, "MOST_BYTES", 5000)
    (folder / "0001.png").write_bytes(bytes(5001))
    job = job_of(tmp_path, [folder])
    assert run(job) == Count(9, 5)
    rows = check_whole(job, 9, errors=5)
    told = {row["key"][-8:-4]: row["error"] for row in rows if row["error"]}
    assert "too many for a picture" in told["0001"]
    assert "not a picture" in told["0002"]
    assert "too large a picture" in told["0008"]
    assert not any(str(folder) in error for error in told.values())

    kept = rows[0]
    painted(folder, (2, 5, 7))
    assert retry_errors(job) == Count(9, 2)
    assert check_whole(job, 9, errors=2)[0] == kept
    assert json.loads((tmp_path / "out" / FINISHED).read_text())["errors"] == 2


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    job = job_of(tmp_path, [painted(tmp_path / "pictures", range(10))], size=3)
    run(job)
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("part-*")}
    (tmp_path / "out" / part_name(1)).unlink()
    (tmp_path / "out" / FINISHED).unlink()
    states: list[tuple[int, int]] = []

    def watch(state: State) -> None:
        states.append((state.before, state.done))

    assert run(job, watch) == Count(10, 0)
    assert states[-1] == (7, 3)
    for path, when in written.items():
        assert (path.stat().st_mtime_ns == when) == (path.name != part_name(1))
    check_whole(job, 10)


def test_another_run_is_refused_with_the_difference_named(tmp_path: Path) -> None:
    pictures = painted(tmp_path / "pictures", range(3))
    job = job_of(tmp_path, [pictures])
    run(job)
    with pytest.raises(CaffeError, match="holds another run: top was 2 and is 1"):
        run(job_of(tmp_path, [pictures], top=1))
    Path(job.task.model.net).write_text("# another\n" + Path(job.task.model.net).read_text())
    with pytest.raises(CaffeError, match='model net was "'):
        run(Job(job.task, job.sources, job.output, job.size))
    (tmp_path / "out" / AGREED).write_text("[")
    with pytest.raises(CaffeError, match=r"_RUN\.json: not a run's facts"):
        run(job)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system knows no fork")
def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    painted(tmp_path / "pictures", range(41))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLED, str(tmp_path)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY / 'src'}{os.pathsep}{REPOSITORY}"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 3
    job = job_of(tmp_path, [tmp_path / "pictures"], size=2)
    check_whole(job, 41)
    # What was under way when somebody was killed leaves nothing behind.
    names = [path.name for path in (tmp_path / "out").rglob("*")]
    assert not [name for name in names if not name.startswith(("part-", "shard-", "_"))]


def test_two_runs_at_once_share_the_work(tmp_path: Path) -> None:
    job = job_of(tmp_path, [painted(tmp_path / "pictures", range(80))], size=2)
    counts: list[Count] = []
    states: list[State] = [State(), State()]

    def one(number: int) -> None:
        def watch(state: State) -> None:
            states[number] = state

        counts.append(run(job, watch))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [Count(80, 0), Count(80, 0)]
    assert sum(state.shards for state in states) == 40
    check_whole(job, 80)


def test_pictures_that_come_while_they_are_listed_are_in_no_two_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = painted(tmp_path / "pictures", range(0, 40, 2))
    job = job_of(tmp_path, [folder])
    create = type(job.store).create
    grown = iter(range(1, 60, 2))

    def growing(store: Any, name: str, content: bytes) -> bool:
        painted(folder, islice(grown, 3))
        return bool(create(store, name, content))

    # A second process lists the same folder at the same time, and sees more of it.
    monkeypatch.setattr(type(job.store), "create", growing)
    others = [threading.Thread(target=run, args=(job,)) for _ in range(2)]
    for thread in others:
        thread.start()
    for thread in others:
        thread.join()
    monkeypatch.undo()
    count = run(job)
    assert count.pictures >= 20
    keys = [row["key"] for row in check_whole(job, count.pictures)]
    assert sorted(set(keys)) == keys


def test_a_full_disk_ends_the_run_and_it_goes_on_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = """
import pathlib, resource, sys
from caffe.bulk.run import run
from caffe.errors import CaffeError
from tests.helpers.bulk import job_of

folder = pathlib.Path(sys.argv[1])
job = job_of(folder, [folder / "pictures"], size=400)
job.agree()
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    run(job)
except CaffeError as error:
    print(type(error).__name__, error)
"""
    painted(tmp_path / "pictures", range(400))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(tmp_path)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY / 'src'}{os.pathsep}{REPOSITORY}"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.startswith("WriteError"), done.stdout + done.stderr
    assert "File too large" in done.stdout
    job = job_of(tmp_path, [tmp_path / "pictures"], size=400)
    assert not part_numbers(job.store)
    run(job)
    check_whole(job, 400)


def test_a_place_that_cannot_be_reached_is_no_fault_of_its_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(store: object, name: str) -> bytes:
        raise FetchError(f"{name}: no connection")

    job = job_of(tmp_path, [painted(tmp_path / "pictures", range(20))], size=20)
    run(job_of(tmp_path, [tmp_path / "pictures"], tmp_path / "other"))
    monkeypatch.setattr(fetching, "_whole", lambda entry: refuse(None, entry.key))
    with pytest.raises(FetchError, match="none of the 20 pictures of shard 0 can be reached"):
        run(job)
    assert not part_numbers(job.store)
    monkeypatch.undo()
    run(job)
    check_whole(job, 20)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("empty", "no pictures in "),
        ("none-*.tar", "nothing is there that is called so"),
        ("-", "no pictures from standard input"),
        ("packed.tar.gz", "a damaged archive: Not a gzipped file"),
        ("broken.tar", "a damaged archive"),
        ("broken.parquet", "no Parquet file"),
        ("numbers.parquet", "has no column of pictures"),
    ],
)
def test_what_are_no_pictures_is_said(
    tmp_path: Path, source: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for name in ("packed.tar.gz", "broken.tar", "broken.parquet"):
        (tmp_path / name).write_bytes(b"x" * 2000)
    parquet.write_table(arrow.table({"n": [1]}), tmp_path / "numbers.parquet")
    with pytest.raises(CaffeError, match=told):
        run(job_of(tmp_path, [source]))


def test_a_run_without_pictures_that_can_be_read_is_a_run(tmp_path: Path) -> None:
    job = job_of(tmp_path, [tmp_path / "absent.png"])
    assert run(job) == Count(1, 1)
    assert check_whole(job, 1, errors=1)[0]["error"] == "no such file"
    elsewhere = job_of(tmp_path, [tmp_path / "absent.png"], tmp_path / "elsewhere")
    with pytest.raises(MissingFileError, match="no run is here"):
        retry_errors(elsewhere)


def test_rows_cannot_be_kept_where_a_file_is(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(WriteError, match="cannot be written"):
        run(job_of(tmp_path, [painted(tmp_path / "pictures", range(2))]))
