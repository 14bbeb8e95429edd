"""Downloads against a real server on loopback: broken off, resumed, wrong, interrupted."""

from __future__ import annotations

import builtins
import errno
import hashlib
import io
import os
import re
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

import caffe
from caffe.errors import CaffeError, CaffeWarning, FetchError
from caffe.installation import install_command
from caffe.io import labels
from caffe.zoo import cache, fetch_url, files, forks, model_names, records
from caffe.zoo.fetch import Expected, download
from caffe.zoo.record import Packaged

CONTENT = bytes(range(256)) * 8000
SHA1 = hashlib.sha1(CONTENT).hexdigest()
GOOD = Expected(len(CONTENT), "sha1", SHA1)


@dataclass
class Site:
    """What the server does, and what it was asked."""

    content: bytes = CONTENT
    etag: str | None = '"one"'
    status: int = 200
    ranges: bool = True
    break_after: int | None = None
    pause: float = 0.0
    piece: int = 1 << 16
    content_type: str = "application/octet-stream"
    with_length: bool = True
    seen: list[dict[str, str]] = field(default_factory=list)
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        site = self.site
        site.seen.append({key.lower(): value for key, value in self.headers.items()})
        if site.status != 200:
            self.send_error(site.status)
            return
        start = self.start_of_range(site)
        if start is not None and start >= len(site.content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(site.content)}")
            self.end_headers()
            return
        body = site.content[start or 0 :]
        self.send_response(200 if start is None else 206)
        self.send_header("Content-Type", site.content_type)
        if site.with_length:
            self.send_header("Content-Length", str(len(body)))
        if site.etag:
            self.send_header("ETag", site.etag)
        if start is not None:
            last = len(site.content) - 1
            self.send_header("Content-Range", f"bytes {start}-{last}/{len(site.content)}")
        self.end_headers()
        self.send_slowly(body, site)

    def start_of_range(self, site: Site) -> int | None:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        if asked is None or not site.ranges or condition not in (None, site.etag):
            return None
        return int(asked[1])

    def send_slowly(self, body: bytes, site: Site) -> None:
        if site.break_after is not None:
            body = body[: site.break_after]
        try:
            for at in range(0, len(body), site.piece):
                self.wfile.write(body[at : at + site.piece])
                time.sleep(site.pause)
        except OSError:
            return
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("SiteHandler", (Handler,), {"site": site}))
    server.daemon_threads = True
    site.url = f"http://127.0.0.1:{server.server_port}/model.caffemodel"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield site
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RECAFFE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RECAFFE_CAFFENET", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "home"


@pytest.fixture
def path(home: Path) -> Path:
    return cache.cache_dir() / "model.caffemodel"


def listing(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir() if item.name != cache.VERIFIED)


def begin(site: Site, path: Path, size: int = 500_000) -> None:
    """Leave what a run leaves that the network broke off."""
    site.break_after = size
    with pytest.raises(FetchError):
        download([site.url], path, GOOD)
    site.break_after = None
    site.seen.clear()


def test_a_download_ends_whole_in_its_place_and_leaves_nothing_else(site: Site, path: Path) -> None:
    reports: list[tuple[int, int | None]] = []
    download([site.url], path, GOOD, lambda done, total: reports.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert listing(path.parent) == [path.name]
    assert reports[-1] == (len(CONTENT), len(CONTENT))
    assert "recaffe" in site.seen[0]["user-agent"]


def test_a_broken_connection_is_said_and_the_next_run_goes_on(site: Site, path: Path) -> None:
    begin(site, path)
    assert listing(path.parent) == ["model.caffemodel.part", "model.caffemodel.part.json"]
    download([site.url], path, GOOD)
    assert site.seen[0]["range"] == "bytes=500000-"
    assert site.seen[0]["if-range"] == '"one"'
    assert path.read_bytes() == CONTENT
    assert listing(path.parent) == [path.name]


def test_a_server_that_ignores_ranges_is_downloaded_from_the_start(site: Site, path: Path) -> None:
    begin(site, path)
    site.ranges = False
    download([site.url], path, GOOD)
    assert path.read_bytes() == CONTENT


def test_a_file_that_changed_meanwhile_is_downloaded_from_the_start(site: Site, path: Path) -> None:
    begin(site, path)
    site.content, site.etag = CONTENT[::-1], '"two"'
    changed = Expected(len(CONTENT), "sha1", hashlib.sha1(site.content).hexdigest())
    download([site.url], path, changed)
    assert path.read_bytes() == site.content


def test_a_wrong_beginning_is_noticed_by_the_checksum_and_replaced(site: Site, path: Path) -> None:
    begin(site, path)
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(b"x" * part.stat().st_size)
    download([site.url], path, GOOD)
    assert path.read_bytes() == CONTENT
    assert len(site.seen) == 2


def test_a_part_that_was_whole_already_is_accepted(site: Site, path: Path) -> None:
    begin(site, path)
    path.with_name(f"{path.name}.part").write_bytes(CONTENT)
    download([site.url], path, GOOD)
    assert path.read_bytes() == CONTENT


def test_a_part_that_is_too_long_is_thrown_away(site: Site, path: Path) -> None:
    begin(site, path)
    path.with_name(f"{path.name}.part").write_bytes(CONTENT + b"more")
    download([site.url], path, GOOD)
    assert path.read_bytes() == CONTENT


def test_without_checksum_and_validator_nothing_is_resumed(site: Site, path: Path) -> None:
    site.etag = None
    begin(site, path)
    download([site.url], path, Expected(len(CONTENT)))
    assert "range" not in site.seen[0]
    assert path.read_bytes() == CONTENT


def test_a_part_without_its_note_is_not_resumed(site: Site, path: Path) -> None:
    begin(site, path)
    path.with_name(f"{path.name}.part.json").write_text("[not a note")
    download([site.url], path, GOOD)
    assert "range" not in site.seen[0]
    assert path.read_bytes() == CONTENT


def test_a_wrong_checksum_is_kept_apart_and_the_good_file_stays(site: Site, path: Path) -> None:
    path.write_bytes(b"the good one")
    wanted = "0" * 40
    with pytest.raises(FetchError, match=f"SHA1 is {SHA1} instead of {wanted}"):
        download([site.url], path, Expected(len(CONTENT), "sha1", wanted))
    assert path.read_bytes() == b"the good one"
    assert listing(path.parent) == [path.name, f"{path.name}.rejected"]
    assert path.with_name(f"{path.name}.rejected").read_bytes() == CONTENT


def test_a_wrong_size_is_rejected_where_no_checksum_is_known(site: Site, path: Path) -> None:
    with pytest.raises(FetchError, match="2048000 bytes came instead of 7"):
        download([site.url], path, Expected(7))
    assert not path.exists()


def test_a_web_page_is_not_taken_for_a_model(site: Site, path: Path) -> None:
    site.content_type = "text/html; charset=utf-8"
    with pytest.raises(FetchError, match="web page"):
        download([site.url], path)
    assert listing(path.parent) == []


def test_mirrors_are_tried_in_order(site: Site, path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{closed.getsockname()[1]}/x"
    download([nowhere, "ftp://example.org/x", site.url], path, GOOD)
    assert path.read_bytes() == CONTENT


def test_when_all_mirrors_fail_each_is_named_with_its_reason(site: Site, path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{closed.getsockname()[1]}/x"
    site.status = 404
    with pytest.raises(FetchError) as caught:
        download([nowhere, site.url], path, GOOD)
    assert re.search(rf"{nowhere}: no connection \(.*refused", str(caught.value))
    assert f"{site.url}: 404" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert listing(path.parent) == []


def test_a_mirror_goes_on_with_what_another_began_if_a_checksum_proves_it(
    site: Site, path: Path
) -> None:
    begin(site, path)
    download([f"{site.url}?mirror"], path, GOOD)
    assert site.seen[0]["range"] == "bytes=500000-"
    assert "if-range" not in site.seen[0]
    assert path.read_bytes() == CONTENT


def test_a_silent_server_times_out(path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/x"
        with pytest.raises(FetchError, match=r"no answer for 0\.2 s"):
            download([url], path, GOOD, timeout=0.2)
    assert listing(path.parent) == []


def test_a_server_that_falls_silent_midway_times_out(site: Site, path: Path) -> None:
    site.pause = 0.6
    with pytest.raises(FetchError, match=r"no answer for 0\.2 s"):
        download([site.url], path, GOOD, timeout=0.2)
    assert not path.exists()


def test_ctrl_c_leaves_only_what_the_next_run_goes_on_with(site: Site, path: Path) -> None:
    def interrupt(done: int, total: int | None) -> None:
        if done > 600_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download([site.url], path, GOOD, interrupt)
    assert listing(path.parent) == ["model.caffemodel.part", "model.caffemodel.part.json"]
    download([site.url], path, GOOD)
    assert site.seen[1]["range"].startswith("bytes=")
    assert path.read_bytes() == CONTENT


class FullDisk(io.FileIO):
    """A file on a disk that holds 300 000 bytes."""

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > 300_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data)


def test_a_disk_that_fills_up_is_said_with_needed_and_free_bytes(
    site: Site, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.open

    def small(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if str(file).endswith(".part") and mode == "wb":
            return FullDisk(file, "wb")
        return real(file, mode, *args, **kwargs)

    monkeypatch.setattr(builtins, "open", small)
    with pytest.raises(
        FetchError, match=r"disk is full: 2048000 more bytes are needed, \d+ are free"
    ):
        download([site.url, f"{site.url}?mirror"], path, GOOD)
    assert len(site.seen) == 1
    assert not path.exists()


def test_a_file_larger_than_the_disk_is_not_begun(
    site: Site, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 1000})())
    with pytest.raises(FetchError, match="2048000 more bytes are needed, 1000 are free"):
        download([site.url], path, GOOD)
    assert listing(path.parent) == []


def test_checksums_are_remembered_until_the_file_changes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_bytes(CONTENT)
    assert cache.checksum(path, "sha1") == SHA1
    with monkeypatch.context() as patch:
        patch.setattr("hashlib.new", None)
        assert cache.checksum(path, "sha1") == SHA1
    path.write_bytes(CONTENT + b"x")
    assert cache.checksum(path, "sha1") == hashlib.sha1(CONTENT + b"x").hexdigest()
    (cache.cache_dir() / cache.VERIFIED).write_text("broken")
    assert cache.checksum(path, "sha1") == hashlib.sha1(CONTENT + b"x").hexdigest()


def test_a_cache_directory_that_cannot_be_made_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RECAFFE_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(FetchError, match="set RECAFFE_HOME"):
        cache.cache_dir()


# A model of the zoo, fetched from the server.


def test_a_cache_that_cannot_be_written_is_said(
    caffenet: records.Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A folder stands where the lock should be: this fails even for the superuser.
    (cache.cache_dir() / f"{caffenet.file_name}.lock").mkdir()
    with pytest.raises(FetchError, match=r"CaffeNet cannot be kept in .* set RECAFFE_HOME"):
        files.fetch(caffenet.name)


@pytest.fixture
def caffenet(site: Site, monkeypatch: pytest.MonkeyPatch) -> records.Record:
    entry = replace(
        records.record("bvlc_reference_caffenet"), url=site.url, sha1=SHA1, size=len(CONTENT)
    )
    monkeypatch.setitem(records._BY_NAME, entry.name, entry)
    return entry


def test_fetch_brings_weights_and_prototxt_and_then_finds_them(
    caffenet: records.Record, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    brought = files.fetch(caffenet.name)
    assert brought.weights is not None
    assert brought.net is not None
    assert brought.weights.read_bytes() == CONTENT
    assert 'name: "CaffeNet"' in brought.net.read_text()
    assert capsys.readouterr().out == "CaffeNet fetched.\n"
    assert files.fetch(caffenet.name) == brought
    assert capsys.readouterr().out == "CaffeNet found.\n"
    assert len(site.seen) == 1


def test_a_file_put_into_the_cache_by_hand_is_found(
    caffenet: records.Record, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    (cache.cache_dir() / caffenet.file_name).write_bytes(CONTENT)
    files.fetch(caffenet.name)
    assert capsys.readouterr().out == "CaffeNet found.\n"
    assert site.seen == []


def test_a_wrong_file_put_into_the_cache_is_kept_apart(
    caffenet: records.Record, capsys: pytest.CaptureFixture[str]
) -> None:
    path = cache.cache_dir() / caffenet.file_name
    path.write_bytes(b"x" * len(CONTENT))
    files.fetch(caffenet.name)
    assert path.read_bytes() == CONTENT
    assert path.with_name(f"{path.name}.rejected").read_bytes()[:1] == b"x"
    assert "SHA1 is" in capsys.readouterr().out


def test_a_broken_prototxt_in_the_cache_is_written_anew(caffenet: records.Record) -> None:
    net = files.fetch(caffenet.name).net
    assert net is not None
    text = net.read_text()
    net.write_text(text[:100])
    files.fetch(caffenet.name)
    assert net.read_text() == text


def test_the_environment_may_name_caffenets_weights(
    caffenet: records.Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own.caffemodel"
    own.write_bytes(CONTENT)
    monkeypatch.setenv("RECAFFE_CAFFENET", str(own))
    assert files.fetch(caffenet.name).weights == own
    own.write_bytes(b"fine-tuned")
    with pytest.warns(CaffeWarning, match="not the published weights"):
        assert files.fetch(caffenet.name).weights == own
    own.unlink()
    with pytest.raises(FetchError, match="RECAFFE_CAFFENET names"):
        files.fetch(caffenet.name)


def test_what_cannot_be_checked_is_fetched_only_for_who_says_so(
    site: Site,
    caffenet: records.Record,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(records._BY_NAME, caffenet.name, replace(caffenet, sha1=None))
    with pytest.raises(FetchError, match=f"caffe fetch {caffenet.name} --unchecked"):
        files.fetch(caffenet.name)
    assert site.seen == []
    files.fetch(caffenet.name, unchecked=True)
    assert "No checksum is published for CaffeNet; only its size was checked." in (
        capsys.readouterr().out
    )
    files.fetch(caffenet.name)


def test_a_text_that_cannot_be_checked_is_refused_before_its_weights_are_fetched(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = records.record("mobilenet_v1")
    assert record.text is not None
    text = replace(record.text, url=site.url, sha256=None)
    entry = replace(record, url=site.url, text=text)
    monkeypatch.setitem(records._BY_NAME, entry.name, entry)
    with pytest.raises(FetchError, match=r"no checksum is known of mobilenet_v1\.prototxt"):
        files.fetch("mobilenet_v1", quiet=True)
    assert site.seen == []


def archive(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in members.items():
            item = tarfile.TarInfo(name.replace("__", "/").replace("_dot_", "."))
            item.size = len(content)
            tar.addfile(item, io.BytesIO(content))
    return stream.getvalue()


def test_an_archive_is_unpacked_within_its_folder(
    site: Site, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.content = archive(up__synset_words_dot_txt=b"n1 a\n", synsets_dot_txt=b"n1\n", other=b"x")
    entry = replace(
        records.record("ilsvrc12"),
        url=site.url,
        mirrors=(),
        size=None,
        members=("synset_words.txt", "synsets.txt"),
    )
    monkeypatch.setitem(records._BY_NAME, "ilsvrc12", entry)
    paths = files.fetch("ilsvrc12", quiet=True, unchecked=True).others
    assert [path.read_bytes() for path in paths] == [b"n1 a\n", b"n1\n"]
    assert listing(home / "ilsvrc12") == ["synset_words.txt", "synsets.txt"]
    monkeypatch.setitem(records._BY_NAME, "ilsvrc12", replace(entry, members=("absent.txt",)))
    with pytest.raises(FetchError, match=r"has no absent\.txt"):
        files.fetch("ilsvrc12", quiet=True, unchecked=True)


def test_a_broken_archive_is_said(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.content = archive(synsets_dot_txt=os.urandom(50_000))[:20_000]
    entry = replace(
        records.record("ilsvrc12"), url=site.url, mirrors=(), size=None, members=("synsets.txt",)
    )
    monkeypatch.setitem(records._BY_NAME, "ilsvrc12", entry)
    with pytest.raises(FetchError, match="cannot be unpacked"):
        files.fetch("ilsvrc12", quiet=True, unchecked=True)
    assert not (cache.cache_dir() / entry.file_name).exists()


@pytest.mark.parametrize("kind", ["too large", "a link"])
def test_what_an_archive_must_not_hold(
    kind: str, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        item = tarfile.TarInfo("synsets.txt")
        if kind == "a link":
            item.type, item.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(item)
        else:
            item.size = 100
            tar.addfile(item, io.BytesIO(bytes(100)))
    site.content = stream.getvalue()
    entry = replace(
        records.record("ilsvrc12"), url=site.url, mirrors=(), size=None, members=("synsets.txt",)
    )
    monkeypatch.setitem(records._BY_NAME, "ilsvrc12", entry)
    monkeypatch.setattr(files, "MOST_UNPACKED", 99)
    with pytest.raises(FetchError, match=r"cannot be unpacked \(.*(100 bytes|passwd)"):
        files.fetch("ilsvrc12", quiet=True, unchecked=True)


FINDER = """
input: "data" input_shape { dim: 1 dim: 3 dim: 16 dim: 16 }
layer { name: "found" type: "Convolution" bottom: "data" top: "found"
        convolution_param { num_output: 125 kernel_size: 1 bias_filler { value: -20 } } }
"""


def test_a_detector_comes_out_of_an_archive_with_its_text(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "w.caffemodel"
    caffe.Net(FINDER, caffe.TEST).save(weights)
    record = records.record("ssd300_voc")
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in (
            ("models/deploy.prototxt", FINDER.encode()),
            (f"models/{record.weights_member}", weights.read_bytes()),
        ):
            item = tarfile.TarInfo(name)
            item.size = len(content)
            tar.addfile(item, io.BytesIO(content))
    site.content = stream.getvalue()
    checksum = hashlib.sha256(site.content).hexdigest()
    entry = replace(record, url=site.url, sha256=checksum, size=None)
    monkeypatch.setitem(records._BY_NAME, entry.name, entry)
    detector = caffe.zoo.load_detector("ssd300_voc", order="rgb")
    assert detector.names == labels.voc()
    assert detector.preparation.mean == (104, 117, 123)
    assert detector.preparation.order == "rgb"
    assert detector.preparation.reasons["mean"] == "the zoo's record of ssd300_voc"
    assert detector.preparation.reasons["channel_swap"] == "as said"
    assert detector.detect(np.zeros((9, 9, 3))) == []
    site.content += b"more"
    (cache.cache_dir() / entry.file_name).unlink()
    with pytest.raises(FetchError, match="SHA256"):
        files.fetch("ssd300_voc", quiet=True)


def test_a_published_text_is_brought_and_checked(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.content = FINDER.encode()
    text = forks.Published(site.url, sha1=hashlib.sha1(site.content).hexdigest())
    entry = replace(records.record("mobilenet_ssd"), text=text, sha1=SHA1, url=site.url)
    monkeypatch.setitem(records._BY_NAME, entry.name, entry)
    (cache.cache_dir() / entry.file_name).write_bytes(CONTENT)
    found = files.fetch(entry.name, quiet=True)
    assert found.net is not None
    assert found.net.read_text() == FINDER
    files.fetch(entry.name, quiet=True)
    assert len(site.seen) == 1


def test_models_that_do_something_else_say_what() -> None:
    with pytest.raises(CaffeError, match=r"is for detection; use caffe\.zoo\.load_detector"):
        caffe.zoo.load("ssd300_voc")
    with pytest.raises(CaffeError, match=r"is for pose; use caffe\.zoo\.fetch"):
        caffe.zoo.load("openpose_coco")
    with pytest.raises(CaffeError, match="is for classification; there are mobilenet_ssd"):
        caffe.zoo.load_detector("vgg16")


FETCHING = """
import dataclasses, sys
from caffe.zoo import files, records
name = "bvlc_reference_caffenet"
records._BY_NAME[name] = dataclasses.replace(
    records.record(name), url=sys.argv[1], sha1=sys.argv[2], size=int(sys.argv[3]))
print(files.fetch(name).weights)
"""


def fetch_in_a_process(site: Site) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", FETCHING, site.url, SHA1, str(len(CONTENT))]
    return subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )


def test_two_processes_at_once_fetch_it_once(site: Site, home: Path) -> None:
    site.pause = 0.03
    processes = [fetch_in_a_process(site) for _ in range(2)]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert (home / "bvlc_reference_caffenet.caffemodel").read_bytes() == CONTENT
    assert len(site.seen) == 1
    assert any("found" in out for out, _ in outputs)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send to one process")
def test_an_interrupted_process_leaves_nothing_that_is_taken_for_the_model(
    site: Site, home: Path, caffenet: records.Record
) -> None:
    site.pause = 0.1
    process = fetch_in_a_process(site)
    part = home / f"{caffenet.file_name}.part"
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size > 0):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert not (home / caffenet.file_name).exists()
    site.pause = 0.0
    weights = files.fetch(caffenet.name, quiet=True).weights
    assert weights is not None
    assert weights.read_bytes() == CONTENT
    assert site.seen[-1]["range"].startswith("bytes=")


# Pictures from the web.


def test_fetch_url_returns_the_content(site: Site) -> None:
    assert fetch_url(site.url) == CONTENT


@pytest.mark.parametrize("status", [403, 404, 500])
def test_fetch_url_says_the_status(site: Site, status: int) -> None:
    site.status = status
    with pytest.raises(FetchError, match=f"{site.url}: {status} "):
        fetch_url(site.url)


@pytest.mark.parametrize("with_length", [True, False])
def test_fetch_url_takes_no_more_than_its_limit(site: Site, with_length: bool) -> None:
    site.with_length = with_length
    with pytest.raises(FetchError, match=r"more than the 1000000 (bytes )?allowed"):
        fetch_url(site.url, limit=1_000_000)


def test_fetch_url_does_not_wait_for_ever(site: Site) -> None:
    site.pause = 0.1
    with pytest.raises(FetchError, match=r"took longer than 0\.3 s"):
        fetch_url(site.url, timeout=0.3)


def test_fetch_url_does_not_wait_for_a_server_that_sends_byte_by_byte(site: Site) -> None:
    site.piece, site.pause = 1, 0.05
    with pytest.raises(FetchError, match=r"took longer than 0\.3 s"):
        fetch_url(site.url, timeout=0.3)


def test_fetch_url_times_out_on_a_server_that_falls_silent(site: Site) -> None:
    site.pause = 0.6
    with pytest.raises(FetchError, match=r"no answer for 0\.2 s"):
        fetch_url(site.url, timeout=0.2)


def test_fetch_url_notices_a_broken_connection(site: Site) -> None:
    site.break_after = 100_000
    with pytest.raises(FetchError, match=re.escape(f"{site.url}: the connection broke (")):
        fetch_url(site.url)


@pytest.mark.parametrize(
    "url", ["file:///etc/hostname", "ftp://example.org/x", "cat.jpg", "http://", "http://[bad/x"]
)
def test_fetch_url_takes_only_web_addresses(url: str) -> None:
    with pytest.raises(FetchError, match=re.escape(url)):
        fetch_url(url)


# The records themselves.


def test_names_begin_with_the_default_and_are_all_records() -> None:
    names = records.names()
    assert names[0] == records.DEFAULT == "efficientnet_lite0"
    assert {"bvlc_reference_caffenet", "ilsvrc12", "vgg19", "resnet152", "squeezenet_v1.1"} <= set(
        names
    )
    assert [records.record(name).name for name in names] == names


def test_every_record_is_complete() -> None:
    for entry in records.RECORDS:
        assert entry.licence, entry.name
        assert entry.page.startswith("https://")
        assert entry.urls or entry.name == records.DEFAULT
        assert all(url.startswith(("http://", "https://")) for url in entry.urls)
        assert entry.sha1 is None or re.fullmatch("[0-9a-f]{40}", entry.sha1)
        assert entry.sha384 is None or re.fullmatch("[0-9a-f]{96}", entry.sha384)
        assert (entry.net is None) == (entry.recipe is None) == (entry.labels is None)
        assert all(needed in records.names() for needed in entry.needs)


def test_every_record_of_a_fork_is_complete() -> None:
    for entry in forks.RECORDS:
        assert entry.licence, entry.name
        assert entry.page.startswith("https://")
        assert entry.is_model
        assert (entry.text is None) != (entry.text_member is None)
        assert {entry.text_member, entry.weights_member} - {None} <= set(entry.members)
        files = [entry] if entry.text is None else [entry, entry.text]
        for published in files:
            assert published.url.startswith(("http://", "https://"))
            for algorithm, digits in (
                ("md5", 32),
                ("sha1", 40),
                ("sha256", 64),
                ("sha384", 96),
            ):
                checksum = getattr(published, algorithm)
                assert checksum is None or re.fullmatch(f"[0-9a-f]{{{digits}}}", checksum)
        assert (entry.recipe is not None) == (entry.task == "classification")
        prepared = (forks.DETECTION, forks.SEGMENTATION)
        assert (entry.preparation is not None) == (entry.task in prepared)
        if entry.labels is not None:
            assert len(set(entry.labels())) > 0


@pytest.mark.parametrize(
    ("name", "count"),
    [("voc", 20), ("coco", 80), ("cityscapes", 19), ("camvid", 11), ("ade20k", 150)],
)
def test_label_sets_have_as_many_classes_as_their_data(name: str, count: int) -> None:
    names = labels.PUBLISHED[name]()
    assert len(names) == count
    assert all(names)
    assert len(set(names)) == count or name == "ade20k"


def test_an_unknown_name_lists_names_like_it() -> None:
    with pytest.raises(CaffeError, match=r"no model 'resnet51'.*resnet50"):
        records.record("resnet51")
    with pytest.raises(CaffeError, match="there are efficientnet_lite0, "):
        records.record("@@@")


def test_the_zoo_is_imported_without_torch() -> None:
    code = "import sys, caffe.zoo; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_models_answer_to_their_titles_and_short_names() -> None:
    for name in records.names():
        entry = records.record(name)
        assert records.record(entry.title) is entry
        assert records.record(name.upper().replace("_", "-")) is entry
    for alias, name in records.ALIASES.items():
        assert records.record(alias).name == name
    assert records.record("CaffeNet").name == "bvlc_reference_caffenet"
    assert records.record("vgg 19").name == "vgg19"


def test_the_names_that_editors_offer_are_the_zoos() -> None:
    entries = [records.record(name) for name in records.names()]
    classifiers = [entry.name for entry in entries if entry.recipe is not None]
    detectors = [entry.name for entry in entries if entry.task == forks.DETECTION]
    assert list(get_args(model_names.ClassifierName)) == classifiers
    assert list(get_args(model_names.DetectorName)) == detectors
    segmenters = [entry.name for entry in entries if entry.task == forks.SEGMENTATION]
    assert list(get_args(model_names.SegmenterName)) == segmenters


def test_what_a_package_carries_needs_no_download_and_is_checked(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "carrier"
    package.mkdir()
    (package / "__init__.py").write_text("raise AssertionError('its files are wanted')")
    (package / "weights").write_bytes(CONTENT)
    (package / "text").write_text("name: 'x'")
    monkeypatch.syspath_prepend(str(tmp_path))
    text_sum = hashlib.sha256(b"name: 'x'").hexdigest()
    entry = replace(
        records.record("res10_face"),
        sha1=hashlib.sha1(CONTENT).hexdigest(),
        packaged=Packaged("carrier", "weights", "text", text_sum, "faces"),
    )
    monkeypatch.setitem(records._BY_NAME, entry.name, entry)
    assert files.is_at_hand("res10_face")
    found = files.fetch("res10_face", quiet=True)
    assert found.net is not None
    assert found.weights is not None
    assert found.net.read_text() == "name: 'x'"
    assert found.weights.read_bytes() == CONTENT
    assert found.net.parent == home
    found.weights.unlink()
    (package / "weights").write_bytes(b"something else")
    with pytest.raises(FetchError, match="SHA1"):
        files.fetch("res10_face", quiet=True)
    assert not found.weights.exists()


def test_a_detector_that_no_package_carries_is_fetched_by_its_checksum(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = records.record("res10_face")
    assert entry.packaged is not None
    missing = replace(entry, packaged=replace(entry.packaged, package="no_such_package"))
    monkeypatch.setitem(records._BY_NAME, entry.name, missing)
    assert not files.is_at_hand("faces")
    with pytest.raises(FetchError, match=re.escape(install_command("faces"))):
        files.fetch("faces", quiet=True)
