"""Files' bytes: copied as they are asked for, and an error where they change meanwhile."""

from __future__ import annotations

import os
import random
import threading
from pathlib import Path

import pytest

import caffe
from caffe.errors import ParseError
from caffe.io.curves import read_curves
from caffe.proto.contents import (
    MOST_STREAMED,
    SMALL,
    FileBytes,
    open_bytes,
    open_lines,
    read_bytes,
)

SIZE = SMALL + 12345


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large"
    path.write_bytes(random.Random(0).randbytes(SIZE))
    return path


def test_parts_are_those_of_the_file(large: Path) -> None:
    content, data = large.read_bytes(), open_bytes(large)
    assert isinstance(data, FileBytes)
    assert len(data) == SIZE
    assert read_bytes(large) == content
    chance = random.Random(1)
    for _ in range(300):
        start = chance.choice([chance.randrange(SIZE), SIZE - 5])
        stop = start + chance.choice([0, 1, 9, 5000, 20_000, 2 * SIZE])
        assert data[start:stop] == content[start:stop]
    assert data[SIZE:] == data[9:3] == b""


@pytest.mark.parametrize("change", ["cut off", "written over", "as long as before"])
def test_a_file_that_changes_is_an_error(change: str, large: Path) -> None:
    data = open_bytes(large)
    assert data[:4] == large.read_bytes()[:4]
    if change == "cut off":
        os.truncate(large, 1000)
    else:
        large.write_bytes(bytes(SIZE if change == "as long as before" else 99))
        # What writes a file anew may be quicker than the clock of the file system.
        os.utime(large, (1, 1))
    with pytest.raises(ParseError, match="large: the file was changed while it was read"):
        data[SIZE // 2 : SIZE // 2 + 100]


def test_a_file_that_is_replaced_is_read_as_it_was(large: Path, tmp_path: Path) -> None:
    content, data = large.read_bytes(), open_bytes(large)
    (tmp_path / "new").write_bytes(b"new")
    os.replace(tmp_path / "new", large)
    assert data[SIZE - 100 :] == content[-100:]


def test_pipes_are_read_to_their_end(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    threading.Thread(target=(tmp_path / "pipe").write_bytes, args=[b"content"]).start()
    assert open_bytes(tmp_path / "pipe") == b"content"


def test_what_has_no_end_is_not_read_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_STREAMED == 1 << 30
    monkeypatch.setattr("caffe.proto.contents.MOST_STREAMED", 1000)
    with pytest.raises(ParseError, match="/dev/zero: more than 1000 bytes"):
        open_bytes("/dev/zero")


LISTS = {
    "pictures": 'type: "ImageData" top: "l" image_data_param {{ source: "{}" }}',
    "files": 'type: "HDF5Data" hdf5_data_param {{ source: "{}" batch_size: 1 }}',
    "windows": 'type: "WindowData" top: "l" window_data_param {{ source: "{}" batch_size: 1 }} '
    "transform_param {{ crop_size: 1 }}",
    "names": 'type: "MatRead" mat_read_param {{ prefix: "a" source: "{}" }}',
}


@pytest.mark.parametrize("layer", LISTS.values(), ids=LISTS)
def test_a_list_that_has_no_end_is_refused(layer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caffe.proto.contents.MOST_STREAMED", 1000)
    with pytest.raises(caffe.CaffeError, match="/dev/zero: more than 1000 bytes"):
        caffe.Net(f'layer {{ name: "d" top: "d" {layer.format("/dev/zero")} }}', caffe.TEST)


def test_a_log_that_has_no_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caffe.proto.contents.MOST_STREAMED", 1000)
    with pytest.raises(ParseError, match="/dev/zero: more than 1000 bytes"):
        read_curves("/dev/zero")


def test_lines_are_those_of_a_file_that_open_reads(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_bytes("a\r\nb\x0bc\u2028d\re".encode() + b"\xff\n")
    for newline in (None, ""):
        with (
            open(path, encoding="utf-8", errors="surrogateescape", newline=newline) as file,
            open_lines(path, errors="surrogateescape", newline=newline) as lines,
        ):
            assert list(lines) == list(file)
