"""Files are whole or not there, and stay what they were."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from caffe.atomic import atomic_write, create_file
from caffe.errors import CaffeError, WriteError

KINDS = ("unnamed", "named")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Systems with files that have no name, and systems without."""
    if request.param == "named":
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    return str(request.param)


def write(path: Path | str, content: bytes = b"new") -> None:
    with atomic_write(path) as stream:
        stream.write(content)


def rights(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_the_file_is_there_at_the_end_only(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    with atomic_write(path) as stream:
        stream.write(b"new")
        stream.flush()
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["file"]


def test_a_file_is_kept_where_the_new_one_fails(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"precious")
    with pytest.raises(TypeError), atomic_write(path) as stream:
        stream.write(3)
    assert path.read_bytes() == b"precious"
    assert names(tmp_path) == ["file"]


def test_a_new_file_has_the_rights_that_the_umask_leaves(kind: str, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write(tmp_path / "file")
    finally:
        os.umask(before)
    assert rights(tmp_path / "file") == 0o640


@pytest.mark.parametrize("mode", [0o600, 0o664, 0o755])
def test_a_file_keeps_its_rights(kind: str, mode: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a longer old content")
    path.chmod(mode)
    write(path)
    assert path.read_bytes() == b"new"
    assert rights(path) == mode


def test_nobody_else_can_read_a_private_file_under_way(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch(0o600)
    with atomic_write(path) as stream:
        assert stat.S_IMODE(os.fstat(stream.fileno()).st_mode) == 0o600


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives away")
def test_a_file_keeps_its_owner(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    os.chown(path, 1234, 2345)
    write(path)
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 2345)


def test_hard_links_stay_one_file(kind: str, tmp_path: Path) -> None:
    path, other = tmp_path / "file", tmp_path / "other"
    path.write_bytes(b"a longer old content")
    os.link(path, other)
    write(path)
    assert other.read_bytes() == b"new"
    write(path, b"longer than everything before it")
    assert other.read_bytes() == b"longer than everything before it"
    assert path.samefile(other)
    assert names(tmp_path) == ["file", "other"]


def test_extended_attributes_stay(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    try:
        os.setxattr(path, "user.note", b"mine")
    except (OSError, AttributeError):
        pytest.skip("the file system has no extended attributes")
    write(path)
    assert os.getxattr(path, "user.note") == b"mine"


@pytest.mark.parametrize("there", [True, False])
def test_symbolic_links_are_followed(kind: str, there: bool, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    if there:
        (folder / "file").touch()
    link = tmp_path / "link"
    link.symlink_to(folder / "file")
    write(link)
    assert link.is_symlink()
    assert (folder / "file").read_bytes() == b"new"


def test_names_may_be_as_long_as_the_system_allows(kind: str, tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    write(path, b"first")
    write(path)
    assert path.read_bytes() == b"new"
    with pytest.raises(WriteError, match="name too long"):
        write(tmp_path / ("n" * 256))


def test_a_pipe_is_written_into(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()), daemon=True)
    reader.start()
    content = bytes(range(256)) * 4096
    write(pipe, content)
    reader.join(10)
    assert got == [content]
    assert pipe.is_fifo()


def test_a_reader_that_goes_away_is_an_error(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    timer = threading.Timer(0.1, os.close, [reader])
    timer.start()
    # More than a pipe holds.
    with pytest.raises(WriteError, match="pipe"):
        write(pipe, bytes(1 << 21))
    timer.join()
    assert pipe.is_fifo()


def test_a_device_stays_a_device(tmp_path: Path) -> None:
    device = tmp_path / "null"
    try:
        os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        write(device)
    except (OSError, AttributeError):
        pytest.skip("devices cannot be made, or not be used, here")
    assert device.is_char_device()
    assert os.stat(device).st_rdev == os.makedev(1, 3)


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may do anything")
def test_what_may_not_be_written_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch(0o444)
    with pytest.raises(WriteError, match="Permission denied"):
        write(path)


@pytest.mark.parametrize("name", ["", "absent/file", "folder/", "folder", "nul\0byte"])
def test_what_is_no_file_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(CaffeError, match="cannot be written"):
        write(name)
    assert names(tmp_path) == ["folder"]


KILLED = """
import os, signal, sys
if sys.argv[2] == "named":
    vars(os).pop("O_TMPFILE", None)
from caffe.atomic import atomic_write, create_file
with atomic_write(sys.argv[1]) as stream:
    stream.write(bytes(100_000))
    stream.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_writer_left_goes_with_the_next(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"precious")
    killed = subprocess.run([sys.executable, "-c", KILLED, path, kind], check=False)
    assert killed.returncode == -signal.SIGKILL
    if kind == "unnamed" and len(names(tmp_path)) > 1:
        pytest.skip("the file system knows no files without a name")
    assert len(names(tmp_path)) == (1 if kind == "unnamed" else 2)
    assert path.read_bytes() == b"precious"
    write(path)
    assert names(tmp_path) == ["file"]


def test_what_another_writer_is_at_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    monkeypatch.setattr("caffe.atomic._cleared", set())
    with atomic_write(tmp_path / "one") as stream:
        stream.write(b"one")
        monkeypatch.setattr("caffe.atomic._cleared", set())
        write(tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == b"one"
    assert names(tmp_path) == ["one", "two"]


def test_without_links_to_open_files_the_content_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*args: object, **kwargs: object) -> None:
        raise PermissionError(1, "not here")

    monkeypatch.setattr(os, "link", refused)
    write(tmp_path / "file", b"first")
    write(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert names(tmp_path) == ["file"]


def test_of_many_who_create_a_file_one_does(kind: str, tmp_path: Path) -> None:
    path, created = tmp_path / "file", []
    contents = [bytes([number]) * 70_000 for number in range(8)]
    threads = [
        threading.Thread(target=lambda c=content: created.append((create_file(path, c), c)))
        for content in contents
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = (content for was_created, content in created if was_created)
    assert path.read_bytes() == winner
    assert names(tmp_path) == ["file"]


def test_a_file_is_created_where_the_system_knows_no_second_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*places: object, **options: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    monkeypatch.setattr(os, "link", refuse)
    assert create_file(tmp_path / "file", b"first")
    assert not create_file(tmp_path / "file", b"second")
    assert (tmp_path / "file").read_bytes() == b"first"
    assert names(tmp_path) == ["file"]
    with pytest.raises(WriteError, match="cannot be written"):
        create_file(tmp_path / "absent" / "file", b"first")
