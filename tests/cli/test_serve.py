"""`caffe serve` as a command: what it prints, how it ends, and 200 uploads at once."""

from __future__ import annotations

import http.client
import io
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import caffe
from caffe.installation import install_command
from tests.helpers.command import caffe_command
from tests.helpers.serving import SMALL_NET, picture

UPLOADS = 200
QUEUE = 48
MEBIBYTE = 1 << 20


@contextmanager
def served(*arguments: str, before: str = "") -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The command as a process, and its port."""
    command = [sys.executable, "-m", "caffe", "serve", "--port", "0", *arguments]
    if before:
        command = ["sh", "-c", f"{before} exec {shlex.join(command)}"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.fullmatch(r"Recaffe is at http://127\.0\.0\.1:(\d+)/ \(Ctrl-C ends it\)\n", line)
        assert found, line + (process.stderr.read() if process.stderr and not line else "")
        yield process, int(found[1])
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def ask(port: int, path: str, body: bytes | None = None) -> tuple[int, Any, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request("GET" if body is None else "POST", path, body)
        response = connection.getresponse()
        return response.status, json.loads(response.read()), dict(response.getheaders())
    finally:
        connection.close()


def own_net(folder: Path) -> list[str]:
    net, weights = folder / "mine.prototxt", folder / "mine.caffemodel"
    net.write_text(SMALL_NET)
    caffe.Net(net, caffe.TEST).save(weights)
    (folder / "labels.txt").write_text("one\ntwo\nthree\n")
    return ["--net", str(net), "--weights", str(weights), "--labels", str(folder / "labels.txt")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_a_net_of_one_s_own_and_ends_when_told(tmp_path: Path, number: int) -> None:
    with served(*own_net(tmp_path), "--mean", "104,117,123") as (process, port):
        status, answer, _ = ask(port, "/classify", picture())
        assert status == 200
        assert {one["label"] for one in answer["predictions"]} == {"one", "two", "three"}
        assert answer["model"] == "mine"
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert err == ""
    if number == signal.SIGINT:
        assert (process.returncode, out) == (0, "Stopped.\n")
    else:
        assert process.returncode == -signal.SIGTERM


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a moment is left open")
def test_whoever_comes_while_it_ends_is_answered_or_told_that_nobody_listens(
    tmp_path: Path,
) -> None:
    outcomes: Counter[str] = Counter()

    def ask_until_it_has_ended() -> None:
        while True:
            try:
                outcomes[str(ask(port, "/models")[0])] += 1
            except ConnectionRefusedError:
                return
            except (OSError, http.client.HTTPException) as failure:
                outcomes[repr(failure)] += 1

    def ask_on_one_connection_until_refused() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        status = 200
        while status == 200:
            connection.request("GET", "/models")
            with connection.getresponse() as response:
                response.read()
                status = response.status
            outcomes[str(status)] += 1
        connection.close()

    with served(*own_net(tmp_path)) as (process, port):
        clients = [threading.Thread(target=ask_until_it_has_ended) for _ in range(32)]
        # Whether one of those is connected at that moment is chance; this one surely is.
        clients.append(threading.Thread(target=ask_on_one_connection_until_refused))
        for client in clients:
            client.start()
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        for client in clients:
            client.join()
    assert set(outcomes) <= {"200", "503"}
    assert outcomes["200"]
    assert outcomes["503"]


@pytest.mark.skipif(sys.platform == "win32", reason="the limit is a Unix system's")
def test_few_open_files_are_no_way_to_keep_others_out(tmp_path: Path) -> None:
    with served(*own_net(tmp_path), before="ulimit -n 200;") as (process, port):
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(300)]
        start = time.monotonic()
        assert [ask(port, "/classify", picture())[0] for _ in range(3)] == [200] * 3
        assert time.monotonic() - start < 5
        process.send_signal(signal.SIGINT)
        # Nor do they keep the server from ending.
        assert process.communicate(timeout=8)[1] == ""
        for stream in silent:
            stream.close()


def resident(process: subprocess.Popen[str]) -> int:
    """The bytes of memory that a process has."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    assert found
    return int(found[1]) * 1024


def upload_at_once(port: int, body: bytes) -> list[tuple[int, Any, dict[str, str]]]:
    answers: list[Any] = []
    start = threading.Barrier(UPLOADS)

    def upload() -> None:
        start.wait(60)
        answers.append(ask(port, "/classify?top=1", body))

    threads = [threading.Thread(target=upload) for _ in range(UPLOADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return answers


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_200_uploads_at_once_are_all_answered_and_leave_no_memory_behind() -> None:
    data = pytest.importorskip("skimage.data", reason="scikit-image has the picture")
    stream = io.BytesIO()
    large = Image.fromarray(data.chelsea()).resize((1353, 900))
    large.save(stream, "JPEG", quality=97)
    body = stream.getvalue()
    with served("--model", "efficientnet_lite0", "--queue", str(QUEUE)) as (process, port):
        # The first rounds bring what stays: threads, their stacks, the net's prepared weights.
        for _ in range(2):
            upload_at_once(port, body)
        before = settled(process)
        answers = upload_at_once(port, body)
        assert len(answers) == UPLOADS
        statuses = Counter(status for status, _, _ in answers)
        assert set(statuses) <= {200, 503}
        assert statuses[200] >= QUEUE
        for status, answer, headers in answers:
            if status == 200:
                assert answer["predictions"][0]["label"] == "n02124075 Egyptian cat"
            else:
                assert answer["error"]["code"] == "busy"
                assert int(headers["retry-after"]) >= 1
        assert max(answer.get("batch", 0) for _, answer, _ in answers) > 1
        assert ask(port, "/healthz")[1]["taken"] == 0
        after = settled(process, before + 24 * MEBIBYTE)
        assert after < before + 24 * MEBIBYTE, f"{before} bytes before, {after} after"


def settled(process: subprocess.Popen[str], enough: int = 0) -> int:
    """The memory when it no longer falls, or is as little as `enough`."""
    lowest, since = resident(process), time.monotonic()
    while time.monotonic() - since < 3 and lowest > enough:
        time.sleep(0.2)
        now = resident(process)
        if now < lowest - MEBIBYTE:
            since = time.monotonic()
        lowest = min(lowest, now)
    return lowest


def test_a_port_that_is_taken_is_told_before_anything_is_loaded() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = caffe_command("serve", "--port", str(port))
    assert result.exit_code == 1
    assert f"127.0.0.1:{port}" in result.stderr
    assert "--port" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host", "203.0.113.9"], "203.0.113.9"),
        (["--model", "none"], "none"),
        (["--model", "bvlc_reference_rcnn_ilsvrc13", "--mean", "1,2,3"], "--mean"),
        (["--net", "x.prototxt"], "--weights"),
    ],
)
def test_what_cannot_be_served_is_told(arguments: list[str], said: str) -> None:
    result = caffe_command("serve", "--port", "0", *arguments)
    assert result.exit_code != 0
    assert said in result.stderr


def test_labels_that_do_not_fit_are_told_before_the_page_opens(tmp_path: Path) -> None:
    arguments = own_net(tmp_path)
    (tmp_path / "labels.txt").write_text("only one\n")
    result = caffe_command("serve", "--port", "0", *arguments)
    assert result.exit_code == 1
    assert "labels.txt names 1 classes" in result.stderr


def test_without_its_extra_the_command_names_it() -> None:
    code = (
        "import sys\n"
        "sys.modules['starlette'] = None\n"
        "sys.argv = ['caffe', 'serve']\n"
        "from caffe.cli import run\n"
        "run()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ)
    )
    assert done.returncode == 1
    assert install_command("web") in done.stderr


def test_help_of_the_command_loads_neither_torch_nor_starlette() -> None:
    code = (
        "import sys\n"
        "sys.argv = ['caffe', 'serve', '--help']\n"
        "from caffe.cli import run\n"
        "try:\n    run()\n"
        "finally:\n    print([name for name in ('torch', 'starlette') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.rstrip().endswith("[]")
